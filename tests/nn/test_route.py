import numpy as np
import pytest
import torch
from torch import nn

from couplevi.nn import Derivable, Encoder, Mean, Route, chain, frozen_copy, linear
from couplevi.preparation import fit_preparation


@pytest.fixture
def x():
    rng = np.random.default_rng(0)
    return (rng.normal(size=(30, 7)) @ rng.normal(size=(7, 7)) + 5).astype(np.float32)


def route_of(x, n_components, mix=True):
    """A route through a random network to three outputs, or to the four that the network gives."""
    preparation = fit_preparation(x, n_components)
    network = nn.Sequential(nn.Linear(preparation.n_prepared, 6), nn.Tanh(), nn.Linear(6, 4)).requires_grad_(False)
    rng = np.random.default_rng(1)
    n = 3 if mix else 4
    matrix = rng.normal(size=(4, 3)).astype(np.float32) if mix else None
    return Route(preparation, network, matrix, rng.normal(size=n), list("abcd"[:n]), np.arange(n), n)


@pytest.mark.parametrize("mix", [True, False])
@pytest.mark.parametrize("n_components", [None, 3])
def test_outputs_are_those_of_the_network_mixed_and_shifted(x, n_components, mix):
    route = route_of(x, n_components, mix)
    h = route.preparation.transform(x)
    inner = route.network(torch.from_numpy(h)).numpy()
    expected = (inner @ route.mix if mix else inner) + route.offset
    np.testing.assert_allclose(route.predict(h), expected, rtol=1e-5)
    np.testing.assert_allclose(route.predict(h, np.array([2, 0])), expected[:, [2, 0]], rtol=1e-5)
    np.testing.assert_allclose(route.outputs(inner) + route.offset, expected, rtol=1e-5)  # attributions have no offset


@pytest.mark.parametrize("mix", [True, False])
@pytest.mark.parametrize("n_components", [None, 3])
def test_the_whole_route_is_one_network(x, n_components, mix):
    route = route_of(x, n_components, mix)
    expected = route.predict(route.preparation.transform(x))
    np.testing.assert_allclose(route.from_features()(torch.from_numpy(x)), expected, rtol=1e-3, atol=1e-4)


def test_a_further_readout_chooses_among_its_outputs(x):
    route = route_of(x, None, mix=False)
    readout = nn.Linear(4, 3).requires_grad_(False)
    further = route.then(readout, ["p", "q", "r"], np.array([2, 0]))
    h = route.preparation.transform(x)
    np.testing.assert_allclose(further.predict(h), readout(route.network(torch.from_numpy(h)))[:, [2, 0]], rtol=1e-4)
    assert (further.names, further.columns.tolist(), further.n_possible) == (["r", "p"], [2, 0], 3)
    assert not further.network.training
    assert further.preparation is route.preparation


def test_a_linear_layer_multiplies_from_the_right():
    layer = linear(np.array([[1.0, 2.0], [0.0, 1.0], [5.0, 0.0]]), np.array([0.5, -1.0]))
    assert layer(torch.tensor([[1.0, 2.0, 3.0]])).tolist() == [[16.5, 3.0]]
    assert not any(p.requires_grad for p in layer.parameters())
    assert linear(np.eye(2)).bias is None


def test_a_frozen_copy_is_another_module():
    module = nn.Linear(2, 2)
    copy = frozen_copy(module)
    assert not any(p.requires_grad for p in copy.parameters())
    assert all(p.requires_grad for p in module.parameters())
    copy.weight.zero_()
    assert module.weight.abs().min() > 0


def test_the_mean_of_a_distribution_has_a_gradient():
    encoder = Encoder(3, 2, [4], normalization="layer", activation="gelu", dropout_rate=0.0)
    h = torch.randn(5, 3, requires_grad=True)
    mean = Mean(encoder)(h)
    torch.testing.assert_close(mean, encoder(h).loc)
    assert torch.autograd.grad(mean.sum(), h)[0].abs().min() > 0


def test_given_covariates_the_network_reads_features_alone():
    network = torch.nn.Linear(5, 2).eval().requires_grad_(False)
    preparation = fit_preparation(np.random.default_rng(0).normal(size=(20, 3)))
    route = Route(preparation, network, None, np.zeros(2), ["a", "b"], np.arange(2), 2, n_covariates=2)
    h, c = np.ones((4, 3), dtype=np.float32), np.array([1.0, -2.0], dtype=np.float32)
    together = route.predict(np.hstack([h, np.tile(c, (4, 1))]))
    given = route.given(c)
    assert given.n_covariates == 0
    np.testing.assert_allclose(given.predict(h), together)
    assert given.given(c) is given


def test_given_covariates_derivatives_are_those_by_features():
    class Products(Derivable):
        """Products of three features and a covariate."""

        def forward(self, x):
            return x[:, :3] * x[:, 3:]

        def derivative(self, n_passes):
            return lambda x: (self(x), torch.diag_embed(x[:, 3:].expand(-1, 3)))

    preparation = fit_preparation(np.random.default_rng(0).normal(size=(20, 3)))
    layers = [nn.Sequential(Products(), linear(np.eye(3))), nn.Sequential(nn.Tanh(), linear(np.eye(4)))]
    known, unknown = (
        Route(preparation, network, None, np.zeros(3), list("abc"), np.arange(3), 3, n_covariates=1).given([5.0])
        for network in layers
    )
    y, slopes = chain(known.network, 3)(torch.ones(2, 3))
    assert y.tolist() == [[5.0, 5.0, 5.0]] * 2
    torch.testing.assert_close(slopes, 5 * torch.eye(3).expand(2, 3, 3))
    assert chain(unknown.network, 3) is None
