import numpy as np
import pytest
from small import WORDS, worded

import couplevi as cvi

QUICK = {"max_epochs": 20, "enable_progress_bar": False, "accelerator": "cpu"}


@pytest.fixture(scope="module")
def learned():
    adata, texts = worded()
    model = cvi.tl.celltext(adata, labels_key="type", descriptions=texts, n_pcs=10, seed=0, train_kwargs=QUICK)
    return model, adata, texts


def test_values_sum_to_the_cosine_less_its_mean(learned):
    model, adata, texts = learned
    cells, named = adata.obs_names[:4], [texts["round/motile"], "a striated cell"]
    e = cvi.tl.explain_text(adata, model, texts=named, cells=cells, progress_bar=False, n_nodes=16)
    cosine = model.get_latent_representation() @ model.encode_text(named).T
    assert e.values.shape == (4, adata.n_vars, 2) and list(e.output_names) == named
    total = e.values.sum(axis=1) + e.base_values
    np.testing.assert_allclose(total, cosine[:4], atol=0.02)
    chosen = np.sort(np.random.default_rng(0).choice(adata.n_obs, 200, replace=False))
    np.testing.assert_allclose(e.base_values[0], cosine[chosen].mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(adata.varm["celltext_shap"], np.abs(e.values).mean(axis=0), atol=1e-6)
    assert adata.uns["celltext"]["explained"] == named


def test_genes_of_the_programme_of_a_word_pull_towards_it(learned):
    model, adata, texts = learned
    programme = np.random.default_rng(0).normal(size=(len(WORDS), adata.n_vars))[WORDS.index("ciliated")]
    cells = adata.obs_names[adata.obs["type"].str.contains("ciliated")][:10]
    e = cvi.tl.explain_text(adata, model, texts="ciliated", cells=cells, progress_bar=False)
    assert np.corrcoef(e.values.mean(axis=0)[:, 0], np.abs(programme))[0, 1] > 0.5


def test_counts_are_explained_by_their_logarithms():
    adata, texts = worded(n=150, counts=True)
    model = cvi.tl.celltext(adata, labels_key="type", descriptions=texts, n_pcs=10, seed=0, train_kwargs=QUICK)
    e = cvi.tl.explain_text(adata, model, texts="round", cells=adata.obs_names[:2], progress_bar=False, n_nodes=16)
    x = np.asarray(adata.X[:2])
    np.testing.assert_allclose(e.data, np.log1p(1e4 * x / x.sum(axis=1, keepdims=True)), rtol=1e-4)
    cosine = model.get_latent_representation()[:2] @ model.encode_text("round").T
    np.testing.assert_allclose(e.values.sum(axis=1) + e.base_values, cosine, atol=0.03)


def test_what_cannot_be_explained_is_refused(learned):
    model, adata, texts = learned
    with pytest.raises(TypeError, match="Expected an AnnData"):
        cvi.tl.explain_text(adata.X, model, texts="round")
    with pytest.raises(KeyError, match="nobody"):
        cvi.tl.explain_text(adata, model, texts="round", cells=["nobody"])
    with pytest.raises(ValueError, match="a `background` of at least 2 cells, found 1"):
        cvi.tl.explain_text(adata, model, texts="round", background=["cell0"])
    encoded = cvi.tl.celltext(
        adata.copy(), labels_key="type", cell_encoder=lambda data: np.asarray(data.X), train_kwargs=QUICK, n_pcs=5
    )
    with pytest.raises(ValueError, match="a model of values, whose features can be explained"):
        cvi.tl.explain_text(adata, encoded, texts="round")
