import numpy as np
import pytest
import scipy.sparse as sp
from scipy import stats

from couplevi.model.otgm import fit
from couplevi.model.otgm.fit import batch_offsets, components, log_densities, predictive, scores_of
from couplevi.model.otgm.module import OTGMModule

NO_BATCH = np.zeros(400, dtype=int)


def test_components_are_those_of_the_values_as_they_are():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3)) @ rng.normal(size=(3, 20)) * 3 + rng.normal(size=(200, 20))
    x[:, 0] *= 5
    centre, basis = components(x.astype(np.float32), 3, NO_BATCH, np.zeros((1, 20)))
    _, _, right = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(np.abs(basis.T @ right[:3].T), np.eye(3), atol=1e-3)
    np.testing.assert_allclose(centre, x.mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(basis.T @ basis, np.eye(3), atol=1e-12)
    np.testing.assert_array_equal(components(x, None, NO_BATCH, np.zeros((1, 20)))[1], np.eye(20))


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
def test_batches_have_no_components(kind, monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2)) @ rng.normal(size=(2, 15)) + 0.2 * rng.normal(size=(300, 15))
    batch, offsets = rng.integers(0, 3, 300), rng.normal(0, 5, (3, 15))
    clean = components(x, 2, batch, np.zeros((3, 15)))[1]
    found = components(kind(x + offsets[batch]), 2, batch, offsets)[1]
    assert np.linalg.svd(clean.T @ found, compute_uv=False).min() > 0.999
    monkeypatch.setattr(fit, "MOST_CELLS", 100)
    some = components(kind(x + offsets[batch]), 2, batch, offsets)[1]
    assert np.linalg.svd(clean.T @ some, compute_uv=False).min() > 0.99


def test_many_cells_are_drawn_whatever_their_order(monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2)) @ rng.normal(size=(2, 15)) * 3 + rng.normal(size=(300, 15))
    zero = np.zeros((1, 15))
    whole = components(x, 2, NO_BATCH, zero)[1]
    monkeypatch.setattr(fit, "MOST_CELLS", 100)
    some, turned = components(x, 2, NO_BATCH, zero)[1], components(x[::-1], 2, NO_BATCH, zero)[1]
    np.testing.assert_allclose(np.abs(some.T @ turned), np.eye(2), atol=1e-6)
    assert np.linalg.svd(whole.T @ some, compute_uv=False).min() > 0.99


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
def test_offsets_and_scores_of_batches(kind):
    rng = np.random.default_rng(0)
    x, batch, control = rng.poisson(2, (60, 8)).astype(float), rng.integers(0, 2, 60), rng.random(60) < 0.5
    found = batch_offsets(kind(x), batch, control, 2)
    for b in range(2):
        np.testing.assert_allclose(found[b], x[control & (batch == b)].mean(axis=0) - x[control].mean(axis=0))
    basis, centre = np.linalg.qr(rng.normal(size=(8, 3)))[0], rng.normal(size=8)
    scores = scores_of(kind(x), basis, centre, batch, found)
    np.testing.assert_allclose(scores, (x - found[batch] - centre) @ basis)
    assert not batch_offsets(kind(x), np.zeros(60, dtype=int), control, 1).any()


def test_log_densities_are_those_of_scipy():
    rng = np.random.default_rng(0)
    z, means = rng.normal(size=(5, 3)), rng.normal(size=(2, 3))
    roots = rng.normal(size=(2, 3, 3))
    covariances = roots @ roots.transpose(0, 2, 1) + np.eye(3)
    expected = [stats.multivariate_normal(m, c).logpdf(z) for m, c in zip(means, covariances, strict=True)]
    np.testing.assert_allclose(log_densities(z, means, covariances), np.transpose(expected))
    assert np.isfinite(log_densities(z, means, np.zeros((2, 3, 3)))).all()


def filled(mean, count, n_states):
    module = OTGMModule(2, 2, n_states=n_states, n_groups=1, n_batches=1)
    module.fill(
        mean=mean, count=count, basis=np.eye(2), pooled=np.diag([4.0, 1.0]), telling_share=1.0,
        covariance=np.stack([np.eye(2)] * n_states),
    )  # fmt: skip
    return module


def test_means_of_many_cells_stay_and_those_that_differ_by_chance_are_drawn_together():
    rng = np.random.default_rng(0)
    apart = rng.normal(0, 10, (8, 2))
    means, covariances = predictive(filled(apart, np.full(8, 1e6), 8), np.arange(8))
    np.testing.assert_allclose(means, apart, atol=1e-2)
    np.testing.assert_allclose(covariances, np.stack([np.diag([4.0, 1.0])] * 8), atol=1e-4)
    by_chance = rng.normal(size=(200, 2)) * np.sqrt([4.0, 1.0]) / np.sqrt(5)  # as means of five cells vary
    means, covariances = predictive(filled(by_chance, np.full(200, 5), 200), np.arange(200))
    assert np.abs(means).max() < 0.5 * np.abs(by_chance).max()
    root = np.array([2.0, 1.0])
    before, after = ((m - m.mean(axis=0)) / root for m in (by_chance, means))
    kept = np.linalg.lstsq(before, after, rcond=None)[0]
    np.testing.assert_allclose(before @ kept, after, atol=1e-8)
    np.testing.assert_allclose(kept, kept.T, atol=1e-8)
    assert (np.linalg.eigvalsh(kept) < 0.5).all()
    extra = covariances[0] - np.diag([4.0, 1.0])
    np.testing.assert_allclose(extra, kept * np.outer(root, root) / 5, atol=1e-8)
