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


@pytest.mark.parametrize("n_components", [None, 3])
def test_buffers_transform_as_the_record_and_weigh_errors_by_feature(n_components):
    x = np.random.default_rng(0).normal(3, 2, (30, 6)).astype(np.float32)
    x[:, 2] = 1
    record = fit_preparation(x, n_components)
    buffers = PreparationBuffers(6, n_components)
    buffers.fill(record)
    np.testing.assert_allclose(buffers(torch.from_numpy(x)), record.transform(x), atol=1e-4)
    assert buffers.error_weight.item() == pytest.approx(record.rms**2 / 6)
