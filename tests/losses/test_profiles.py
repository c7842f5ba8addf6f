import numpy as np
import pytest
import torch
from scipy import stats
from scvi.distributions import NegativeBinomial, ZeroInflatedNegativeBinomial
from torch.distributions import Bernoulli, Gamma, Normal, Poisson
from torch.distributions import kl_divergence as torch_kl

from couplevi.losses import deviance, kl_divergence, reconstruction


def test_kl_equals_that_of_torch():
    q = Normal(torch.randn(7, 4), torch.rand(7, 4) + 0.1)
    torch.testing.assert_close(kl_divergence(q), torch_kl(q, Normal(0.0, 1.0)).sum(dim=1))


def test_kl_of_the_prior_is_zero():
    torch.testing.assert_close(kl_divergence(Normal(torch.zeros(3, 2), torch.ones(3, 2))), torch.zeros(3))


def test_reconstruction_in_components_equals_the_mean_over_features():
    components = torch.linalg.qr(torch.randn(10, 4)).Q.T  # orthonormal rows
    h, h_hat, rms = torch.randn(6, 4), torch.randn(6, 4), 3.0
    features, features_hat = (rms * x @ components for x in (h, h_hat))
    expected = (features - features_hat).square().mean(dim=1)
    torch.testing.assert_close(reconstruction(Normal(h_hat, 1.0), h, rms**2 / 10), expected)


COUNTS = np.array([[0.0, 1.0, 7.0], [250.0, 0.0, 3.0]])
MEANS = np.array([[0.2, 3.0, 7.0], [90.0, 1e-3, 40.0]])
SHAPE = np.array([0.3, 5.0, 80.0])


def nb(x, mean):
    return stats.nbinom.logpmf(x, SHAPE, SHAPE / (SHAPE + mean))


@pytest.mark.parametrize(
    ("px", "log_prob"),
    [
        (Normal(torch.from_numpy(MEANS), 2.0), lambda x, mean: stats.norm.logpdf(x, mean, 2.0)),
        (Poisson(torch.from_numpy(MEANS)), stats.poisson.logpmf),
        (NegativeBinomial(mu=torch.from_numpy(MEANS), theta=torch.from_numpy(SHAPE)), nb),
    ],
    ids=["gaussian", "poisson", "nb"],
)
def test_deviance_is_twice_what_the_likelihood_lacks_of_that_of_the_counts_themselves(px, log_prob):
    lacks = log_prob(COUNTS, COUNTS) - log_prob(COUNTS, MEANS)
    np.testing.assert_allclose(deviance(px, torch.from_numpy(COUNTS)), 2 * lacks.sum(axis=1), rtol=1e-6)


def test_deviance_of_whether_there_are_counts():
    p, x = torch.tensor([[0.2, 0.9], [0.5, 0.01]]), torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    expected = -2 * stats.bernoulli.logpmf(x, p).sum(axis=1)  # what is certain has a likelihood of 1
    np.testing.assert_allclose(deviance(Bernoulli(p), x), expected, rtol=1e-5)


def test_deviance_with_further_zeros_is_up_to_a_constant_that_of_the_likelihood():
    px = ZeroInflatedNegativeBinomial(
        mu=torch.from_numpy(MEANS), theta=torch.from_numpy(SHAPE), zi_logits=torch.zeros(2, 3).double()
    )
    x = torch.from_numpy(COUNTS)
    torch.testing.assert_close(deviance(px, x), -2 * px.log_prob(x).sum(dim=1))


def test_deviance_is_zero_of_the_counts_themselves_and_its_gradient_points_to_them():
    x = torch.from_numpy(COUNTS) + 1
    for make in (Poisson, lambda mean: NegativeBinomial(mu=mean, theta=torch.from_numpy(SHAPE))):
        assert deviance(make(x), x).abs().max() < 1e-8
        mean = (2 * x).requires_grad_()
        deviance(make(mean), x).sum().backward()
        assert (mean.grad > 0).all()


def test_dispersion_does_not_follow_the_gradient_of_a_deviance():
    shape = torch.from_numpy(SHAPE).requires_grad_()
    mean = torch.from_numpy(MEANS).requires_grad_()
    deviance(NegativeBinomial(mu=mean, theta=shape), torch.from_numpy(COUNTS)).sum().backward()
    assert shape.grad is None


def test_other_distributions_have_no_deviance():
    with pytest.raises(NotImplementedError, match="Gamma"):
        deviance(Gamma(1.0, 1.0), torch.ones(1, 1))
