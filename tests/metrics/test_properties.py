"""What holds for any cells, features and types of numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import ortho_group
from sklearn.neighbors import KNeighborsClassifier

from couplevi.metrics import (
    auroc_per_feature,
    binomial_comparison,
    foscttm,
    interval_coverage,
    interval_score,
    jensen_shannon_distance,
    knn_imputation,
    label_transfer_accuracy,
    pearson_per_feature,
    ridge_imputation,
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


@few
@given(seed=seeds, n=cells, d=features, dtype=dtypes)
def test_foscttm_is_its_definition_by_loops(seed, n, d, dtype):
    a, b = grid(seed, 2, n, d)
    closer = 0
    for i in range(n):
        own = np.square(a[i] - b[i]).sum()
        closer += sum(np.square(a[i] - b[j]).sum() < own for j in range(n))
        closer += sum(np.square(a[j] - b[i]).sum() < own for j in range(n))
    value = foscttm(a.astype(dtype), b.astype(dtype))
    assert value == pytest.approx(closer / (2 * n * n), abs=1e-12)
    assert 0 <= value <= 1


@few
@given(seed=seeds, n=cells, d=features)
def test_foscttm_sees_neither_side_nor_order_nor_the_axes_of_the_space(seed, n, d):
    a, b = grid(seed, 2, n, d)
    rng = np.random.default_rng(seed)
    value, cell, axis, sign = foscttm(a, b), rng.permutation(n), rng.permutation(d), rng.choice([-1, 1], size=d)
    assert foscttm(b, a) == value
    assert foscttm(a[cell], b[cell]) == value
    assert foscttm(a[:, axis] * sign + 7, b[:, axis] * sign + 7) == value
    assert foscttm(0.25 * a, 0.25 * b) == value


@few
@given(seed=seeds, n=st.integers(2, 30), d=st.integers(2, 5))
def test_foscttm_does_not_change_by_rotation_and_shift_of_both(seed, n, d):
    a, b = continuous(seed, 2, n, d)
    rotation, shift = ortho_group.rvs(d, random_state=seed), continuous(seed + 1, d)
    assert foscttm(a @ rotation + shift, b @ rotation + shift) == pytest.approx(foscttm(a, b), abs=1e-12)


@few
@given(seed=seeds, n=cells, n_query=cells, d=features, k=st.integers(1, 30), names=st.booleans())
def test_label_transfer_is_the_accuracy_of_scikit_learn(seed, n, n_query, d, k, names):
    x, y = grid(seed, n, d).astype(float), grid(seed + 1, n_query, d).astype(float)
    label_x, label_y = (grid(seed + 2 + i, len(values), high=3) for i, values in enumerate((x, y)))
    if names:
        label_x, label_y = (np.array(["L2/3", "Sst", "Vip"])[labels] for labels in (label_x, label_y))
    k = min(k, n)
    expected = KNeighborsClassifier(k).fit(x, label_x).score(y, label_y)
    accuracy = label_transfer_accuracy(x, label_x, y, label_y, k)
    assert accuracy == expected
    assert round(accuracy * n_query, 6).is_integer()


@few
@given(seed=seeds, n=cells, n_query=cells, d=features)
def test_label_transfer_from_one_neighbour_is_its_definition_and_does_not_see_rotation(seed, n, n_query, d):
    x, y = continuous(seed, n, d), continuous(seed + 1, n_query, d)
    label_x, label_y = grid(seed + 2, n, high=3), grid(seed + 3, n_query, high=3)
    expected = np.mean(
        [label_x[np.square(x - q).sum(axis=1).argmin()] == own for q, own in zip(y, label_y, strict=True)]
    )
    assert label_transfer_accuracy(x, label_x, y, label_y, 1) == pytest.approx(expected, abs=1e-12)
    rotation = ortho_group.rvs(d, random_state=seed) if d > 1 else -np.eye(1)
    assert label_transfer_accuracy(x @ rotation, label_x, y @ rotation, label_y, 1) == pytest.approx(
        expected, abs=1e-12
    )


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


@few
@given(seed=seeds, n=st.integers(1, 20), n_query=cells, f=features, k=st.integers(1, 20))
def test_imputation_by_neighbours_is_a_mean_of_targets_whatever_the_order_of_cells(seed, n, n_query, f, k):
    x, query, k = continuous(seed, n, 3), continuous(seed + 1, n_query, 3), min(k, n)
    target, confidence = continuous(seed + 2, n, f), np.random.default_rng(seed).uniform(0.1, 1, n)
    imputed = knn_imputation(x, target, query, k, confidence)
    for q, row in zip(query, imputed, strict=True):
        near = np.square(x - q).sum(axis=1).argsort()[:k]
        np.testing.assert_allclose(row, np.average(target[near], axis=0, weights=confidence[near]), atol=1e-9)
    order = np.random.default_rng(seed).permutation(n)
    np.testing.assert_allclose(
        knn_imputation(x[order], target[order], query, k, 0.5 * confidence[order]), imputed, atol=1e-9
    )


@few
@given(seed=seeds, n=st.integers(3, 20), f=features)
def test_linear_imputation_sees_neither_the_order_of_cells_nor_shifts(seed, n, f):
    x, target, query = continuous(seed, n, 3), continuous(seed + 1, n, f), continuous(seed + 2, 5, 3)
    imputed = ridge_imputation(x, target, query)
    order = np.random.default_rng(seed).permutation(n)
    np.testing.assert_allclose(ridge_imputation(x[order], target[order], query), imputed, atol=1e-6)
    np.testing.assert_allclose(ridge_imputation(x + 5, target - 3, query + 5), imputed - 3, atol=1e-6)
