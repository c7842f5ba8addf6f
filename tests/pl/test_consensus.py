import numpy as np
import pytest
from anndata import AnnData

import couplevi as cvi


def test_the_matrix_is_shown(fitted_mixture):
    model, adata = fitted_mixture
    ax = cvi.pl.consensus(adata, show=False)
    shown = np.asarray(ax.images[0].get_array())
    np.testing.assert_allclose(shown, model.consensus_matrix())
    assert ax.get_title() == f"mean consensus {np.nanmean(shown.diagonal()):.3f}, all cells"


def test_at_most_20_of_many_categories_are_labelled(fitted_mixture):
    adata = fitted_mixture[1].copy()
    adata.uns["cplmixvae"].update(consensus=np.eye(90), categories=[str(k) for k in range(90)])
    ax = cvi.pl.consensus(adata, show=False)
    labels = [t.get_text() for t in ax.get_xticklabels()]
    assert labels[:3] == ["0", "5", "10"]
    assert len(labels) <= 20


def test_categories_of_labels_have_their_names(fitted_mixture):
    adata = fitted_mixture[1].copy()
    names = list(adata.uns["cplmixvae"]["categories"])
    assert names == list(fitted_mixture[0].predict_probabilities().columns)
    adata.uns["cplmixvae"]["categories"] = ["astrocyte", *names[1:]]
    ax = cvi.pl.consensus(adata, show=False)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["astrocyte", *names[1:]]


@pytest.mark.parametrize("n", [10, 20, 90, 300])
def test_labels_do_not_overlap(overlapping, n):
    ax = cvi.pl.consensus(AnnData(uns={"cplmixvae": {"consensus": np.eye(n)}}), show=False)
    assert not overlapping(*ax.get_xticklabels(), *ax.get_yticklabels())


def test_long_names_do_not_overlap(overlapping):
    names = [f"excitatory neuron of layer {i}" for i in range(6)]
    ax = cvi.pl.consensus(AnnData(uns={"cplmixvae": {"consensus": np.eye(6), "categories": names}}), show=False)
    assert not overlapping(*ax.get_xticklabels(), *ax.get_yticklabels())


def test_data_without_a_mixture():
    adata = cvi.data.count_clusters(n_obs=50)["rna"]
    with pytest.raises(KeyError, match="Run `cvi.tl.cplmixvae"):
        cvi.pl.consensus(adata, show=False)
