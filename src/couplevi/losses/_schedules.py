"""Weights that change during training."""

from __future__ import annotations

import math
from typing import Literal


def annealing(progress: float, warmup: float, shape: Literal["linear", "sigmoid"] = "linear") -> float:
    """Weight that rises from 0 to 1 while `progress`, in [0, 1], goes from 0 to `warmup`, and stays 1.

    ``"sigmoid"`` is the logistic curve of the JAMIE paper, centred on half of the warm-up and cut to reach 0 and 1.
    """
    if progress >= warmup:
        return 1.0
    share = progress / warmup
    if shape == "linear":
        return share
    low, high = (1 / (1 + math.exp(-10 * (s - 0.5))) for s in (0.0, 1.0))
    return (1 / (1 + math.exp(-10 * (share - 0.5))) - low) / (high - low)


def one_cycle(progress: float, rise: float = 0.3) -> float:
    """Learning rate relative to its peak: cosine rise from 1/25 over the first `rise` of training, cosine decay to 0.

    `progress` is in [0, 1].

    References
    ----------
    Smith and Topin, Super-convergence: very fast training of neural networks using large learning rates, 2019.
    """
    if progress < rise:
        return 1 - (1 - 1 / 25) * (1 + math.cos(math.pi * progress / rise)) / 2
    return (1 + math.cos(math.pi * min(1.0, (progress - rise) / (1 - rise)))) / 2
