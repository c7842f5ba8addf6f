"""Nearest neighbours, exact up to a size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.neighbors import NearestNeighbors

if TYPE_CHECKING:
    from couplevi._types import FloatArray, IntArray

EXACT_NEIGHBORS = 100_000
"""Cells up to which neighbours are exact; above, NN-descent finds them, all but a few per cent."""
DOUBLE_PRECISION = 5_000
"""Cells up to which neighbours are found in double precision."""


def nearest(x: FloatArray, queries: FloatArray, k: int) -> tuple[FloatArray, IntArray]:
    """Distances and indices of the `k` rows of `x` nearest to each query, shapes ``(n_queries, k)``."""
    if len(x) > DOUBLE_PRECISION:
        x, queries = (values.astype(np.float32) for values in (x, queries))
    if len(x) <= EXACT_NEIGHBORS:
        return NearestNeighbors(n_neighbors=k).fit(x).kneighbors(queries)
    from pynndescent import NNDescent  # compiles on import

    neighbors, distance = NNDescent(x, n_neighbors=max(k, 15), random_state=0).query(queries, k=k)
    return distance, neighbors
