import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from couplevi.metrics import interval_coverage, interval_score

few = settings(max_examples=40, deadline=None)
seeds = st.integers(0, 10**6)
cells = st.integers(1, 30)
features = st.integers(1, 4)


def continuous(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def test_gaussian_intervals_hold_their_share_and_have_the_expected_score():
    rng = np.random.default_rng(0)
    y = rng.normal(2, 3, (200_000, 2))
    mean, sd = np.full(y.shape, 2.0), np.full(y.shape, 3.0)
    np.testing.assert_allclose(interval_coverage(y, mean, sd), 0.9, atol=0.005)
    np.testing.assert_allclose(interval_coverage(y, mean, sd, level=0.5), 0.5, atol=0.005)
    # width + 2 / alpha * 2 * E[(Y - u)+], with E[(Z - z)+] = pdf(z) - z * (1 - cdf(z))
    z = norm.ppf(0.95)
    expected = 3 * (2 * z + 2 / 0.1 * 2 * (norm.pdf(z) - z * 0.05))
    np.testing.assert_allclose(interval_score(y, mean, sd), expected, rtol=0.01)


def test_score_is_best_for_the_true_spread():
    y = np.random.default_rng(0).normal(size=(100_000, 1))
    scores = [interval_score(y, 0 * y, sd)[0] for sd in (0.5, 0.8, 1.0, 1.25, 2.0)]
    assert np.argmin(scores) == 2


@pytest.mark.parametrize("function", [interval_coverage, interval_score])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1.0]], [[1.0, 2.0]], 1.0), "two matrices of the same cells and features"),
        (([[1.0]], [[1.0]], -1.0), "standard deviations of at least 0, found -1"),
        (([[1.0]], [[1.0]], 1.0, 1.0), "`level` to be above 0 and below 1"),
    ],
)
def test_bad_intervals(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(*arguments)


@few
@given(seed=seeds, n=cells, f=features, level=st.floats(0.05, 0.95), more=st.floats(0, 3))
def test_intervals_grow_with_spread_and_level_and_their_score_has_the_units_of_the_values(seed, n, f, level, more):
    y, mean, sd = continuous(seed, 3, n, f)
    sd = np.abs(sd)
    coverage, score = interval_coverage(y, mean, sd, level), interval_score(y, mean, sd, level)
    assert ((coverage >= 0) & (coverage <= 1)).all()
    assert (interval_coverage(y, mean, sd + more, level) >= coverage).all()
    assert (interval_coverage(y, mean, sd, level + 0.04) >= coverage).all()
    assert (score >= 0).all()
    np.testing.assert_allclose(interval_score(4 * y + 1, 4 * mean + 1, 4 * sd, level), 4 * score)
    np.testing.assert_allclose(interval_score(-y, -mean, sd, level), score)
    wide = interval_score(y, mean, sd + 1e4, level)
    np.testing.assert_allclose(wide, interval_score(mean, mean, sd + 1e4, level))  # the width alone
