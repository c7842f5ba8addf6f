"""Facts that the mutation check (tests/mutation.py) found to be tested nowhere else."""

import math

import numpy as np
import pytest
import torch

from couplevi.nn import CategoryEncoder, Encoder, PreparationBuffers, StateEncoder, likelihood_head
from couplevi.preparation import fit_preparation

HIDDEN = {"normalization": "layer", "activation": "gelu", "dropout_rate": 0.0}
EVERY = torch.ones(4, dtype=torch.bool)


def test_scale_of_the_latent_is_the_root_of_the_exponential_of_the_log_variance():
    encoder, h = Encoder(5, 3, (8,), **HIDDEN), torch.randn(10, 5)
    torch.testing.assert_close(encoder(h).scale.square().log(), encoder.log_variance(encoder.hidden(h)))


def test_log_variance_of_the_latent_stops_at_10():
    encoder = Encoder(5, 2, (8,), **HIDDEN)
    torch.nn.init.zeros_(encoder.log_variance.weight)
    for bias, limit in ((50.0, 5.0), (-50.0, -5.0)):
        torch.nn.init.constant_(encoder.log_variance.bias, bias)
        torch.testing.assert_close(encoder(torch.randn(3, 5)).scale, torch.full((3, 2), math.exp(limit)))


def test_prepared_features_are_hidden_from_an_encoder_in_training_alone():
    encoder, h = Encoder(50, 3, (8,), input_dropout_rate=0.5, **HIDDEN), torch.randn(10, 50)
    assert not torch.equal(encoder(h).loc, encoder(h).loc)
    encoder.eval()
    assert torch.equal(encoder(h).loc, encoder(h).loc)


def test_prepared_features_are_hidden_from_a_category_in_training_alone():
    encoder = CategoryEncoder(50, 16, 4, dropout_rate=0.0, input_dropout_rate=0.5)
    h = torch.randn(10, 50)
    assert not torch.equal(encoder(h, EVERY)[1], encoder(h, EVERY)[1])
    encoder.eval()
    assert torch.equal(encoder(h, EVERY)[1], encoder(h, EVERY)[1])


def test_logits_of_the_nearest_centre_and_of_the_hidden_layer_add_up():
    encoder, h = CategoryEncoder(6, 16, 4, dropout_rate=0.0, input_dropout_rate=0.0), torch.randn(10, 6)
    torch.nn.init.normal_(encoder.logits.weight)
    hidden, logits = encoder(h, EVERY)
    torch.testing.assert_close(hidden, encoder.hidden(h))
    torch.testing.assert_close(logits, encoder.nearest(h) + encoder.logits(hidden))


def test_scale_of_the_state_is_the_root_of_the_exponential_of_the_log_variance():
    state, hidden, one = StateEncoder(16, 3, 2), torch.randn(5, 16), torch.eye(3)[[0, 1, 2, 0, 1]]
    expected = state.log_variance(state.hidden(torch.cat([hidden, one], dim=1)))
    torch.testing.assert_close(state(hidden, one).scale.square().log(), expected)


def test_gaussian_profiles_have_the_adapted_variance():
    head = likelihood_head("gaussian", 3, 2)
    head.variance.copy_(torch.tensor([0.25, 1.0, 9.0]))
    px = head(torch.zeros(1, 3), None, None)
    np.testing.assert_allclose(px.stddev, [[0.5, 1.0, 3.0]], rtol=1e-4)


def test_zero_inflated_counts_have_the_library():
    head = likelihood_head("zinb", 4, 2)
    torch.nn.init.constant_(head.zero_logits, -30.0)
    px = head(torch.randn(1, 4), torch.eye(2)[:1], torch.tensor([[100.0]]))
    assert px.mean.sum().item() == pytest.approx(100, rel=1e-4)


@pytest.mark.parametrize("n_components", [None, 3])
def test_buffers_transform_as_the_record_and_weigh_errors_by_feature(n_components):
    x = np.random.default_rng(0).normal(3, 2, (30, 6)).astype(np.float32)
    x[:, 2] = 1
    record = fit_preparation(x, n_components)
    buffers = PreparationBuffers(6, n_components)
    buffers.fill(record)
    np.testing.assert_allclose(buffers(torch.from_numpy(x)), record.transform(x), atol=1e-4)
    assert buffers.error_weight.item() == pytest.approx(record.rms**2 / 6)
