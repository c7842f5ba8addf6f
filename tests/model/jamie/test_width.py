import numpy as np
import pytest
import torch

from couplevi.model.jamie.width import RANGE, Width

N = 5000


def fitted(scale, imputed, x, covariates=None, seed=0):
    """A width fitted to Gaussian errors of a given standard deviation, and its values for the same profiles."""
    covariates = torch.zeros(len(x), 0) if covariates is None else covariates
    error = np.abs(np.random.default_rng(seed).normal(size=imputed.shape) * scale)
    x = torch.from_numpy(x.astype(np.float32))
    width = Width(x.shape[1], imputed.shape[1], covariates.shape[1])
    np.testing.assert_array_equal(width(x, covariates, imputed), 1)
    width.fit(x, covariates, imputed, error)
    return width, width(x, covariates, imputed)


@pytest.fixture
def types():
    """Type of each profile, six features that tell it, and five imputed values that do not."""
    rng = np.random.default_rng(1)
    of_type = np.arange(N) % 2
    x = 5 * of_type[:, None] * rng.choice([-1, 1], 6) + rng.normal(size=(N, 6))
    return of_type, x, rng.normal(size=(N, 5)).astype(np.float32)


def test_width_follows_the_type(types):
    of_type, x, imputed = types
    scale = np.array([1.0, 3.0])[of_type, None] * np.array([1.0, 10.0, 0.1, 1.0, 1.0])
    _, width = fitted(scale, imputed, x)
    ratio = width[of_type == 1].mean(axis=0) / width[of_type == 0].mean(axis=0)
    np.testing.assert_allclose(ratio, 3, rtol=0.15)


def test_types_may_differ_in_some_features_alone(types):
    of_type, x, imputed = types
    scale = np.where(np.arange(5) < 2, np.array([1.0, 3.0])[of_type, None], 1.0)
    _, width = fitted(scale, imputed, x)
    ratio = width[of_type == 1].mean(axis=0) / width[of_type == 0].mean(axis=0)
    np.testing.assert_allclose(ratio, [3, 3, 1, 1, 1], rtol=0.15)


def test_width_follows_the_imputed_value(types):
    _, x, imputed = types
    far = imputed * 100 + 1e4  # neither origin nor unit matters
    _, width = fitted(np.clip(1 + 0.3 * imputed, 0.1, None), far, x)
    for j in range(5):
        slope, at_mean = np.polyfit(imputed[:, j], width[:, j], 1)
        assert slope / at_mean == pytest.approx(0.3, abs=0.05)


def test_width_is_the_same_where_errors_are(types):
    _, x, imputed = types
    _, width = fitted(2.0, imputed, x)
    np.testing.assert_allclose(width.mean(axis=0), 1, atol=0.01)
    assert width.std(axis=0).max() < 0.04  # chance: 0.76 / sqrt(5000) = 0.011 for each that is read


def test_features_without_error_or_imputed_alike_leave_it_at_1(types):
    _, x, imputed = types
    imputed[:, :2] = [7.0, 0.0]
    width, found = fitted(np.array([1.0, 0.0, 0.0, 1.0, 1.0]), imputed, x)
    assert width.slope[:3].tolist() == [0, 0, 0]
    np.testing.assert_allclose(found[:, 1:3], 1, rtol=0.02)
    imputed[:, 0] += 1e-4  # what was never seen to vary
    np.testing.assert_allclose(
        width(torch.from_numpy(x).float(), torch.zeros(N, 0), imputed)[:, 0], found[:, 0], rtol=0.01
    )


def test_width_stays_in_its_range(types):
    of_type, x, imputed = types
    width, _ = fitted(np.array([1.0, 3.0])[of_type, None] * np.clip(1 + 0.3 * imputed, 0.1, None), imputed, x)
    beyond = width(torch.from_numpy(1e4 * x).float(), torch.zeros(N, 0), 1e4 * imputed)
    assert beyond.min() == RANGE[0] ** 2
    assert beyond.max() == RANGE[1] ** 2


def test_a_shift_between_batches_is_no_difference_between_types(types):
    of_type, x, imputed = types
    batch = np.arange(N) // 2 % 2
    scale = np.array([1.0, 3.0])[of_type, None]
    shift = 5 * batch[:, None] * (x[of_type == 1].mean(axis=0) - x[of_type == 0].mean(axis=0))
    _, expected = fitted(scale, imputed, x)
    _, found = fitted(scale, imputed, x + shift, torch.eye(2)[torch.from_numpy(batch)])
    np.testing.assert_allclose(found, expected, atol=0.1)
