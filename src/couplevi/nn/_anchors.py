from __future__ import annotations

import math

import torch
from torch import nn

PSEUDOCOUNT = 0.5
"""Added to counts of anchors, so that what was not seen once is not impossible."""


class Anchors(nn.Module):
    """Counts of some pairs, of which those with similar latents tell what a modality would measure of a profile.

    What is predicted is a mixture of negative binomials: a panel of proteins has modes, such as with and without CD8,
    that one distribution around a mean lacks.

    Parameters
    ----------
    n_anchors
        Number of places; those that are not filled have no weight.
    n_latent, n_vars, n_covariates
        Number of latent dimensions, of features and of covariates.

    References
    ----------
    Bishop, Pattern recognition and machine learning, 2006, section 6.3.1.
    """

    latents: torch.Tensor
    rates: torch.Tensor
    covariates: torch.Tensor
    log_prior: torch.Tensor
    bandwidth: torch.Tensor
    joint_factor: torch.Tensor

    def __init__(self, n_anchors: int, n_latent: int, n_vars: int, n_covariates: int) -> None:
        super().__init__()
        self.register_buffer("latents", torch.zeros(n_anchors, n_latent))
        self.register_buffer("rates", torch.ones(n_anchors, n_vars))
        self.register_buffer("covariates", torch.zeros(n_anchors, n_covariates))
        self.register_buffer("log_prior", torch.full((n_anchors,), -math.inf))
        self.register_buffer("bandwidth", torch.tensor(math.nan))
        self.register_buffer("joint_factor", torch.tensor(1.0))

    @property
    def is_known(self) -> bool:
        """Whether they were filled and their bandwidth chosen."""
        return not bool(self.bandwidth.isnan())

    def fill(self, latents: torch.Tensor, counts: torch.Tensor, covariates: torch.Tensor) -> None:
        """Take these pairs, at most as many as there are places."""
        n, mean = len(latents), counts.mean(dim=0)
        self.latents[:n], self.covariates[:n] = latents, covariates
        self.rates[:n] = (counts + PSEUDOCOUNT) * (mean / (mean + PSEUDOCOUNT))
        self.log_prior[:n], self.log_prior[n:] = 0.0, -math.inf

    def log_weights(self, z: torch.Tensor, bandwidth: torch.Tensor | float) -> torch.Tensor:
        """Logarithm of the weight of each anchor, shape ``(n, n_anchors)``, given latents, ``(n, n_latent)``.

        It falls with the squared distance of latents over a bandwidth.
        """
        nearness = (2 * z @ self.latents.T - self.latents.square().sum(dim=1)) / bandwidth
        return (nearness + self.log_prior).log_softmax(dim=1)
