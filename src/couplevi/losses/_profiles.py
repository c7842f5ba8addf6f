"""Terms of single profiles."""

from __future__ import annotations

from functools import singledispatch

import torch
from scvi.distributions import NegativeBinomial, ZeroInflatedNegativeBinomial
from torch.distributions import Bernoulli, Distribution, Normal, Poisson
from torch.nn.functional import binary_cross_entropy_with_logits

SMALLEST_RATE = 1e-8


def kl_divergence(q: Normal) -> torch.Tensor:
    """Divergence of the posterior from the standard normal prior, in nats per profile, shape ``(n,)``.

    JAMIE paper, section 4: ``-1/2 sum(1 + log sigma^2 - mu^2 - sigma^2)`` over the latent dimensions.
    """
    variance = q.scale**2
    return -0.5 * (1 + variance.log() - q.loc**2 - variance).sum(dim=1)


def reconstruction(px: Distribution, x: torch.Tensor, error_weight: float | torch.Tensor) -> torch.Tensor:
    """Deviance, shape ``(n,)``, as a share of that of a model which knows nothing of a profile.

    Of Gaussians it is the squared error of the mean, and `error_weight` turns the sum over prepared features into a
    mean over the standardised features of the modality; principal components being orthonormal, the two differ by a
    factor only. Of counts the weight is one over the deviance of their mean shares.
    """
    return error_weight * deviance(px, x)


@singledispatch
def deviance(px: Distribution, x: torch.Tensor) -> torch.Tensor:
    """Twice the logarithm of how much likelier a profile is where its means are the profile itself, shape ``(n,)``.

    Summed over features; terms that depend on a dispersion alone are left out, as it does not follow the gradient.

    References
    ----------
    McCullagh and Nelder, Generalized linear models, 1989, section 2.3.
    """
    raise NotImplementedError(type(px).__name__)


@deviance.register
def _(px: Normal, x: torch.Tensor) -> torch.Tensor:
    return ((x - px.mean) / px.scale).square().sum(dim=1)


@deviance.register
def _(px: Poisson, x: torch.Tensor) -> torch.Tensor:
    rate = px.rate.clamp(min=SMALLEST_RATE)
    return 2 * (torch.xlogy(x, x) - x * rate.log() - x + rate).sum(dim=1)


@deviance.register
def _(px: NegativeBinomial, x: torch.Tensor) -> torch.Tensor:
    mean, shape = px.mu.clamp(min=SMALLEST_RATE), px.theta.detach()
    at_best = torch.xlogy(x, x) - (x + shape) * (x + shape).log()
    return 2 * (at_best - x * mean.log() + (x + shape) * (mean + shape).log()).sum(dim=1)


@deviance.register
def _(px: ZeroInflatedNegativeBinomial, x: torch.Tensor) -> torch.Tensor:
    return -2 * px.log_prob(x).sum(dim=1)  # whose largest value has no closed form


@deviance.register
def _(px: Bernoulli, x: torch.Tensor) -> torch.Tensor:
    return 2 * binary_cross_entropy_with_logits(px.logits, x, reduction="none").sum(dim=1)
