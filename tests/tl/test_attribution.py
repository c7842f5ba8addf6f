import numpy as np
import pytest
import torch
from torch import nn

from couplevi.nn import HEADS, Derivable, Route, hidden_layers, one_layer
from couplevi.preparation import fit_preparation
from couplevi.tl._attribution import deep, expected_gradients, permutation


def random_route(preparation, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        n = preparation.n_prepared
        network = nn.Sequential(nn.Linear(n, 20), nn.GELU(), nn.LayerNorm(20), nn.Linear(20, 4)).eval()
    return Route(preparation, network.requires_grad_(False), None, np.zeros(4), list("abcd"), np.arange(4), 4)


def numbers(n, n_vars, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, 6)) @ rng.normal(size=(6, n_vars)) + rng.normal(size=(n, n_vars)) + 3).astype(
        np.float32
    )


@pytest.mark.parametrize("n_components", [None, 5])
def test_a_linear_network_has_the_values_of_a_linear_model(n_components):
    x = numbers(50, 12)
    route = random_route(fit_preparation(x, n_components))
    linear = Route(
        route.preparation, nn.Linear(route.preparation.n_prepared, 4), None, np.zeros(4), list("abcd"), np.arange(4), 4
    )
    values = expected_gradients(linear, x[10:], 1)(x[0])
    slope = linear.predict(route.preparation.transform(np.eye(12))) - linear.predict(
        route.preparation.transform(np.zeros((1, 12)))
    )
    np.testing.assert_allclose(values, slope * (x[0] - x[10:].mean(axis=0))[:, None], atol=2e-5)


@pytest.mark.parametrize("n_components", [None, 5])
def test_values_are_those_of_gradients_with_respect_to_the_features(n_components):
    """Integrated by brute force in the space of the features, without any use of the linear preparation."""
    x = numbers(30, 12)
    route = random_route(fit_preparation(x, n_components))
    values = expected_gradients(route, x[10:], 12)(x[0])
    network = route.from_features()
    nodes, weights = np.polynomial.legendre.leggauss(12)
    expected = np.zeros((12, 4))
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        point = torch.from_numpy(x[10:] + np.float32(node) * (x[0] - x[10:])).requires_grad_()
        for k in range(4):
            slope = torch.autograd.grad(network(point)[:, k].sum(), point)[0].numpy()
            expected[:, k] += weight * (slope * (x[0] - x[10:])).mean(axis=0)
    np.testing.assert_allclose(values, expected, atol=1e-4)


def test_work_in_small_pieces_changes_nothing(monkeypatch):
    x = numbers(30, 12)
    route = random_route(fit_preparation(x, 5))
    values = expected_gradients(route, x, 4)(x[0])
    monkeypatch.setattr("couplevi.tl._attribution.MAX_VALUES", 150)
    np.testing.assert_allclose(expected_gradients(route, x, 4)(x[0]), values, atol=1e-5)


class Hidden(Derivable):
    """A hidden layer whose derivatives are known."""

    def __init__(self, n_in, n_out):
        super().__init__()
        self.hidden = hidden_layers(n_in, [20], normalization="layer", activation="gelu", dropout_rate=0.1)
        self.last = nn.Linear(20, n_out)

    def forward(self, x):
        return self.last(self.hidden(x))

    def derivative(self, n_passes):
        return one_layer(self.hidden, self.last, self.hidden[0].in_features, self.last.out_features, n_passes)


@pytest.mark.parametrize("n_components", [None, 5])
@pytest.mark.parametrize("max_values", [2**24, 150, 1])
def test_derivatives_in_closed_form_give_the_values_of_gradients(monkeypatch, n_components, max_values):
    x = numbers(30, 12)
    preparation = fit_preparation(x, n_components)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        known = Hidden(preparation.n_prepared, 7).eval().requires_grad_(False)
    plain = nn.Sequential(*known.hidden, known.last)
    known_route, plain_route = (
        Route(preparation, network, None, np.zeros(7), list("abcdefg"), np.arange(7), 7) for network in (known, plain)
    )
    expected = expected_gradients(plain_route, x[10:], 4)(x[0])
    assert np.abs(expected).max() > 0.01
    monkeypatch.setattr("couplevi.tl._attribution.MAX_VALUES", max_values)
    monkeypatch.setattr("couplevi.tl._attribution._gradients", None)
    np.testing.assert_allclose(expected_gradients(known_route, x[10:], 4)(x[0]), expected, atol=1e-5)


