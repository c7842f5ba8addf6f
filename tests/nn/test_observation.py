import numpy as np
import pytest
import torch

from couplevi.nn import Observation
from couplevi.preparation import fit_preparation, log_normalised, presence


@pytest.fixture
def counts():
    return np.random.default_rng(0).poisson(3.0, (40, 6)).astype(np.float32)


@pytest.mark.parametrize("n_components", [None, 3])
def test_gaussian_explains_prepared_features(counts, n_components):
    observation = Observation(6, n_components)
    record = fit_preparation(counts, n_components)
    observation.preparation.fill(record)
    x = torch.from_numpy(counts)
    assert not observation.is_count
    assert observation.n_explained == observation.n_prepared == record.n_prepared
    assert observation.library(x) is None
    np.testing.assert_allclose(observation.prepare(x), record.transform(counts), atol=1e-5)
    h = torch.randn(5, record.n_prepared)
    np.testing.assert_array_equal(observation.features(h), record.inverse(h.numpy()))


@pytest.mark.parametrize("likelihood", ["nb", "zinb", "poisson"])
def test_counts_are_explained_themselves_and_read_as_logarithms(counts, likelihood):
    observation = Observation(6, 3, likelihood)
    record = fit_preparation(log_normalised(counts), 3)
    observation.preparation.fill(record)
    x = torch.from_numpy(counts)
    assert observation.is_count
    assert (observation.n_prepared, observation.n_explained) == (3, 6)
    np.testing.assert_array_equal(observation.library(x)[:, 0], counts.sum(axis=1))
    np.testing.assert_allclose(observation.prepare(x), record.transform(log_normalised(counts)), atol=1e-4)
    np.testing.assert_array_equal(observation.features(x), counts)


def test_whether_there_are_counts_is_read_and_explained_as_such(counts):
    observation = Observation(6, 3, "bernoulli")
    seen = presence(counts)
    record = fit_preparation(log_normalised(seen), 3)
    observation.preparation.fill(record)
    x = torch.from_numpy(counts)
    assert observation.is_count
    assert observation.is_binary
    np.testing.assert_array_equal(observation.counts(x), seen)
    np.testing.assert_array_equal(observation.library(x)[:, 0], np.maximum(seen.sum(axis=1), 1))
    np.testing.assert_allclose(observation.prepare(x), record.transform(log_normalised(seen)), atol=1e-4)
    np.testing.assert_array_equal(Observation(6, 3, "nb").counts(x), counts)
