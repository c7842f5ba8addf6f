import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression, RidgeCV

from couplevi.nn import LinearPath
from couplevi.nn._linear_path import PENALTIES


def linked(n=300, seed=0):
    """Ends of links that are linear with noise, and no covariates."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 6)) + 2
    y = x @ rng.normal(size=(6, 4)) + rng.normal(size=(n, 4)) - 1
    return x, y, np.empty((n, 0)), np.ones(n)


def fitted(x, y, own, told, confidence):
    path = LinearPath(x.shape[1], y.shape[1], own.shape[1])
    path.fit(x, y, own, told, confidence)
    return path


def predicted(path, x, own, told):
    return path(*(torch.as_tensor(np.asarray(values, dtype=np.float32)) for values in (x, own, told))).numpy()


def test_without_covariates_it_is_ridge_regression():
    x, y, none, one = linked()
    ridge = RidgeCV(PENALTIES, fit_intercept=False).fit(x - x.mean(axis=0), y - y.mean(axis=0))
    expected = ridge.predict(x - x.mean(axis=0)) + y.mean(axis=0)
    np.testing.assert_allclose(predicted(fitted(x, y, none, none, one), x, none, none), expected, rtol=1e-4, atol=1e-4)


def test_what_tells_nothing_predicts_the_mean():
    x, y, none, one = linked()
    y = np.random.default_rng(1).normal(size=y.shape) + 3
    found = predicted(fitted(x, y, none, none, one), x, none, none)
    np.testing.assert_allclose(found, np.tile(y.mean(axis=0), (len(x), 1)), atol=0.15)


def test_links_count_by_their_confidence():
    x, y, none, confidence = linked()
    wrong = np.arange(len(x)) % 3 == 0
    y[wrong] = -y[wrong]
    confidence[wrong] = 1e-6
    found = predicted(fitted(x, y, none, none, confidence), x, none, none)
    expected = LinearRegression().fit(x[~wrong], y[~wrong]).predict(x)
    np.testing.assert_allclose(found, expected, atol=0.1)


def batches(n=400, seed=0):
    """Two batches, whose cells differ in number, in what they are and in a shift of every feature."""
    rng = np.random.default_rng(seed)
    second = np.arange(n) % 4 == 0
    covariates = np.stack([~second, second], axis=1).astype(float)
    state = rng.normal(size=(n, 5))
    x = state + covariates @ np.array([[0.0] * 5, [5.0] * 5])
    weight = rng.normal(size=(5, 3))
    y = state @ weight + covariates @ np.array([[0.0] * 3, [-2.0] * 3]) + 0.1 * rng.normal(size=(n, 3))
    return state, weight, x, y, covariates


def test_shifts_of_batches_are_taken_from_one_and_put_on_the_other():
    state, weight, x, y, covariates = batches()
    path = fitted(x, y, covariates, covariates, np.ones(len(x)))
    np.testing.assert_allclose(path.weight.numpy(), weight.T, atol=0.05)
    first = np.tile([1.0, 0.0], (len(x), 1))
    np.testing.assert_allclose(predicted(path, x, covariates, first), state @ weight, atol=0.4)
    shift = predicted(path, x, covariates, first[:, ::-1]) - predicted(path, x, covariates, first)
    np.testing.assert_allclose(shift, np.full_like(shift, -2), atol=0.3)


def test_a_batch_without_links_is_as_the_mean_of_others():
    _, _, x, y, covariates = batches()
    wider = np.concatenate([covariates, np.zeros((len(x), 1))], axis=1)
    path = fitted(x, y, wider, wider, np.ones(len(x)))
    tell = {name: np.tile(row, (len(x), 1)) for name, row in zip("abc", np.eye(3), strict=True)}
    at = {name: predicted(path, x, wider, rows) for name, rows in tell.items()}
    np.testing.assert_allclose(at["c"], (at["a"] + at["b"]) / 2, atol=1e-3)


@pytest.mark.parametrize("n_out", [1, 3])
def test_one_output_is_a_column(n_out):
    x, y, none, one = linked()
    assert predicted(fitted(x, y[:, :n_out], none, none, one), x, none, none).shape == (len(x), n_out)