def test_constant_features_get_nothing():
    x = numbers(30, 12)
    x[:, 4] = 2.0
    values = expected_gradients(random_route(fit_preparation(x, 5)), x, 4)(x[0] + 1)
    np.testing.assert_array_equal(values[4], 0)


def weighted_route():
    """A small nonlinear route that DeepLIFT has rules for."""
    x = numbers(25, 5)
    network = nn.Sequential(nn.Linear(5, 8), nn.LeakyReLU(), nn.Linear(8, 3)).requires_grad_(False).eval()
    offset = np.array([1.0, -2.0, 0.5])
    return Route(fit_preparation(x), network, None, offset, list("abc"), np.arange(3), 3), x


@pytest.mark.parametrize(
    "method",
    [
        lambda route, x: expected_gradients(route, x, 64),
        lambda route, x: deep(route, x),
        lambda route, x: permutation(route, x, 0),
    ],
)
def test_values_sum_to_the_difference_from_the_mean_of_the_background(method):
    route, x = weighted_route()
    predicted = route.predict(route.preparation.transform(x))
    profile = x[3]
    values = method(route, x[5:])(profile)
    assert values.shape == (5, 3)
    np.testing.assert_allclose(values.sum(axis=0), predicted[3] - predicted[5:].mean(axis=0), atol=0.02)


def test_exact_values_of_two_features():
    """For a product of two features, worked out by hand: each gets half of what both do together."""

    class Product(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = nn.Parameter(torch.ones(()), requires_grad=False)

        def forward(self, h):
            return self.one * h[:, :1] * h[:, 1:]

    x = np.array([[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]], dtype=np.float32)
    route = Route(fit_preparation(x), Product(), None, np.zeros(1), ["product"], np.arange(1), 1)
    profile = np.array([3.0, 2.0], dtype=np.float32)
    # v({1}) = mean over the background of 3 b = 0, v({2}) = 0, v({1, 2}) = 6, v({}) = 0
    np.testing.assert_allclose(permutation(route, x, 0)(profile)[:, 0], [3, 3], atol=1e-5)
    # the gradient of a product is integrated exactly: 3 * 2 / 2 each, plus cov(b1, b2) terms that are 0 here
    np.testing.assert_allclose(expected_gradients(route, x, 4)(profile)[:, 0], [3, 3], atol=1e-5)


def test_layer_normalisation_has_no_rule():
    x = numbers(10, 4)
    with pytest.raises(ValueError, match='found layer normalisation. Use `method="gradient"`'):
        deep(random_route(fit_preparation(x)), x)


def test_exponentials_of_counts_have_no_rule():
    x = numbers(10, 4)
    head = HEADS["poisson"](3)

    class Counts(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.head = nn.Linear(4, 3).requires_grad_(False), head

        def forward(self, h):
            return self.head(self.layer(h)).mean

    route = Route(fit_preparation(x), Counts(), None, np.zeros(3), list("abc"), np.arange(3), 3)
    with pytest.raises(ValueError, match='found exponentials of a likelihood of counts. Use `method="gradient"`'):
        deep(route, x)
    assert np.isfinite(expected_gradients(route, x, 4)(x[0])).all()


def test_permutations_of_a_seed_leave_numpys_state_alone():
    route, x = weighted_route()
    np.random.seed(5)
    before = np.random.get_state()[1].copy()
    first, again = (permutation(route, x, 1)(x[0]) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(np.random.get_state()[1], before)
