from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.stats import multivariate_normal

from couplevi.gaussians import Gaussian


def test_variance_and_products_are_those_of_the_whole_covariance(states, full):
    [state] = states(1)
    v = np.random.default_rng(1).normal(size=(7, 4))
    np.testing.assert_allclose(state.variance, np.diag(full(state)), atol=1e-12)
    np.testing.assert_allclose(state.apply_covariance(v), full(state) @ v, atol=1e-10)
    np.testing.assert_allclose(state.apply_covariance(v[:, 0]), full(state) @ v[:, 0], atol=1e-10)
    rest = full(replace(state, covariance=np.zeros((3, 3)), scale=1.0))
    assert state.noise_total == pytest.approx(np.trace(rest))


def test_with_all_components_it_is_an_ordinary_gaussian(states, full):
    [state] = states(1, n_vars=4, n_components=4)
    plain = multivariate_normal(state.mean, state.basis @ state.covariance @ state.basis.T)
    np.testing.assert_allclose(full(state), plain.cov_object.covariance, atol=1e-10)
    x = state.sample(5, np.random.default_rng(0))
    np.testing.assert_allclose(state.log_density_of_scores(state.scores(x)), plain.logpdf(x))


def test_scores_are_those_of_sparse_cells_too(states):
    [state] = states(1)
    x = sp.random_array((20, 7), density=0.4, rng=np.random.default_rng(0), format="csr")
    np.testing.assert_allclose(state.scores(x), (x.toarray() - state.mean) @ state.basis, atol=1e-12)


def test_drawn_cells_have_the_mean_and_the_covariance(states, full):
    [state] = states(1)
    x = state.sample(200_000, np.random.default_rng(0))
    np.testing.assert_allclose(x.mean(axis=0), state.mean, atol=0.03)
    np.testing.assert_allclose(np.cov(x.T), full(state), atol=0.01 * np.trace(full(state)))


def test_noise_is_added_to_given_scores_and_leaves_them(states):
    [state] = states(1)
    z = np.random.default_rng(0).normal(size=(5000, 3))
    x = state.with_noise(z, np.random.default_rng(1))
    np.testing.assert_allclose(state.scores(x), z, atol=1e-10)
    rest = x - state.mean - z @ state.basis.T
    np.testing.assert_allclose(rest.var(axis=0), state.scale * state.noise_variance, rtol=0.15)


def test_a_singular_covariance_draws_within_its_range(states, full):
    [state] = states(1, noise=0.0, rank=1)
    x = state.sample(50, np.random.default_rng(0)) - state.mean
    assert np.linalg.matrix_rank(x, tol=1e-8) == 1
    with pytest.raises(ValueError, match="a covariance of full rank, found rank 1 of 3. Shrink it"):
        state.log_density_of_scores(np.zeros((1, 3)))


def test_the_record_cannot_be_written_to_but_the_arrays_given_can():
    mean = np.zeros(2)
    state = Gaussian(mean, np.eye(2), np.eye(2), np.ones(2), 1.0)
    for array in (state.mean, state.basis, state.covariance, state.noise, state.variance):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    mean[0] = 1


def test_single_precision_is_near_enough_to_orthonormal_and_symmetric(states):
    [state] = states(1)
    arrays = {name: getattr(state, name).astype(np.float32) for name in ("mean", "basis", "covariance", "noise")}
    single = Gaussian(**arrays, scale=state.scale)
    assert single.covariance.dtype == single.basis.dtype == np.float64
    np.testing.assert_array_equal(single.covariance, single.covariance.T)
    np.testing.assert_allclose(single.variance, state.variance, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean": np.zeros(3)}, r"of the same variables, found shapes \(3,\), \(2, 1\) and \(2,\)"),
        ({"mean": np.array([0.0, np.nan])}, "finite values in `mean`"),
        ({"basis": np.zeros(2)}, "of the same variables"),
        ({"basis": np.ones((2, 1))}, "orthonormal columns of `basis`, found an error of 1"),
        ({"covariance": np.eye(2)}, "of the components of `basis`"),
        ({"covariance": np.ones(1)}, "`covariance` to be a square matrix"),
        ({"covariance": np.zeros((0, 0))}, "`covariance` to be a square matrix"),
        ({"covariance": np.array([[-1.0]])}, "positive semi-definite, found an eigenvalue of -1"),
        ({"covariance": np.array([[np.inf]])}, "finite values in `covariance`"),
        ({"basis": np.eye(2), "covariance": np.array([[1.0, 0.5], [0.0, 1.0]])}, "symmetric, found differences of 0.5"),
        ({"noise": np.array([1.0, -1.0])}, "`noise` of at least 0, found -1"),
        ({"scale": -1.0}, "`scale` to be a number of at least 0"),
    ],
)
def test_what_is_no_gaussian_is_refused(change, message):
    right = {"mean": np.zeros(2), "basis": np.eye(2)[:, :1], "covariance": np.eye(1), "noise": np.ones(2), "scale": 1.0}
    Gaussian(**right)
    with pytest.raises(ValueError, match=message):
        Gaussian(**{**right, **change})


def test_other_variables_and_no_draws_are_refused(states):
    [state] = states(1)
    with pytest.raises(ValueError, match=r"rows of 7 variables, found shape \(2, 6\)"):
        state.scores(np.zeros((2, 6)))
    with pytest.raises(ValueError, match="`n` to be a whole number"):
        state.sample(0, np.random.default_rng(0))
