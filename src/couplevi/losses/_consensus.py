"""Coordinates of category posteriors, whose distances pull coupled arms towards one partition."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch

LOG_FLOOR = 1e-6
"""Added to probabilities before their logarithm is taken, so that a category that one arm excludes stays finite."""
VARIANCE_FLOOR = 1e-4
"""Added to the variance of a category in the batch: one that nobody uses would dominate the distance."""


def euclidean_coordinates(q: torch.Tensor) -> torch.Tensor:
    """The probabilities themselves, shape ``(n, n_categories)``: squared distances lie in [0, 2]."""
    return q


def aitchison_coordinates(q: torch.Tensor) -> torch.Tensor:
    """Centred log-ratios, scaled so that squared distances are means over categories, shape ``(n, n_categories)``.

    References
    ----------
    Aitchison, The statistical analysis of compositional data, 1982.
    """
    log_q = (q + LOG_FLOOR).log()
    return (log_q - log_q.mean(dim=1, keepdim=True)) / math.sqrt(q.shape[1])


def minimum_variance_coordinates(q: torch.Tensor) -> torch.Tensor:
    """Log-probabilities over the standard deviation of each category's probability in the batch, scaled likewise.

    Categories that are seldom used weigh more, which keeps them from dying out (Marghi, Gala and Sumbul 2020,
    minimum-variance coupling).
    """
    spread = (q.var(dim=0, correction=0) + VARIANCE_FLOOR).sqrt()
    return (q + LOG_FLOOR).log() / spread / math.sqrt(q.shape[1])


CONSENSUS_COORDINATES: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = MappingProxyType(
    {
        "euclidean": euclidean_coordinates,
        "aitchison": aitchison_coordinates,
        "minimum_variance": minimum_variance_coordinates,
    }
)
"""Each takes the posteriors of one arm for a batch, shape ``(n, n_categories)``, and gives coordinates of that shape."""


def consensus_distance(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Squared distance between the coordinates of two arms for the same cells, shape ``(n,)``."""
    return (a - b).square().sum(dim=1)
