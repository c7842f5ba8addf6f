"""Terms of single profiles."""

from __future__ import annotations

from functools import singledispatch
from typing import Any, cast

import torch
from scvi.distributions import NegativeBinomial, ZeroInflatedNegativeBinomial
from torch.distributions import Bernoulli, Distribution, Normal, Poisson
from torch.distributions import NegativeBinomial as TorchNegativeBinomial
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

from couplevi.losses._blocks import blocks

SMALLEST_RATE = 1e-8
SMALLEST_RATIO = 1e-30
"""Of a count to its mean, so that its logarithm is finite."""


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
    return cast("torch.Tensor", _OfNegativeBinomial.apply(px.mu, px.theta.detach(), x))


class _OfNegativeBinomial(torch.autograd.Function):
    """Deviance of negative binomials, in blocks of rows that stay in the cache, which makes it several times as fast."""

    @staticmethod
    def forward(ctx: Any, mean: torch.Tensor, shape: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(mean, shape, x)
        parts = []
        for m, r, y in zip(*(blocks(a) for a in (mean, shape, x)), strict=True):
            more, m = y + r, m.clamp(min=SMALLEST_RATE)
            seen = (y / m).clamp_(min=SMALLEST_RATIO).log_().mul_(y)
            parts.append(2 * seen.sub_((more / (m + r)).log_().mul_(more)).sum(dim=1))
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        mean, shape, x = ctx.saved_tensors
        slope = torch.empty_like(mean)
        for out, m, r, y, g in zip(
            *(blocks(a) for a in (slope, mean, shape, x, gradients[0][:, None].expand_as(x))), strict=True
        ):
            m = m.clamp(min=SMALLEST_RATE)
            torch.div((m - y).mul_(r), (m + r).mul_(m), out=out).mul_(2 * g)
        return slope, None, None


@deviance.register
def _(px: ZeroInflatedNegativeBinomial, x: torch.Tensor) -> torch.Tensor:
    """Minus twice the log-likelihood, whose largest value has no closed form; scvi-tools' own takes whole numbers alone."""
    logits = px.mu.clamp(min=SMALLEST_RATE).log() - px.theta.log()
    counted = logsigmoid(-px.zi_logits) + TorchNegativeBinomial(px.theta, logits=logits, validate_args=False).log_prob(
        x
    )
    log_prob = torch.where(x > 0, counted, torch.logaddexp(logsigmoid(px.zi_logits), counted))
    return -2 * log_prob.sum(dim=1)


@deviance.register
def _(px: Bernoulli, x: torch.Tensor) -> torch.Tensor:
    return 2 * binary_cross_entropy_with_logits(px.logits, x, reduction="none").sum(dim=1)
