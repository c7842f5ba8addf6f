import numpy as np
import pytest
from scipy.stats import chi2, kstest, truncnorm

from couplevi.gaussians import bures_distance2, sample_couplings, sample_level_set
from couplevi.gaussians._samplers import _truncated_normal


def largest_trace(c0, c1):
    return (np.trace(c0) + np.trace(c1) - bures_distance2(c0, c1)) / 2


def test_couplings_of_one_component_follow_the_truncated_exponential():
    """C is in [-6, 6], with a density proportional to exp(C / 2)."""
    drawn = sample_couplings(np.array([[4.0]]), np.array([[9.0]]), 4000, 2.0, np.random.default_rng(0), n_steps=5)
    distribution = lambda c: np.expm1((c + 6) / 2) / np.expm1(6)
    assert kstest(drawn.samples.ravel(), distribution).pvalue > 0.01


@pytest.mark.parametrize("temperature", [100.0, 0.7])
def test_couplings_have_the_moments_of_rejection_sampling(temperature):
    rng = np.random.default_rng(0)
    k = rng.uniform(-1, 1, size=(400_000, 2, 2))
    k = k[np.linalg.norm(k, ord=2, axis=(1, 2)) <= 1]
    r0, r1 = np.diag([1.0, 2.0]), np.array([[1.0, 0.5], [0.5, 1.0]])
    c = r0 @ k @ r1
    weight = np.exp(np.trace(c, axis1=1, axis2=2) / temperature)
    drawn = sample_couplings(r0 @ r0, r1 @ r1, 10_000, temperature, rng, n_steps=40).samples
    flat, reference = drawn.reshape(-1, 4), c.reshape(-1, 4)
    np.testing.assert_allclose(flat.mean(axis=0), np.average(reference, axis=0, weights=weight), atol=0.05)
    np.testing.assert_allclose(np.cov(flat.T), np.cov(reference.T, aweights=weight), atol=0.05)


def test_couplings_are_covariances_with_the_states_they_couple(random_covariance):
    rng = np.random.default_rng(0)
    for rank in (5, 2):
        c0, c1 = random_covariance(3, rng, rank), random_covariance(3, rng, rank)
        for c in sample_couplings(c0, c1, 10, 1e-3, rng, anneal_from=1.0).samples:
            assert np.linalg.eigvalsh(np.block([[c0, c], [c.T, c1]]))[0] > -1e-9


def test_annealing_comes_within_a_twentieth_of_the_optimal_coupling(random_covariance):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        c0, c1 = random_covariance(5, rng), random_covariance(5, rng)
        best = largest_trace(c0, c1)
        drawn = sample_couplings(c0, c1, 5, 1e-3 * best, rng, anneal_from=best)
        traces = np.trace(drawn.samples, axis1=1, axis2=2)
        assert 0.95 * best < traces.min()
        assert traces.max() <= np.trace(drawn.optimum) + 1e-9
        assert np.trace(drawn.optimum) <= best + 1e-9


def test_the_trace_grows_as_the_temperature_falls(random_covariance):
    rng = np.random.default_rng(0)
    c0, c1 = random_covariance(3, rng), random_covariance(3, rng)
    draws = [sample_couplings(c0, c1, 200, t, rng).samples for t in (1e3, 10.0, 1.0, 0.1, 1e-9)]
    traces = [np.trace(samples, axis1=1, axis2=2).mean() for samples in draws]
    assert traces == sorted(traces)
    assert abs(traces[0]) < 0.1 * largest_trace(c0, c1)


def test_a_seed_repeats_couplings_and_the_record_is_read_only():
    first, second = (sample_couplings(np.eye(2), np.eye(2), 3, 0.1, np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(first.samples, second.samples)
    with pytest.raises(ValueError, match="read-only"):
        first.optimum[0] = 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"c1": np.eye(3)}, "`c0` and `c1` of the same shape"),
        ({"c0": -np.eye(2)}, "`c0` to be positive semi-definite"),
        ({"n_samples": 0}, "`n_samples` to be a whole number"),
        ({"temperature": 0.0}, "`temperature` to be a number"),
        ({"anneal_from": -1.0}, "`anneal_from` to be a number"),
        ({"n_steps": 0}, "`n_steps` to be a whole number"),
    ],
)
def test_couplings_that_cannot_be_drawn_are_refused(change, message):
    right = {"c0": np.eye(2), "c1": np.eye(2), "n_samples": 2, "temperature": 1.0, "rng": np.random.default_rng(0)}
    with pytest.raises(ValueError, match=message):
        sample_couplings(**{**right, **change})


