"""Two modalities of the same cells for the correspondence solvers, of any size."""

from __future__ import annotations

import numpy as np


def branches(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Branch of each of `n` cells, and the cells in two modalities, shapes ``(n, 30)`` and ``(n, 20)``.

    They lie on three branches, seen through two random maps with noise.
    """
    rng = np.random.default_rng(0)
    branch = rng.choice(3, n, p=[0.5, 0.3, 0.2])
    time_on_branch = rng.random(n)
    planted = np.column_stack([np.eye(3)[branch] * time_on_branch[:, None] * [4, 3, 2], rng.normal(0, 0.2, n)])
    maps = [np.tanh(planted @ rng.normal(size=(4, d))) + 0.1 * rng.normal(size=(n, d)) for d in (30, 20)]
    return branch, maps[0], maps[1]
