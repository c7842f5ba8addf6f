import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import binomtest, pearsonr
from sklearn.metrics import roc_auc_score

from couplevi.metrics import (
    auroc_per_feature,
    binomial_comparison,
    jensen_shannon_distance,
    pearson_per_feature,
)


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


@pytest.mark.parametrize("metric", [pearson_per_feature, auroc_per_feature, jensen_shannon_distance])
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
