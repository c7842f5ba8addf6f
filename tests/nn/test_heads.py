import numpy as np
import pytest
import torch
from scipy import stats

from couplevi.losses import deviance
from couplevi.nn import HEADS, Head, UnitGaussianHead


@pytest.mark.parametrize("head", [*HEADS.values(), UnitGaussianHead])
def test_all_heads_take_what_a_decoder_gives_and_explain_so_many_features(head):
    own = head(5)
    assert isinstance(own, Head)
    px = own(torch.randn(3, 5 * own.n_parameters), torch.full((3, 1), 50.0))
    assert px.mean.shape == (3, 5)
    assert torch.isfinite(px.log_prob(torch.ones(3, 5))).all()


def test_unit_gaussian_is_the_likelihood_of_squared_errors():
    px = UnitGaussianHead(2)(torch.tensor([[1.0, -2.0]]))
    x = torch.tensor([[0.0, 1.0]])
    torch.testing.assert_close(px.log_prob(x), stats_log_density(x - px.mean))


def stats_log_density(residual):
    return torch.from_numpy(stats.norm.logpdf(residual.numpy()).astype(np.float32))


def test_variance_of_the_gaussian_follows_the_residuals():
    head = HEADS["gaussian"](3)
    x = torch.randn(4000, 3) * torch.tensor([0.1, 1.0, 3.0])
    for _ in range(200):
        head.adapt(x - head(torch.zeros_like(x)).mean)
    np.testing.assert_allclose(head.variance.sqrt(), [0.1, 1.0, 3.0], rtol=0.05)


def test_negative_binomial_has_the_library_and_the_dispersion():
    head = HEADS["nb"](4)
    with torch.no_grad():
        head.log_inverse_dispersion.fill_(np.log(2.0))
    px = head(torch.tensor([[0.0, 1.0, 2.0, 0.5]]), torch.tensor([[100.0]]))
    assert px.mean.sum().item() == pytest.approx(100)
    mu = px.mean[0].detach().numpy()
    counts = np.array([3.0, 10.0, 50.0, 0.0])
    expected = stats.nbinom.logpmf(counts, 2.0, 2.0 / (2.0 + mu))
    np.testing.assert_allclose(
        px.log_prob(torch.tensor(counts, dtype=torch.float32)[None])[0].detach(), expected, rtol=1e-4
    )


def test_zero_inflation_raises_the_probability_of_zero_alone():
    plain, inflated = HEADS["nb"](1), HEADS["zinb"](1)
    library, eta = torch.tensor([[5.0]]), torch.zeros(1, 1)
    p = [plain(eta, library).log_prob(torch.tensor([[v]])).exp().item() for v in (0.0, 3.0)]
    for logit, share in ((0.0, 0.5), (-30.0, 0.0)):
        q = inflated(torch.tensor([[0.0, logit]]), library)
        zero, three = (q.log_prob(torch.tensor([[v]])).exp().item() for v in (0.0, 3.0))
        assert zero == pytest.approx(share + (1 - share) * p[0], rel=1e-4)
        assert three == pytest.approx((1 - share) * p[1], rel=1e-4)


def test_gaussian_profiles_have_the_adapted_variance():
    head = HEADS["gaussian"](3)
    head.variance.copy_(torch.tensor([0.25, 1.0, 9.0]))
    px = head(torch.zeros(1, 3))
    np.testing.assert_allclose(px.stddev, [[0.5, 1.0, 3.0]], rtol=1e-4)


def test_zero_inflated_counts_have_the_library():
    eta = torch.cat([torch.randn(1, 4), torch.full((1, 4), -30.0)], dim=1)
    px = HEADS["zinb"](4)(eta, torch.tensor([[100.0]]))
    assert px.mean.sum().item() == pytest.approx(100, rel=1e-4)


@pytest.mark.parametrize("name", ["nb", "zinb", "poisson"])
def test_decoders_start_from_the_shares_of_the_library(name):
    share = torch.tensor([0.5, 0.3, 0.2, 0.0])
    head = HEADS[name](4)
    outputs = head.outputs(share)
    assert outputs.shape == (4 * head.n_parameters,)
    px = head(outputs.expand(2, -1), torch.tensor([[10.0], [100.0]]))
    mean = px.mu if name == "zinb" else px.mean  # of zero-inflated counts that without further zeros
    torch.testing.assert_close(mean, torch.tensor([[10.0], [100.0]]) * share, rtol=1e-4, atol=1e-4)


def test_few_further_zeros_at_the_start():
    head = HEADS["zinb"](2)
    px = head(head.outputs(torch.tensor([0.4, 0.6]))[None], torch.tensor([[1e6]]))
    assert (px.log_prob(torch.zeros(1, 2)).exp() < 0.05).all()


def test_odds_grow_with_how_many_more_features_were_seen_than_expected():
    head, mean = HEADS["bernoulli"](3), torch.tensor([0.01, 0.2, 0.9])
    eta = head.outputs(mean)
    torch.testing.assert_close(head(eta[None]).mean[0], mean)
    px = head(eta.expand(2, -1), torch.tensor([[1.11], [2.22]]))
    odds = px.mean / (1 - px.mean)
    torch.testing.assert_close(odds, torch.tensor([[1 / 99, 0.25, 9.0], [2 / 99, 0.5, 18.0]]))


@pytest.mark.parametrize("name", ["gaussian", "nb", "poisson", "bernoulli"])
def test_squared_differences_of_stabilised_means_are_deviances(name):
    head = HEADS[name](3).double()
    if name == "nb":
        head.log_inverse_dispersion.data = torch.tensor([2.0, 0.1, -1.0]).double()
    library, eta = torch.full((1, 1), 50.0).double(), torch.tensor([[-3.0, -4.0, -5.0]]).double()
    px, other = (head(eta + step, library) for step in (0.0, torch.tensor([[1e-3, -1e-3, 2e-3]])))
    expected = (head.stabilised(px) - head.stabilised(other)).square().sum(dim=1)
    found = deviance(other, px.mean) - deviance(px, px.mean)
    torch.testing.assert_close(found, expected, rtol=5e-3, atol=0)
