import numpy as np
import pytest
import torch

import couplevi as cvi


@pytest.fixture(scope="module")
def trained():
    """A model of counts of two batches, and its data. Not to be changed."""
    mdata = cvi.data.count_clusters(n_obs=200, n_features={"rna": 40, "atac": 60}, depth=500, seed=0)
    mdata.obs["batch"] = np.where(np.arange(200) % 2, "a", "b")
    cvi.model.JAMIE.setup_mudata(mdata, modalities=("rna", "atac"), batch_key="batch")
    torch.manual_seed(0)
    model = cvi.model.JAMIE(mdata, likelihoods={"rna": "nb", "atac": "zinb"})
    model.train(max_epochs=40, enable_progress_bar=False, accelerator="cpu")
    return model, mdata


def test_rates_sum_to_what_is_asked_for(trained):
    model, mdata = trained
    for modality in ("rna", "atac"):
        shares = model.get_normalized_expression(modality=modality)
        np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-4)
        assert list(shares.columns) == list(mdata[modality].var_names)
        scaled = model.get_normalized_expression(modality=modality, library_size=1e4, return_numpy=True)
        np.testing.assert_allclose(scaled, 1e4 * shares, rtol=1e-3, atol=1e-6)
        expected = model.get_normalized_expression(modality=modality, library_size="latent")
        np.testing.assert_allclose(expected.sum(axis=1), mdata[modality].X.sum(axis=1), rtol=1e-4)


def test_rates_follow_what_was_measured(trained):
    model, mdata = trained
    rates = model.get_normalized_expression(modality="rna", library_size="latent")
    np.testing.assert_allclose(rates.mean(axis=0), mdata["rna"].X.mean(axis=0), rtol=0.3, atol=0.3)


def test_some_cells_and_samples(trained):
    model, mdata = trained
    all_cells = model.get_normalized_expression(modality="rna")
    some = model.get_normalized_expression(modality="rna", indices=[5, 2])
    assert list(some.index) == list(mdata.obs_names[[5, 2]])
    np.testing.assert_allclose(some, all_cells.iloc[[5, 2]], rtol=1e-5)
    torch.manual_seed(0)
    drawn = model.get_normalized_expression(modality="rna", n_samples=50, return_mean=False)
    assert drawn.shape == (50, 200, 40)
    assert drawn.std(axis=0).max() > 0
    torch.manual_seed(0)
    mean = model.get_normalized_expression(modality="rna", n_samples=50)
    np.testing.assert_allclose(mean, drawn.mean(axis=0), rtol=1e-4, atol=1e-7)


def test_rates_as_measured_in_batches(trained):
    model, _ = trained
    a, b, both = (model.get_normalized_expression(modality="rna", transform_batch=t) for t in ("a", "b", ["a", "b"]))
    assert np.abs(a - b).to_numpy().max() > 1e-5
    np.testing.assert_allclose(both, (a + b) / 2, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"modality": "protein"}, ValueError, "`modality` to be one of"),
        ({"modality": "rna", "n_samples": 0}, ValueError, "`n_samples`"),
        ({"modality": "rna", "library_size": 0}, ValueError, "`library_size`"),
        ({"modality": "rna", "transform_batch": "c"}, ValueError, "'c'"),
        ({"modality": "rna", "indices": [200]}, IndexError, "200"),
    ],
)
def test_what_is_out_of_range_is_refused(trained, arguments, error, message):
    with pytest.raises(error, match=message):
        trained[0].get_normalized_expression(**arguments)


def test_an_untrained_model_has_no_rates():
    mdata = cvi.data.count_clusters(n_obs=50)
    cvi.model.JAMIE.setup_mudata(mdata, modalities=("rna", "atac"))
    model = cvi.model.JAMIE(mdata, likelihoods={"rna": "nb", "atac": "nb"})
    with pytest.raises(RuntimeError, match="untrained"):
        model.get_normalized_expression(modality="rna")
    with pytest.raises(RuntimeError, match="untrained"):
        model.posterior_predictive_sample(source="rna", target="atac")
