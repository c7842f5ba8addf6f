import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import binomtest, pearsonr
from sklearn.metrics import r2_score, roc_auc_score

from couplevi.metrics import (
    auroc_per_feature,
    binomial_comparison,
    jensen_shannon_distance,
    pearson_per_feature,
    relative_rmse_per_feature,
)

few = settings(max_examples=40, deadline=None)
seeds = st.integers(0, 10**6)
cells = st.integers(1, 30)
features = st.integers(1, 4)
dtypes = st.sampled_from(["int8", "uint8", "int64", "float16", "float32", "float64"])


def grid(seed, *shape, high=4):
    """Whole numbers, so few that many distances and values tie."""
    return np.random.default_rng(seed).integers(0, high, size=shape)


def continuous(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.fixture
def values():
    rng = np.random.default_rng(0)
    measured = rng.normal(size=(80, 6)).astype(np.float32)
    return measured, measured + rng.normal(size=(80, 6)).astype(np.float32) * np.linspace(0.1, 3, 6, dtype=np.float32)


def test_pearson_equals_that_of_scipy(values):
    expected = [
        pearsonr(x.astype(float), y.astype(float)).statistic for x, y in zip(values[0].T, values[1].T, strict=True)
    ]
    np.testing.assert_allclose(pearson_per_feature(*values), expected, rtol=1e-6)


def test_pearson_of_constants(values):
    measured, imputed = values
    measured[:, 0], imputed[:, 1] = 0.1, 0.1
    r = pearson_per_feature(measured, imputed)
    assert np.isnan(r[0])
    assert r[1] == 0
    assert np.isfinite(r[1:]).all()


def test_auroc_equals_that_of_scikit_learn(values):
    measured, imputed = values
    imputed = imputed.round(1)  # ties
    expected = [roc_auc_score(x > np.median(x), y) for x, y in zip(measured.T, imputed.T, strict=True)]
    np.testing.assert_allclose(auroc_per_feature(measured, imputed), expected)


def test_auroc_needs_values_above_the_median():
    assert np.isnan(auroc_per_feature([[1.0], [1.0], [0.0]], [[1.0], [2.0], [3.0]])).all()
    np.testing.assert_array_equal(auroc_per_feature([[0.0], [0.0], [1.0]], [[1.0], [2.0], [3.0]]), [1.0])


def test_relative_rmse_is_the_square_root_of_what_r2_leaves(values):
    expected = [np.sqrt(1 - r2_score(x, y)) for x, y in zip(values[0].T, values[1].T, strict=True)]
    np.testing.assert_allclose(relative_rmse_per_feature(*values), expected, rtol=1e-6)


def test_relative_rmse_of_the_truth_the_mean_and_constants(values):
    measured, _ = values
    np.testing.assert_array_equal(relative_rmse_per_feature(measured, measured), 0)
    mean = np.broadcast_to(measured.mean(axis=0), measured.shape)
    np.testing.assert_allclose(relative_rmse_per_feature(measured, mean), 1, rtol=1e-6)
    assert np.isnan(relative_rmse_per_feature(np.ones((5, 2)), measured[:5, :2])).all()


def test_jensen_shannon_equals_that_of_scipy(values):
    expected = []
    for x, y in zip(values[0].T, values[1].T, strict=True):
        edges = np.linspace(min(x.min(), y.min()), max(x.max(), y.max()), 11)
        p, q = (np.histogram(v, edges)[0] for v in (x, y))
        expected.append(jensenshannon(p, q, base=2))
    np.testing.assert_allclose(jensen_shannon_distance(*values, n_bins=10), expected, atol=0.02)


def test_jensen_shannon_limits(values):
    measured, _ = values
    np.testing.assert_array_equal(jensen_shannon_distance(measured, measured), 0)
    np.testing.assert_allclose(jensen_shannon_distance(measured, measured + 100), 1)
    np.testing.assert_array_equal(jensen_shannon_distance(np.ones((5, 2)), np.ones((5, 2))), 0)


def test_jensen_shannon_compares_groups_by_themselves(values):
    measured, imputed = values
    groups = np.array(["b", "a"] * 40)
    by_group = jensen_shannon_distance(measured, imputed, groups)
    assert by_group.shape == (2, 6)
    np.testing.assert_array_equal(by_group[0], jensen_shannon_distance(measured[1::2], imputed[1::2]))


def test_binomial_comparison_equals_that_of_scipy():
    a, b = np.array([1.0, 2, 3, 4, 5, np.nan]), np.array([0.0, 0, 0, 5, 5, 1])
    result = binomial_comparison(a, b)
    assert result[:3] == (3, 1, 1)
    assert result.p_value == binomtest(3, 4).pvalue
    assert binomial_comparison([1.0], [1.0]).p_value == 1.0


@pytest.mark.parametrize(
    "metric", [pearson_per_feature, auroc_per_feature, relative_rmse_per_feature, jensen_shannon_distance]
)
def test_shapes_must_agree(metric):
    with pytest.raises(ValueError, match="the same cells and features"):
        metric(np.zeros((3, 2)), np.zeros((3, 1)))


def test_other_bad_input():
    with pytest.raises(ValueError, match="a group for each of 3 cells"):
        jensen_shannon_distance(np.zeros((3, 2)), np.zeros((3, 2)), groups=["a"])
    with pytest.raises(ValueError, match="`n_bins`"):
        jensen_shannon_distance(np.zeros((3, 2)), np.zeros((3, 2)), n_bins=1)
    with pytest.raises(ValueError, match="scores of the same features"):
        binomial_comparison([1.0], [1.0, 2.0])


@few
@given(seed=seeds, n=cells, f=features, n_bins=st.integers(2, 25), dtype=st.sampled_from(["float32", "float64"]))
def test_jensen_shannon_is_that_of_scipy_on_the_same_bins(seed, n, f, n_bins, dtype):
    """Values in the middle of bins, so that rounding moves none; one at each end sets the range."""
    x, y = grid(seed, 2, n, f, high=n_bins) + 0.5
    x[0], y[-1] = 0, n_bins
    distance = jensen_shannon_distance(x.astype(dtype), y.astype(dtype), n_bins=n_bins)
    edges = np.linspace(0, n_bins, n_bins + 1)
    for j in range(f):
        p, q = (np.histogram(values[:, j], edges)[0] / n for values in (x, y))
        assert distance[j] == pytest.approx(jensenshannon(p, q, base=2), abs=1e-6)


@few
@given(seed=seeds, n=cells, f=features, high=st.integers(1, 6), n_bins=st.integers(2, 25))
def test_jensen_shannon_lies_between_0_and_1_and_sees_neither_side_nor_order_nor_units(seed, n, f, high, n_bins):
    x, y = grid(seed, 2, n, f, high=high)
    distance = jensen_shannon_distance(x, y, n_bins=n_bins)
    assert ((distance >= 0) & (distance <= 1)).all()
    np.testing.assert_array_equal(jensen_shannon_distance(y, x, n_bins=n_bins), distance)
    np.testing.assert_array_equal(jensen_shannon_distance(x[::-1], np.roll(y, 1, axis=0), n_bins=n_bins), distance)
    np.testing.assert_array_equal(jensen_shannon_distance(0.5 * x - 3, 0.5 * y - 3, n_bins=n_bins), distance)
    np.testing.assert_array_equal(jensen_shannon_distance(x, x[::-1], n_bins=n_bins), 0)
    np.testing.assert_allclose(jensen_shannon_distance(x, x + 100, n_bins=n_bins), 1)


@few
@given(seed=seeds, n=cells, f=features, n_groups=st.integers(1, 4))
def test_jensen_shannon_of_groups_is_that_of_their_cells(seed, n, f, n_groups):
    x, y = grid(seed, 2, n, f)
    groups = np.array(list("dbca"))[grid(seed + 1, n, high=n_groups)]
    rows = jensen_shannon_distance(x, y, groups)
    for row, group in zip(rows, sorted(set(groups)), strict=True):
        np.testing.assert_array_equal(row, jensen_shannon_distance(x[groups == group], y[groups == group]))


@few
@given(seed=seeds, n=cells, f=features, high=st.integers(1, 4), dtype=dtypes)
def test_pearson_is_that_of_numpy_and_says_where_there_is_none(seed, n, f, high, dtype):
    """NaN where the measured values are constant, 0 where only the imputed ones are."""
    x, y = grid(seed, 2, n, f, high=high)
    r = pearson_per_feature(x.astype(dtype), y.astype(dtype))
    for j in range(f):
        if np.ptp(x[:, j]) == 0:
            assert np.isnan(r[j])
        elif np.ptp(y[:, j]) == 0:
            assert r[j] == 0
        else:
            assert r[j] == pytest.approx(np.corrcoef(x[:, j], y[:, j])[0, 1], abs=1e-9)
            assert -1 <= r[j] <= 1


@few
@given(seed=seeds, n=st.integers(3, 30), f=features, gain=st.floats(0.01, 100), shift=st.floats(-100, 100))
def test_pearson_sees_neither_side_nor_units_but_the_sign(seed, n, f, gain, shift):
    x, y = continuous(seed, 2, n, f)
    r = pearson_per_feature(x, y)
    np.testing.assert_allclose(pearson_per_feature(y, x), r, atol=1e-9)
    np.testing.assert_allclose(pearson_per_feature(x, gain * y + shift), r, atol=1e-9)
    np.testing.assert_allclose(pearson_per_feature(x, -gain * y + shift), -r, atol=1e-9)
    np.testing.assert_allclose(pearson_per_feature(x, gain * x + shift), 1, atol=1e-9)


@few
@given(seed=seeds, n=cells, f=features, high=st.integers(1, 6), dtype=dtypes)
def test_auroc_is_the_share_of_pairs_in_the_right_order(seed, n, f, high, dtype):
    x, y = grid(seed, 2, n, f, high=high)
    auroc = auroc_per_feature(x.astype(dtype), y.astype(dtype))
    for j in range(f):
        high_values, low_values = y[x[:, j] > np.median(x[:, j]), j], y[x[:, j] <= np.median(x[:, j]), j]
        wins = [(a > b) + 0.5 * (a == b) for a in high_values for b in low_values]
        assert auroc[j] == pytest.approx(np.mean(wins), abs=1e-12) if wins else np.isnan(auroc[j])


@few
@given(seed=seeds, f=st.integers(1, 30), high=st.integers(1, 4))
def test_exchanging_two_imputations_exchanges_wins_and_losses(seed, f, high):
    a, b = grid(seed, 2, f, high=high).astype(float)
    a[grid(seed + 1, f, high=5) == 0] = np.nan
    there, back = binomial_comparison(a, b), binomial_comparison(b, a)
    assert (back.wins, back.losses, back.ties) == (there.losses, there.wins, there.ties)
    assert there.wins + there.losses + there.ties == np.isfinite(a).sum()
    assert back.p_value == pytest.approx(there.p_value)
    assert 0 < there.p_value <= 1
