"""Distances between two posteriors of the same category, which pull coupled arms towards one partition."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch

LOG_FLOOR = 1e-6
"""Added to probabilities before their logarithm is taken, so that a category that one arm excludes stays finite."""
VARIANCE_FLOOR = 1e-4
"""Added to the variance of a category in the batch: one that nobody uses would dominate the distance."""


def euclidean_distance(q_a: torch.Tensor, q_b: torch.Tensor) -> torch.Tensor:
    """Squared Euclidean distance of two sets of probabilities, shape ``(n,)``, in [0, 2]."""
    return (q_a - q_b).square().sum(dim=1)


def aitchison_distance(q_a: torch.Tensor, q_b: torch.Tensor) -> torch.Tensor:
    """Squared Aitchison distance, mean over categories, shape ``(n,)``: the distance of centred log-ratios.

    References
    ----------
    Aitchison, The statistical analysis of compositional data, 1982.
    """
    log_ratio = (q_a + LOG_FLOOR).log() - (q_b + LOG_FLOOR).log()
    return (log_ratio - log_ratio.mean(dim=1, keepdim=True)).square().mean(dim=1)


def minimum_variance_distance(q_a: torch.Tensor, q_b: torch.Tensor) -> torch.Tensor:
    """Squared distance of log-probabilities over their standard deviations in the batch, mean over categories, ``(n,)``.

    The standard deviations are those of the probabilities of each category and arm. Categories that are seldom used
    weigh more, which keeps them from dying out (Marghi, Gala and Sumbul 2020, minimum-variance coupling).
    """
    scaled = [(q + LOG_FLOOR).log() / (q.var(dim=0, correction=0) + VARIANCE_FLOOR).sqrt() for q in (q_a, q_b)]
    return (scaled[0] - scaled[1]).square().mean(dim=1)


CONSENSUS_DISTANCES: Mapping[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = MappingProxyType(
    {
        "euclidean": euclidean_distance,
        "aitchison": aitchison_distance,
        "minimum_variance": minimum_variance_distance,
    }
)
"""Each takes the posteriors of two arms, shapes ``(n, n_categories)``, and gives a distance per profile."""
