import numpy as np
import pytest

from couplevi.metrics import knn_imputation, ridge_imputation


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


def test_ridge_needs_cells():
    with pytest.raises(ValueError, match="at least one cell to learn from"):
        ridge_imputation(np.zeros((0, 2)), np.zeros((0, 1)), np.zeros((1, 2)))
