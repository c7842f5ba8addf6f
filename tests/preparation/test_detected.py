import numpy as np
import pytest
import scipy.sparse as sp

from couplevi.preparation import _rows, log_detected


@pytest.mark.parametrize("form", [np.asarray, sp.csr_array])
def test_the_share_of_features_that_are_not_zero(monkeypatch, form):
    monkeypatch.setattr(_rows, "CHUNK_VALUES", 8)  # two rows at a time
    x = form(np.array([[0, 1, 2, 0], [3, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0.0], [0, 2, -1, 5]]))
    np.testing.assert_allclose(log_detected(x), np.log([2 / 4, 1 / 4, 1, 1 / 4, 3 / 4]))
    counted = np.array([True, False, True, True])
    np.testing.assert_allclose(log_detected(x, counted), np.log([1 / 3, 1 / 3, 1, 1 / 3, 2 / 3]))


def test_values_without_zeros_tell_nothing():
    assert (log_detected(np.random.default_rng(0).normal(size=(10, 5))) == 0).all()
