import pytest
import torch
from torch import nn

from couplevi.nn import Derivable, Encoder, chain, hidden_layers, linear, one_layer

HIDDEN = {"normalization": "layer", "activation": "gelu", "dropout_rate": 0.3}


@pytest.fixture
def encoder():
    """An encoder of 6 features and 2 covariates whose normalisation has weights of its own."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = Encoder(6, 5, [16], n_covariates=2, **HIDDEN)
        nn.init.normal_(encoder.hidden[1].weight, 1, 0.5)
        nn.init.normal_(encoder.hidden[1].bias)
        x = 2 * torch.randn(7, 8)
    return encoder.eval().requires_grad_(False), x


def by_gradients(network, x):
    """Derivatives of all outputs by all inputs, row by row."""
    return torch.stack([torch.autograd.functional.jacobian(lambda row: network(row[None])[0], row) for row in x])


@pytest.mark.parametrize(("n_features", "n_out"), [(8, 5), (6, 3)])
@pytest.mark.parametrize("activation", [nn.GELU(), nn.LeakyReLU()])
def test_a_hidden_layer_has_the_derivatives_that_gradients_give(encoder, n_features, n_out, activation):
    encoder, x = encoder
    encoder.hidden[2] = activation
    y, slopes = one_layer(encoder.hidden, encoder.mean, n_features, n_out, 100)(x)
    torch.testing.assert_close(y, encoder(x).loc[:, :n_out])
    expected = by_gradients(lambda row: encoder(row).loc, x)[:, :n_out, :n_features]
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(slopes, expected, rtol=1e-4, atol=1e-5)
    assert not y.requires_grad
    assert not slopes.requires_grad


def test_other_layers_have_none(encoder):
    encoder, _ = encoder
    last = encoder.mean
    assert one_layer(hidden_layers(8, [16, 16], **HIDDEN), last, 8, 5, 100) is None
    assert one_layer(hidden_layers(8, [16], **(HIDDEN | {"normalization": "batch"})), last, 8, 5, 100) is None
    assert one_layer(encoder.hidden, nn.Sequential(last, nn.Linear(5, 5)), 8, 5, 100) is None


def test_there_is_none_where_gradients_are_quicker_or_the_table_is_large(encoder, monkeypatch):
    encoder, _ = encoder
    needed = [one_layer(encoder.hidden, encoder.mean, 8, 5, n) is not None for n in range(1, 6)]
    assert needed == [False, True, True, True, True]  # 8 * 5 products, or 2 * (8 + 5) for each output
    monkeypatch.setattr("couplevi.nn._derivative.MAX_TABLE", 16 * 8 * 5)
    assert one_layer(encoder.hidden, encoder.mean, 8, 5, 100) is not None
    monkeypatch.setattr("couplevi.nn._derivative.MAX_TABLE", 16 * 8 * 5 - 1)
    assert one_layer(encoder.hidden, encoder.mean, 8, 5, 100) is None


class Squared(Derivable):
    """Squares, whose derivatives are known for 3 outputs or more."""

    def forward(self, x):
        return x.square()

    def derivative(self, n_passes):
        return (lambda x: (x.square(), torch.diag_embed(2 * x))) if n_passes >= 3 else None


def test_derivatives_one_after_another_are_multiplied():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        x, first, last = torch.randn(5, 4), linear(torch.randn(4, 3), torch.randn(3)), linear(torch.randn(3, 2))
    network = nn.Sequential(first, nn.Sequential(Squared(), last), Squared())
    y, slopes = chain(network, 3)(x)
    torch.testing.assert_close(y, network(x))
    torch.testing.assert_close(slopes, by_gradients(network, x))
    assert chain(network, 2) is None
    assert chain(nn.Sequential(first, nn.Tanh()), 3) is None


def test_a_linear_layer_has_the_same_derivatives_in_all_rows():
    layer = nn.Linear(3, 2)
    y, slopes = chain(layer, 1)(torch.ones(4, 3))
    assert y.shape == (4, 2)
    torch.testing.assert_close(slopes, layer.weight.detach())
