import pytest
import torch

from couplevi.nn import Decoder, Encoder, GaussianHead
from couplevi.nn._blocks import BatchNorm

HIDDEN = {"normalization": "layer", "activation": "gelu", "dropout_rate": 0.5}


def test_encoder_and_decoder_shapes_and_symmetry_of_widths():
    encoder = Encoder(10, 3, (8, 6), **HIDDEN)
    decoder = Decoder(3, (6, 8), GaussianHead(8, 10), **HIDDEN)
    q = encoder(torch.randn(4, 10))
    assert q.loc.shape == q.scale.shape == (4, 3)
    assert decoder(q.loc).mean.shape == (4, 10)
    assert [layer.out_features for layer in encoder.hidden if isinstance(layer, torch.nn.Linear)] == [8, 6]


def test_dropout_acts_in_training_only():
    encoder = Encoder(10, 3, (8,), input_dropout_rate=0.5, **HIDDEN)
    x = torch.randn(4, 10)
    assert not torch.equal(encoder(x).loc, encoder(x).loc)
    encoder.eval()
    assert torch.equal(encoder(x).loc, encoder(x).loc)


def test_posterior_scale_is_positive_and_finite_for_extreme_input():
    q = Encoder(2, 3, (8,), **HIDDEN)(torch.tensor([[1e15, -1e15]]))
    assert (q.scale > 0).all()
    assert torch.isfinite(q.scale).all()


@pytest.mark.parametrize("n", [0, 1])
def test_batch_norm_takes_short_batches_and_leaves_its_statistics(n):
    norm = BatchNorm(3)
    norm(torch.randn(50, 3) + 5)
    before = norm.running_mean.clone()
    norm.train()
    x = torch.randn(n, 3)
    out = norm(x)
    torch.testing.assert_close(norm.running_mean, before)
    norm.eval()
    torch.testing.assert_close(out, norm(x))


def test_batch_norm_equals_that_of_torch_otherwise():
    x = torch.randn(9, 3)
    torch.testing.assert_close(BatchNorm(3)(x), torch.nn.BatchNorm1d(3)(x))
