import numpy as np
import pytest
import scipy.sparse as sp

from couplevi.model.otgm.moments import independent_noise, moments

N, G, D, K = 120, 30, 4, 3


def one_hot(codes, weights=None):
    values = np.ones(len(codes)) if weights is None else weights
    return sp.csr_array((values, (np.arange(len(codes)), codes)), shape=(len(codes), K))


@pytest.fixture
def case():
    rng = np.random.default_rng(0)
    x = rng.normal(2, 1, (N, G)) + rng.normal(size=(N, 2)) @ rng.normal(size=(2, G))
    basis = np.linalg.qr(rng.normal(size=(G, D)))[0]
    return x, basis, rng.integers(0, K, N)


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix, sp.csc_array])
def test_moments_are_those_of_each_group(case, kind):
    x, basis, codes = case
    batch, offsets = np.zeros(N, dtype=int), np.zeros((1, G))
    found = moments(
        sp.csr_array(x) if kind is sp.csc_array else kind(x), one_hot(codes), x @ basis, basis, batch, offsets
    )
    within, noise, left = np.zeros((D, D)), np.zeros(G), []
    for k in range(K):
        own = x[codes == k]
        np.testing.assert_allclose(found.mean[k], own.mean(axis=0))
        np.testing.assert_allclose(found.variance[k], own.var(axis=0, ddof=1))
        np.testing.assert_allclose(found.covariance[k], np.cov(own @ basis, rowvar=False), atol=1e-10)
        centred = own - own.mean(axis=0)
        within += (centred @ basis).T @ (centred @ basis)
        residual = centred - centred @ basis @ basis.T
        noise += np.square(residual).sum(axis=0)
        left.append(np.square(residual).sum() / (len(own) - 1))
    np.testing.assert_allclose(found.pooled, within / (N - K))
    p = np.eye(G) - basis @ basis.T
    np.testing.assert_allclose(np.diag(p @ np.diag(found.noise) @ p), noise / (N - K), rtol=1e-2)
    np.testing.assert_allclose(found.scale, np.array(left) / (noise.sum() / (N - K)))
    np.testing.assert_array_equal(found.count, np.bincount(codes))


def test_offsets_of_batches_are_taken_from_the_values(case):
    x, basis, codes = case
    rng = np.random.default_rng(1)
    batch, offsets = rng.integers(0, 2, N), rng.normal(size=(2, G))
    expected = moments(x, one_hot(codes), x @ basis, basis, np.zeros(N, dtype=int), np.zeros((1, G)))
    found = moments(x + offsets[batch], one_hot(codes), x @ basis, basis, batch, offsets)
    for name in ("count", "mean", "variance", "covariance", "pooled", "noise", "scale"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-6, atol=1e-9, err_msg=name)


def test_weights_count_as_so_many_cells(case):
    x, basis, codes = case
    zero = np.zeros((1, G))
    half = moments(
        np.vstack([x, x]),
        one_hot(np.tile(codes, 2), np.full(2 * N, 0.5)),
        np.vstack([x, x]) @ basis,
        basis,
        np.zeros(2 * N, dtype=int),
        zero,
    )
    whole = moments(x, one_hot(codes), x @ basis, basis, np.zeros(N, dtype=int), zero)
    for name in ("count", "mean", "variance", "covariance", "pooled", "noise", "scale"):
        np.testing.assert_allclose(getattr(half, name), getattr(whole, name), rtol=1e-6, atol=1e-9, err_msg=name)


def test_cells_without_a_group_do_not_count(case):
    x, basis, codes = case
    weights = one_hot(codes, np.where(np.arange(N) < 80, 1.0, 0.0))
    found = moments(x, weights, x @ basis, basis, np.zeros(N, dtype=int), np.zeros((1, G)))
    expected = moments(x[:80], one_hot(codes[:80]), x[:80] @ basis, basis, np.zeros(80, dtype=int), np.zeros((1, G)))
    np.testing.assert_allclose(found.noise, expected.noise)
    np.testing.assert_allclose(found.mean, expected.mean)


def test_a_group_of_one_cell_has_no_variance(case):
    x, basis, _ = case
    codes = np.array([0] * 60 + [1] * 59 + [2])
    found = moments(x, one_hot(codes), x @ basis, basis, np.zeros(N, dtype=int), np.zeros((1, G)))
    assert np.isnan(found.variance[2]).all()
    np.testing.assert_allclose(found.mean[2], x[-1])


def test_with_all_components_there_is_no_noise(case):
    x, _, codes = case
    found = moments(x, one_hot(codes), x, np.eye(G), np.zeros(N, dtype=int), np.zeros((1, G)))
    np.testing.assert_allclose(found.noise, 0, atol=1e-8)
    np.testing.assert_allclose(found.scale, 1, atol=1e-6)


def test_independent_noise_has_the_variances_that_are_left():
    rng = np.random.default_rng(0)
    basis, noise = np.linalg.qr(rng.normal(size=(40, 5)))[0], rng.uniform(0.1, 2, 40)
    p = np.eye(40) - basis @ basis.T
    residual = np.diag(p @ np.diag(noise) @ p)
    np.testing.assert_allclose(independent_noise(residual, basis), noise, rtol=1e-3)
