from __future__ import annotations

import torch


def weighted_mean(values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Mean of `values`, shape ``(n,)``, by non-negative `weight`; zero, with a gradient, if all weights are zero."""
    total = weight.sum()
    return (values * weight).sum() / (total + (total == 0))
