import numpy as np
import pytest
import torch

import couplevi as cvi
from couplevi.model._dataset import preparation_of
from couplevi.model.jae.inference import cells

QUICK = {"enable_progress_bar": False, "accelerator": "cpu"}


@pytest.fixture(scope="module")
def model():
    mdata = cvi.data.count_clusters(n_obs=60, n_features={"rna": 130, "atac": 20}, seed=0)
    mdata.obs["donor"] = np.where(np.arange(60) % 3, "a", "b")
    cvi.model.JAE.setup_mudata(mdata, modalities=("rna", "atac"), layers={"atac": "log1p"}, batch_key="donor")
    torch.manual_seed(0)
    model = cvi.model.JAE(mdata, encoder_widths=(8,), n_pcs={"rna": 10})
    model.train(max_epochs=2, **QUICK)
    return model


def test_rows_are_those_of_cells_and_zero_stands_for_what_is_not_read(model):
    registered = model._registered()
    [(rows, both)] = cells(model.module, registered, model.counted_, ["atac", "rna"], None, covariates=True)
    [(_, alone)] = cells(model.module, registered, model.counted_, ["rna"], None)
    assert rows.tolist() == list(range(60))
    assert (alone["h"]["atac"] == 0).all()
    assert not alone["measured"]["atac"].any()
    torch.testing.assert_close(alone["h"]["rna"], both["h"]["rna"])
    assert both["h"]["rna"].shape == (60, 10)
    assert both["h"]["rna"].square().mean() == pytest.approx(1, abs=1e-3)
    assert both["covariates"].argmax(dim=1).tolist() == [1 - int(i % 3 > 0) for i in range(60)]


def test_number_of_cells_at_a_time_does_not_matter(model):
    whole = model.get_latent_representation()
    np.testing.assert_allclose(model.get_latent_representation(batch_size=7), whole, atol=1e-5)
    with pytest.raises(ValueError, match="`batch_size` to be a whole number"):
        model.get_latent_representation(batch_size=0)


def test_genes_that_counts_lack_have_the_mean_of_their_logarithms(model):
    names = model.adata["rna"].var_names
    query = model.adata["rna"][:, names[13:]].copy()
    with pytest.warns(UserWarning, match="13 of the 130 features"):
        registered = model._registered(query)
        record = preparation_of(model.module.observation("rna").preparation.record(), registered, "rna", True)
        [(_, part)] = cells(model.module, registered, model.counted_, ["rna"], None)
    whole = model.module.observation("rna").preparation.record()
    np.testing.assert_array_equal(record.mean[13:], whole.mean[13:])
    assert (record.mean[:13] == 0).all()
    counts = query.X.toarray() if hasattr(query.X, "toarray") else query.X
    logarithms = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4)
    filled = np.hstack([np.broadcast_to(whole.mean[:13], (60, 13)), logarithms])
    np.testing.assert_allclose(part["h"]["rna"], whole.transform(filled), atol=1e-3)
