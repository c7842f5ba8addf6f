"""What is missing is left out of scores per feature and counted; what is infinite is refused."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr

from couplevi.metrics import (
    auroc_per_feature,
    binomial_comparison,
    interval_coverage,
    interval_score,
    jensen_shannon_distance,
    pearson_per_feature,
    relative_rmse_per_feature,
    scored_cells_per_feature,
)

few = settings(max_examples=40, deadline=None)
SCORES = {
    "pearson": pearson_per_feature,
    "auroc": auroc_per_feature,
    "relative_rmse": relative_rmse_per_feature,
    "jensen_shannon": jensen_shannon_distance,
    "coverage": partial(interval_coverage, sd=1.0),
    "interval_score": partial(interval_score, sd=1.0),
}
every = pytest.mark.parametrize("score", SCORES.values(), ids=list(SCORES))


@every
@few
@given(seed=st.integers(0, 10**6), n=st.integers(1, 20), f=st.integers(1, 5), rows=st.booleans())
def test_a_score_is_that_of_the_cells_with_both_values(score, seed, n, f, rows):
    """Of whole rows, as couplevi writes them for cells without the modality, or of single values."""
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 4, size=(2, n, f)).astype(float)
    for values in (x, y):
        values[rng.random(n) < 0.4 if rows else rng.random((n, f)) < 0.4] = np.nan
    found, counts = score(x, y), scored_cells_per_feature(x, y)
    for j in range(f):
        known = ~np.isnan(x[:, j]) & ~np.isnan(y[:, j])
        assert counts[j] == known.sum()
        if not known.any():
            assert np.isnan(found[j])
        else:
            np.testing.assert_allclose(found[j], score(x[known, j, None], y[known, j, None])[0], rtol=1e-12)


def test_missing_rows_do_not_hide_a_difference():
    """Half of the imputed rows are NaN: the distance of shifted values stays what it is."""
    x = np.random.default_rng(0).normal(size=(400, 3))
    y = x + 2
    y[::2] = np.nan
    whole = jensen_shannon_distance(x[1::2], x[1::2] + 2)
    assert (whole > 0.6).all()
    np.testing.assert_array_equal(jensen_shannon_distance(x, y), whole)
    expected = pearsonr(x[1::2, 0], (x**3)[1::2, 0]).statistic
    cubes = np.where(np.isnan(y), np.nan, x**3)
    np.testing.assert_allclose(pearson_per_feature(x, cubes)[0], expected)
    np.testing.assert_array_equal(interval_coverage(x, y, 1.0), 0)
    np.testing.assert_array_equal(interval_coverage(x, y - 2, 1.0), 1)
    np.testing.assert_array_equal(auroc_per_feature(x, y), 1)


@every
def test_a_feature_that_is_nowhere_known_has_no_score(score):
    x = np.random.default_rng(0).normal(size=(6, 2))
    y = x.copy()
    y[:, 0] = np.nan
    found = score(x, y)
    assert np.isnan(found[0])
    assert np.isfinite(found[1])
    assert np.isnan(score(x * np.nan, y)).all()
    assert scored_cells_per_feature(x, y).tolist() == [0, 6]


@every
def test_infinite_values_are_refused_and_counted(score):
    x = np.random.default_rng(0).normal(size=(6, 2))
    y = x.copy()
    y[:2, 0], y[3, 1] = np.inf, -np.inf
    with pytest.raises(ValueError, match="finite values or NaN in `imputed`, found 3 infinite values. Find out"):
        score(x, y)
    with pytest.raises(ValueError, match="finite values or NaN in `measured`, found 3 infinite values"):
        score(y, x)


@pytest.mark.parametrize("score", [interval_coverage, interval_score])
def test_missing_standard_deviations_leave_the_cell_out_and_infinite_ones_are_refused(score):
    x, y = np.random.default_rng(0).normal(size=(2, 6, 2))
    sd = np.ones((6, 2))
    sd[:3] = np.nan
    np.testing.assert_array_equal(score(x, y, sd), score(x[3:], y[3:], 1.0))
    with pytest.raises(ValueError, match="finite values or NaN in `sd`, found 1 infinite values"):
        score(x, y, np.inf)
    sd[5] = -2
    with pytest.raises(ValueError, match="standard deviations of at least 0, found -2"):
        score(x, y, sd)


@pytest.mark.parametrize(
    "groups",
    [
        [10, None, 2],
        [10.0, np.nan, 2.0],
        pd.array([10, None, 2], dtype="Int64"),
        pd.Categorical([10, None, 2]),
        ["q", None, "p"],
        ["q", pd.NA, "p"],
        ["q", "unknown", "p"],
        [True, None, False],
    ],
    ids=str,
)
def test_cells_without_a_group_are_left_out_and_groups_are_in_order(groups):
    x, y = np.random.default_rng(0).normal(size=(2, 30, 3))
    chosen = pd.Series(groups, dtype=object)[np.repeat([0, 1, 2], 10)]
    expected = [jensen_shannon_distance(x[20:], y[20:]), jensen_shannon_distance(x[:10], y[:10])]
    for form in (chosen, chosen.to_numpy(), chosen.tolist()):
        np.testing.assert_array_equal(jensen_shannon_distance(x, y, form), expected)


def test_a_group_without_values_has_no_distance():
    x, y = np.random.default_rng(0).normal(size=(2, 6, 2))
    y[:3] = np.nan
    found = jensen_shannon_distance(x, y, ["a"] * 3 + ["b"] * 3)
    assert np.isnan(found[0]).all()
    np.testing.assert_array_equal(found[1], jensen_shannon_distance(x[3:], y[3:]))
    with pytest.raises(ValueError, match="at least one cell with a group, found none"):
        jensen_shannon_distance(x, y, [None] * 6)


def test_features_without_a_score_are_neither_won_nor_lost_nor_tied():
    assert binomial_comparison([np.nan, 1, 2, np.nan], [0, np.nan, 1, np.nan])[:3] == (1, 0, 0)


def test_counts_need_the_same_cells_and_features():
    with pytest.raises(ValueError, match="the same cells and features"):
        scored_cells_per_feature(np.zeros((3, 2)), np.zeros((3, 1)))