@pytest.mark.parametrize("limits", [None, (np.array([[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]]), np.array([0.5, -1.0]))])
def test_level_set_has_the_moments_of_rejection_sampling(random_covariance, limits):
    rng = np.random.default_rng(0)
    mean, covariance = np.array([1.0, -1.0, 0.0]), random_covariance(3, rng)
    z = rng.multivariate_normal(mean, covariance, size=200_000)
    distance = lambda z: ((z - mean) @ np.linalg.inv(covariance) * (z - mean)).sum(axis=1)
    keep = distance(z) <= chi2.ppf(0.7, 3)
    if limits is not None:
        keep &= (z @ limits[0].T <= limits[1]).all(axis=1)
    drawn = sample_level_set(mean, covariance, 0.7, 20_000, rng, inequalities=limits)
    assert distance(drawn).max() <= chi2.ppf(0.7, 3) * (1 + 1e-9)
    if limits is not None:
        assert (drawn @ limits[0].T <= limits[1] + 1e-9).all()
    scale = np.sqrt(np.trace(covariance))
    np.testing.assert_allclose(drawn.mean(axis=0), z[keep].mean(axis=0), atol=0.03 * scale)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(z[keep].T), atol=0.03 * scale**2)


def test_a_narrow_corner_far_from_the_mean_is_found():
    limits = (np.array([[-1.0, 0.0], [0.0, -1.0]]), np.array([-1.72, -1.72]))  # both at least 1.72, radius 2.45
    drawn = sample_level_set(np.zeros(2), np.eye(2), 0.95, 300, np.random.default_rng(0), inequalities=limits)
    assert (drawn >= 1.72 - 1e-9).all()
    assert np.square(drawn).sum(axis=1).max() <= chi2.ppf(0.95, 2) + 1e-9
    assert len(np.unique(drawn[:, 0])) == 300


def test_a_singular_covariance_is_sampled_within_its_range():
    drawn = sample_level_set(np.ones(2), np.diag([4.0, 0.0]), 0.9, 5000, np.random.default_rng(0))
    np.testing.assert_array_equal(drawn[:, 1], 1)
    bound = float(np.sqrt(chi2.ppf(0.9, 1)))
    assert kstest((drawn[:, 0] - 1) / 2, truncnorm(-bound, bound).cdf).pvalue > 0.01
    np.testing.assert_array_equal(sample_level_set(np.ones(2), np.zeros((2, 2)), 0.9, 3, np.random.default_rng(0)), 1)


def test_burn_in_of_none_starts_at_the_mean():
    drawn = sample_level_set(np.ones(2), np.eye(2), 0.5, 150, np.random.default_rng(0), burn_in=0, thin=1)
    np.testing.assert_array_equal(drawn[:100], 1)
    assert (drawn[100:] != 1).all()


@pytest.mark.parametrize(("low", "high"), [(-1.0, 2.0), (30.0, 31.0), (-40.0, -39.0), (-50.0, 50.0)])
def test_truncated_normal_follows_its_distribution_also_in_the_tails(low, high):
    n = 5000
    drawn = _truncated_normal(np.full(n, low), np.full(n, high), np.random.default_rng(0))
    assert drawn.min() >= low
    assert drawn.max() <= high
    assert kstest(drawn, truncnorm(low, high).cdf).pvalue > 0.01


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"level": 0.0}, "`level` to be a number"),
        ({"level": 1.0}, "`level` to be a number"),
        ({"n_samples": 0}, "`n_samples` to be a whole number"),
        ({"burn_in": -1}, "`burn_in` to be a whole number of at least 0"),
        ({"thin": 0}, "`thin` to be a whole number of at least 1"),
        ({"mean": np.zeros(3)}, r"`mean` of shape \(2,\), found \(3,\)"),
        ({"covariance": np.zeros(2)}, "`covariance` to be a square matrix"),
        ({"inequalities": (np.eye(3), np.zeros(3))}, r"`inequalities` of shapes \(m, 2\) and \(m,\)"),
        ({"inequalities": (np.eye(2), np.zeros(3))}, r"`inequalities` of shapes \(m, 2\) and \(m,\)"),
        ({"inequalities": (np.eye(2), np.full(2, -9.0))}, "points of the ellipsoid within `inequalities`, found none"),
        (
            {"inequalities": (np.array([[1.0, 0], [-1, 0]]), np.array([-0.1, -0.1]))},
            "within `inequalities`, found none",
        ),
        ({"inequalities": (np.zeros((1, 2)), np.array([-1.0]))}, "within `inequalities`, found none"),
    ],
)
def test_level_sets_that_cannot_be_drawn_from_are_refused(change, message):
    right = {"mean": np.zeros(2), "covariance": np.eye(2), "level": 0.9, "n_samples": 5}
    with pytest.raises(ValueError, match=message):
        sample_level_set(**{**right, **change}, rng=np.random.default_rng(0))
