import numpy as np
import pytest

from couplevi.gaussians import Gaussian, conditional_shift


def test_shift_is_that_of_the_whole_covariance(states, full):
    [state] = states(1)
    given, values, sigma = np.array([4, 1]), np.array([1.0, -2.0]), full(state)
    shift = sigma[:, given] @ np.linalg.solve(sigma[np.ix_(given, given)], values)
    np.testing.assert_allclose(conditional_shift(state, given, values), shift, rtol=1e-6, atol=1e-8)


def test_one_variable_shifts_others_by_its_regression_and_keeps_its_value(states, full):
    [state] = states(1)
    shift, sigma = conditional_shift(state, np.array([-1]), np.array([-1.5])), full(state)
    np.testing.assert_allclose(shift, -1.5 * sigma[:, 6] / sigma[6, 6], rtol=1e-6)
    assert shift[6] == -1.5


def test_a_mask_and_positions_are_the_same(states):
    [state] = states(1)
    mask = np.arange(7) == 3
    found = [conditional_shift(state, given, np.array([2.0])) for given in (mask, np.array([3]))]
    np.testing.assert_array_equal(*found)


def test_a_variable_without_variance_shifts_none_but_itself():
    state = Gaussian(np.zeros(3), np.eye(3)[:, :2], np.diag([1.0, 0.0]), np.zeros(3), 1.0)
    np.testing.assert_array_equal(conditional_shift(state, np.array([1]), np.array([5.0])), [0, 5, 0])
    np.testing.assert_allclose(conditional_shift(state, np.array([1, 0]), np.array([5.0, 2.0])), [2, 5, 0])


def test_two_variables_that_are_the_same_can_be_given():
    basis = np.array([[1.0], [1.0], [1.0]]) / np.sqrt(3)
    state = Gaussian(np.zeros(3), basis, np.array([[3.0]]), np.zeros(3), 1.0)
    np.testing.assert_allclose(conditional_shift(state, np.array([0, 1]), np.array([2.0, 2.0])), 2, rtol=1e-6)


def test_shift_does_not_depend_on_the_units_of_a_variable():
    unit = np.array([1e4, 1.0])
    shifts = []
    for scale in (np.ones(2), unit):
        covariance = np.array([[2.0, 0.6], [0.6, 1.0]]) * np.outer(scale, scale)
        state = Gaussian(np.zeros(2), np.eye(2), covariance, np.zeros(2), 0.0)
        shifts.append(conditional_shift(state, np.array([1]), scale[1:]) / scale)
    np.testing.assert_allclose(*shifts)


@pytest.mark.parametrize(
    ("indices", "values", "message"),
    [
        ([0, 1], [1.0], r"a value for each of 2 given variables, found shape \(1,\)"),
        ([0, -7], [1.0, 2.0], "each variable in `indices` once"),
        ([0], [np.nan], "finite values in `values`"),
    ],
)
def test_what_cannot_be_given_is_refused(states, indices, values, message):
    [state] = states(1)
    with pytest.raises(ValueError, match=message):
        conditional_shift(state, np.array(indices), np.array(values))
    with pytest.raises(IndexError, match="`indices` below 7, the number of variables"):
        conditional_shift(state, np.array([7]), np.array([1.0]))
