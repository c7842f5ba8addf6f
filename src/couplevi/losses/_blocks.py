from __future__ import annotations

import torch

BLOCK = 2**17
"""Values that are computed with at a time, 0.5 MB: they stay in the cache."""


def blocks(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Blocks of consecutive rows of a matrix, all of its columns."""
    return x.split(max(1, BLOCK // max(1, x.shape[1])))
