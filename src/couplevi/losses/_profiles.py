"""Terms of single profiles."""

from __future__ import annotations

import torch
from torch.distributions import Distribution, Normal


def kl_divergence(q: Normal) -> torch.Tensor:
    """Divergence of the posterior from the standard normal prior, in nats per profile, shape ``(n,)``.

    JAMIE paper, section 4: ``-1/2 sum(1 + log sigma^2 - mu^2 - sigma^2)`` over the latent dimensions.
    """
    variance = q.scale**2
    return -0.5 * (1 + variance.log() - q.loc**2 - variance).sum(dim=1)


def reconstruction(px: Distribution, h: torch.Tensor, error_weight: float | torch.Tensor) -> torch.Tensor:
    """Squared error of the mean, shape ``(n,)``, as a mean over the standardised features of the modality.

    `error_weight` turns the sum over prepared features into that mean; principal components being orthonormal, the
    two differ by a factor only.
    """
    return error_weight * (h - px.mean).square().sum(dim=1)
