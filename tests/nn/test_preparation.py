import numpy as np
import pytest
import torch

from couplevi.nn import PreparationBuffers
from couplevi.preparation import fit_preparation


@pytest.mark.parametrize("n_components", [None, 4])
def test_record_survives_the_buffers_and_a_state_dict(n_components):
    x = np.random.default_rng(0).normal(3, 2, (30, 6))
    record = fit_preparation(x, n_components)
    buffers = PreparationBuffers(6, n_components)
    buffers.fill(record)
    other = PreparationBuffers(6, n_components)
    other.load_state_dict(buffers.state_dict())
    assert other.n_prepared == record.n_prepared
    np.testing.assert_array_equal(other.record().transform(x), record.transform(x))
    h = record.transform(x)
    np.testing.assert_array_equal(other.record().inverse(h), record.inverse(h))


def test_buffers_are_not_trained():
    assert not list(PreparationBuffers(3, 2).parameters())
    assert PreparationBuffers(3, 2).error_weight == torch.tensor(1 / 3)
