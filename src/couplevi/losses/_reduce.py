from __future__ import annotations

import torch


def weighted_mean(values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Mean of `values`, shape ``(n,)``, by non-negative `weight`; zero, with a gradient, if all weights are zero."""
    total = weight.sum()
    return (values * weight).sum() / torch.where(total > 0, total, torch.ones_like(total))
