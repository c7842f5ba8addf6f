"""How much more counts vary than those of a Poisson distribution."""

from __future__ import annotations

import torch

from couplevi.losses._blocks import blocks

N_ROUNDS = 5
LARGEST = 1e4
"""Overdispersion at most, and one over it at least."""


def overdispersion(x: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
    """Overdispersion ``a`` of each feature given the means of its counts: ``Var x = mean + a mean^2``, shape ``(n_vars,)``.

    Regression of the squared residuals beyond the mean on the squared mean, each weighted by one over its variance, by
    turns with that variance. A feature that says little of its own, such as one that is hardly ever seen, follows the
    overdispersion of all.

    Parameters
    ----------
    x, mean
        Counts and their means, shape ``(n, n_vars)``.

    References
    ----------
    Breslow, Extra-Poisson variation in log-linear models, Applied Statistics 1984.
    """
    parts = list(zip(blocks(x), blocks(mean), strict=True))
    beyond = sum(((y - m).square() - m).sum() for y, m in parts)
    a = (beyond / mean.square().sum().clamp(min=1 / LARGEST)).clamp(1 / LARGEST, LARGEST).expand(x.shape[1])
    for _ in range(N_ROUNDS):
        information, found = torch.zeros(2, x.shape[1], dtype=x.dtype, device=x.device)
        for y, m in parts:
            square = m.square()
            weighted = square / (m + a * square).square().clamp(min=1 / LARGEST**2)
            information += 0.5 * (weighted * square).sum(dim=0)
            found += 0.5 * weighted.mul_((y - m).square_().sub_(m)).sum(dim=0)
        of_all = (found.sum() / information.sum().clamp(min=1 / LARGEST)).clamp(1 / LARGEST, LARGEST)
        prior = 1 / of_all.square()
        a = ((found + prior * of_all) / (information + prior)).clamp(1 / LARGEST, LARGEST)
    return a
