import warnings

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from sklearn.metrics import adjusted_rand_score
from small import fit_mixture, planted

import couplevi as cvi
from couplevi._arrays import dense
from couplevi.model.cplmixvae.inference import profiles
from couplevi.model.cplmixvae.measurement import MeasuredRows, Measurement, effects_within


def planted_effects(n=1500, seed=0):
    """Types far apart, more of one of them in each batch, and effects of depth and batch on all alike."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(4, size=n)
    batch = (rng.random(n) < np.array([0.2, 0.4, 0.6, 0.8])[kind]).astype(int)
    depth = rng.normal(size=n) + 0.5 * kind
    told = np.column_stack([depth, np.eye(2)[batch]])
    effects = rng.normal(size=(3, 6))
    effects[2] = -effects[1]
    h = rng.normal(0, 20, (4, 6))[kind] + told @ effects + 0.3 * rng.normal(size=(n, 6))
    return h, told, effects, kind


def test_effects_within_groups_are_those_planted():
    h, told, effects, kind = planted_effects()
    found = effects_within(h, told, kind)
    np.testing.assert_allclose(found[0], effects[0], atol=0.05)
    np.testing.assert_allclose(found[1] - found[2], effects[1] - effects[2], atol=0.05)


def test_what_does_not_vary_within_groups_has_no_effect():
    h, told, _, kind = planted_effects()
    constant = np.column_stack([told[:, :1], kind])
    assert np.abs(effects_within(h, constant, kind)[1]).max() < 1e-8


def test_groups_and_effects_are_found_in_turns():
    """Between all cells the effect of depth would be mixed with that of the types, which have depths of their own."""
    h, told, effects, _ = planted_effects()
    measurement = Measurement(3, 6)
    torch.manual_seed(0)
    measurement.fit(h, told)
    np.testing.assert_allclose(measurement.effects[0], effects[0], atol=0.1)
    between = np.linalg.lstsq(told - told.mean(axis=0), h - h.mean(axis=0), rcond=None)[0]
    assert np.abs(between[0] - effects[0]).max() > 1
    left = measurement(*(torch.from_numpy(v.astype(np.float32)) for v in (h, told))).numpy()
    assert np.abs(left.mean(axis=0) - h.mean(axis=0)).max() < 1e-3  # of a profile measured as the mean one


def test_too_few_profiles_and_equal_ones_have_no_effects():
    measurement = Measurement(1, 2)
    measurement.fit(np.arange(8.0).reshape(4, 2), np.arange(4.0)[:, None])
    assert (measurement.effects == 0).all()
    measurement.fit(np.random.default_rng(0).normal(size=(100, 2)), np.ones((100, 1)))
    assert (measurement.effects == 0).all()
    assert measurement.mean.item() == 1


def test_fewer_kinds_of_profiles_than_groups_are_groups_of_their_own():
    """As of a few binary features. No warning comes: there is nothing that a user could do."""
    kind = np.arange(400) % 3
    told = np.random.default_rng(0).normal(size=(400, 1))
    measurement = Measurement(1, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        measurement.fit(np.array([[0.0, 0], [0, 1], [1, 1]])[kind], told)
    np.testing.assert_allclose(measurement.effects, 0, atol=1e-6)


def test_rows_say_how_they_were_measured():
    rows = MeasuredRows(np.arange(6.0).reshape(3, 2), np.array([[7.0], [8.0], [9.0]]), np.array([3, 3, -1]))
    assert len(rows) == 3
    assert rows[np.array([2, 0])].tolist() == [[4, 5, 9, -1], [0, 1, 7, 3]]


@pytest.mark.parametrize("likelihood", ["gaussian", "nb"])
def test_types_are_found_in_spite_of_batches(likelihood):
    """Each feature has a level of its own in each of two batches, larger than what types differ by."""
    adata = planted(400, n_features=30)
    rng = np.random.default_rng(1)
    batch = rng.integers(2, size=400)
    shift = rng.normal(0, 1.5, (2, 30))
    adata.X = adata.X + shift[batch].astype(np.float32)
    if likelihood == "nb":
        adata.X = rng.poisson(np.exp(0.6 * adata.X + 2)).astype(np.float32)
    adata.obs["batch"] = np.array(["one", "two"])[batch]
    found = {}
    for key in (None, "batch"):
        quick = {"max_epochs": 15, "max_epochs_prune": 2, "enable_progress_bar": False}
        model = cvi.tl.cplmixvae(
            adata, n_categories=8, batch_key=key, seed=0, likelihood=likelihood, batch_size=128, train_kwargs=quick
        )
        found[key] = adjusted_rand_score(adata.obs["type"], model.predict())
    assert found["batch"] > 0.95
    assert found[None] < 0.8


def test_a_batch_that_was_not_trained_on_is_named():
    adata = planted(120)
    adata.obs["batch"] = np.where(np.arange(120) % 2, "one", "two")
    cvi.model.CplMixVAE.setup_anndata(adata, batch_key="batch")
    model = cvi.model.CplMixVAE(adata, 3)
    model.train(max_epochs=2, prune=False, enable_progress_bar=False)
    other = adata[:10].copy()
    other.obs["batch"] = "three"
    with pytest.raises(ValueError, match=r"categories of column 'batch' that the model was trained on.*three"):
        model.predict(other)
    assert model.predict(adata[:10].copy()).equals(model.predict()[:10])


@pytest.mark.parametrize("stored", [np.asarray, sp.csr_matrix])
@pytest.mark.filterwarnings("ignore:.*are missing, and have their mean")
def test_features_that_are_missing_do_not_make_cells_deeper(stored):
    """What stands in for them are means, few of which are 0: the share detected is that of features there are."""
    adata = planted(200)
    adata.X = stored(np.where(adata.X > 0, adata.X, 0))
    model = fit_mixture(adata)
    others = adata[:, 6:].copy()
    told = np.concatenate([x[:, -2] for _, x in profiles(model.module, model._registered(others), "adata")])
    detected = (dense(others.X) != 0).mean(axis=1)
    np.testing.assert_allclose(told, np.log(np.maximum(detected, 1 / 34)), rtol=1e-5)


def test_types_are_found_in_spite_of_depth():
    """Logarithmic values of shallow cells are mostly 0, which moves all components."""
    rng = np.random.default_rng(0)
    adata = cvi.data.count_clusters(n_obs=600, seed=0)["rna"]
    thin = rng.choice([0.05, 0.2, 1.0], size=600)
    counts = rng.binomial(
        np.asarray(adata.X.todense() if hasattr(adata.X, "todense") else adata.X).astype(int), thin[:, None]
    )
    scaled = np.log1p(1e4 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))
    adata.X = scaled.astype(np.float32)
    model = fit_mixture(adata, 10, {"max_epochs": 20, "enable_progress_bar": False})
    assert model.module.measurement("adata").effects.abs().max() > 0
