"""How much more counts vary than those of a Poisson distribution."""

from __future__ import annotations

import torch

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
    beyond, square = (x - mean).square() - mean, mean.square()
    a = (beyond.sum() / square.sum().clamp(min=1 / LARGEST)).clamp(1 / LARGEST, LARGEST).expand(x.shape[1])
    for _ in range(N_ROUNDS):
        weight = 0.5 / (mean + a * square).square().clamp(min=1 / LARGEST**2)
        information = (weight * square.square()).sum(dim=0)
        found = (weight * square * beyond).sum(dim=0)
        of_all = (found.sum() / information.sum().clamp(min=1 / LARGEST)).clamp(1 / LARGEST, LARGEST)
        prior = 1 / of_all.square()
        a = ((found + prior * of_all) / (information + prior)).clamp(1 / LARGEST, LARGEST)
    return a
