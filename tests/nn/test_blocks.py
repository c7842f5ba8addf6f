import math

import pytest
import torch

from couplevi.nn import Decoder, Encoder, ResidualLayers, UnitGaussianHead
from couplevi.nn._blocks import BatchNorm1d, Dropout

HIDDEN = {"normalization": "layer", "activation": "gelu", "dropout_rate": 0.5}
WHOLE = {**HIDDEN, "dropout_rate": 0.0}


def test_encoder_and_decoder_shapes_and_symmetry_of_widths():
    encoder = Encoder(10, 3, (8, 6), **HIDDEN)
    decoder = Decoder(3, (6, 8), torch.nn.Linear(8, 10), UnitGaussianHead(10), **HIDDEN)
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


@pytest.mark.parametrize("p", [0.1, 0.5, 0.6])
def test_dropout_keeps_its_share_of_entries_one_by_one_and_their_mean(p):
    torch.manual_seed(0)
    out = Dropout(p)(torch.ones(999, 1001))  # not a multiple of what one draw of bits gives
    kept = out != 0
    torch.testing.assert_close(out[kept], torch.full_like(out[kept], 1 / (1 - p)), rtol=1e-4, atol=0)
    assert kept.float().mean().item() == pytest.approx(1 - p, abs=4 * math.sqrt(p * (1 - p) / out.numel()))
    flat = kept.flatten().float()
    for lag in (1, 2, 3, 4, 1001):
        r = torch.corrcoef(torch.stack([flat[:-lag], flat[lag:]]))[0, 1].item()
        assert r == pytest.approx(0, abs=4 / math.sqrt(len(flat)))


def test_gradient_goes_where_dropout_kept_an_entry():
    x = torch.ones(50, 3, requires_grad=True)
    out = Dropout(0.5)(x)
    out.sum().backward()
    torch.testing.assert_close(x.grad, out.detach())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_follows_the_seed_and_keeps_the_type_of_numbers(dtype):
    first, second, other = (
        (torch.manual_seed(seed), Dropout(0.3)(torch.ones(40, 30, dtype=dtype)))[1] for seed in (1, 1, 2)
    )
    assert first.dtype == dtype
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("normalization", ["layer", "batch"])
def test_several_latents_are_decoded_in_one_pass_as_one_by_one(normalization):
    """In training, when batches are normalised by their own statistics, too."""
    decoder = Decoder(3, (6,), torch.nn.Linear(6, 4), UnitGaussianHead(4), **{**WHOLE, "normalization": normalization})
    parts = [(torch.randn(n, 3), None) for n in (5, 8)]
    for found, (z, _) in zip(decoder.each(parts), parts, strict=True):
        torch.testing.assert_close(found.mean, decoder(z).mean)


def test_posterior_scale_is_positive_and_finite_for_extreme_input():
    q = Encoder(2, 3, (8,), **HIDDEN)(torch.tensor([[1e15, -1e15]]))
    assert (q.scale > 0).all()
    assert torch.isfinite(q.scale).all()


@pytest.mark.parametrize("n", [0, 1])
def test_batch_norm_takes_short_batches_and_leaves_its_statistics(n):
    norm = BatchNorm1d(3)
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
    torch.testing.assert_close(BatchNorm1d(3)(x), torch.nn.BatchNorm1d(3)(x))


def test_scale_of_the_latent_is_the_root_of_the_exponential_of_the_log_variance():
    encoder, h = Encoder(5, 3, (8,), **WHOLE), torch.randn(10, 5)
    torch.testing.assert_close(encoder(h).scale.square().log(), encoder.log_variance(encoder.hidden(h)))


def test_log_variance_of_the_latent_stops_at_10():
    encoder = Encoder(5, 2, (8,), **WHOLE)
    torch.nn.init.zeros_(encoder.log_variance.weight)
    for bias, limit in ((50.0, 5.0), (-50.0, -5.0)):
        torch.nn.init.constant_(encoder.log_variance.bias, bias)
        torch.testing.assert_close(encoder(torch.randn(3, 5)).scale, torch.full((3, 2), math.exp(limit)))


def test_prepared_features_are_hidden_from_an_encoder_in_training_alone():
    encoder, h = Encoder(50, 3, (8,), input_dropout_rate=0.5, **WHOLE), torch.randn(10, 50)
    assert not torch.equal(encoder(h).loc, encoder(h).loc)
    encoder.eval()
    assert torch.equal(encoder(h).loc, encoder(h).loc)


def test_covariates_are_read_beside_the_features_and_never_hidden():
    encoder = Encoder(5, 3, (8,), input_dropout_rate=0.99, n_covariates=2, **WHOLE).train()
    h, one, other = torch.zeros(50, 5), torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    means = [encoder(torch.cat([h, c.expand(50, 2)], dim=1)).loc for c in (one, other)]
    for mean in means:
        torch.testing.assert_close(mean, mean[:1].expand(50, 3))
    assert (means[0] - means[1]).abs().max() > 1e-3


def test_residual_layers_are_two_steps_of_which_the_second_is_added():
    torch.manual_seed(0)
    layers = ResidualLayers(5, (4, 3), dropout_rate=0.5)
    x = torch.randn(6, 5)
    layers.train()(x)  # statistics of the normalisation are not those of the start any more
    layers.eval()
    h = x
    for first, (_, norm, second) in zip(layers.first, layers.second, strict=True):
        u = torch.relu(first(h))
        normed = (u - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias
        h = torch.relu(u + normed @ second.weight.T + second.bias)
    torch.testing.assert_close(layers(x), h)
    assert h.shape == (6, 3)
