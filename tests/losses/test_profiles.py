import torch
from torch.distributions import Normal
from torch.distributions import kl_divergence as torch_kl

from couplevi.losses import kl_divergence, reconstruction


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
