import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from couplevi.metrics import knn_imputation, ridge_imputation

few = settings(max_examples=40, deadline=None)
seeds = st.integers(0, 10**6)
cells = st.integers(1, 30)
features = st.integers(1, 4)


def continuous(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def test_nearest_neighbour_returns_its_partner():
    x = np.random.default_rng(0).normal(size=(20, 3))
    y = np.random.default_rng(1).normal(size=(20, 2))
    np.testing.assert_allclose(knn_imputation(x, y, x[:5], n_neighbors=1), y[:5])
    np.testing.assert_allclose(knn_imputation(x, y, x[:1], n_neighbors=20), y.mean(axis=0, keepdims=True))


def test_ridge_recovers_a_linear_map():
    rng = np.random.default_rng(0)
    x, slope = rng.normal(size=(200, 3)), rng.normal(size=(3, 2))
    np.testing.assert_allclose(ridge_imputation(x, x @ slope, x[:5]), x[:5] @ slope, atol=0.01)


def test_one_target_feature_stays_a_column():
    x = np.arange(10.0)[:, None]
    assert knn_imputation(x, x, x[:3]).shape == ridge_imputation(x, x, x[:3]).shape == (3, 1)


@pytest.mark.parametrize("n_neighbors", [0, 5])
def test_too_many_neighbours_are_refused(n_neighbors):
    with pytest.raises(ValueError, match="between 1 and the 4 cells to learn from"):
        knn_imputation(np.zeros((4, 1)), np.zeros((4, 1)), np.zeros((1, 1)), n_neighbors)


def test_confidence_weights_the_cells():
    x, y = np.zeros((3, 1)), np.array([[0.0], [0.0], [8.0]])
    np.testing.assert_allclose(knn_imputation(x, y, [[0.0]], 3, confidence=[0.25, 0.25, 0.5]), [[4.0]])
    x = np.array([[-1.0], [1.0], [1.0]])
    sure = ridge_imputation(x, y, [[1.0]], confidence=[1.0, 1.0, 1e-9])
    np.testing.assert_allclose(sure, [[0.0]], atol=1e-6)


@pytest.mark.parametrize("impute", [knn_imputation, ridge_imputation])
def test_cells_that_are_not_complete_are_refused_and_counted(impute):
    x = np.arange(12.0).reshape(6, 2)
    holed = x.copy()
    holed[:2, 0], holed[2, 1] = np.nan, np.inf
    for name in ("source", "target", "query"):
        arguments = {"source": x, "target": x, "query": x} | {name: holed}
        with pytest.raises(ValueError, match=f"finite values in `{name}`, found 3 of 6 rows .* Leave these cells out"):
            impute(**arguments)
    with pytest.raises(ValueError, match="finite confidences above 0, found 3 that are not"):
        impute(x, x, x, confidence=[np.nan, 0, -1, 1, 1, 1])


def test_ridge_needs_cells():
    with pytest.raises(ValueError, match="at least one cell to learn from"):
        ridge_imputation(np.zeros((0, 2)), np.zeros((0, 1)), np.zeros((1, 2)))


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
