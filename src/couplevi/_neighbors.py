"""Nearest neighbours, exact up to a size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from sklearn.metrics import pairwise_distances_argmin
from sklearn.neighbors import NearestNeighbors

if TYPE_CHECKING:
    from couplevi._types import FloatArray, IntArray

EXACT_PAIRS = 20_000**2
"""Pairs of a row and a query up to which neighbours are exact; above, all but about one in a hundred are found."""
DOUBLE_PRECISION = 5_000
"""Cells up to which neighbours are found in double precision."""
ROWS_PER_CELL = 300
N_PROBES = 8
"""Cells of the inverted file that are searched around each query."""
N_LLOYD = 5
ROWS_PER_CENTER = 32
"""Rows for each centre that k-means learns from."""


def nearest(x: FloatArray, queries: FloatArray, k: int) -> tuple[FloatArray, IntArray]:
    """Distances and indices of the `k` rows of `x` nearest to each query, shapes ``(n_queries, k)``."""
    if len(x) > DOUBLE_PRECISION:
        x, queries = (values.astype(np.float32) for values in (x, queries))
    if len(x) * len(queries) <= EXACT_PAIRS:
        return NearestNeighbors(n_neighbors=k).fit(x).kneighbors(queries)
    return _nearest_in_cells(x, queries, k)


def _nearest_in_cells(x: FloatArray, queries: FloatArray, k: int) -> tuple[FloatArray, IntArray]:
    """Search of an inverted file: a query is compared with the rows in the cells of the centres nearest to it.

    Queries in one cell share what they are compared with, so that it is all products of matrices. Time is linear in the
    numbers of rows and queries, besides the search for the nearest centres, of which there is one in 300 rows.

    References
    ----------
    Sivic and Zisserman, Video Google: a text retrieval approach to object matching in videos, ICCV 2003.
    """
    centers = _centers(x, max(ROWS_PER_CELL, 2 * k))
    size = np.bincount(pairwise_distances_argmin(x, centers), minlength=len(centers))
    centers = centers[size >= k]  # so that each cell alone has `k` rows
    cells = _groups(pairwise_distances_argmin(x, centers), len(centers))
    finder = NearestNeighbors(n_neighbors=min(N_PROBES, len(centers)), algorithm="brute").fit(centers)
    probes = finder.kneighbors(queries, return_distance=False)
    distance = np.empty((len(queries), k), x.dtype)
    index = np.empty((len(queries), k), np.intp)
    for rows in _groups(probes[:, 0], len(centers)):
        if len(rows):
            searched = np.concatenate([cells[i] for i in np.unique(probes[rows])])
            finder = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(x[searched])
            distance[rows], found = finder.kneighbors(queries[rows])
            index[rows] = searched[found]
    return distance, index


def _centers(x: FloatArray, rows_per_cell: int) -> FloatArray:
    """Centres of k-means, learnt from a part of the rows; fewer than asked for where rows are equal."""
    n = max(1, len(x) // rows_per_cell)
    sample = x[np.random.default_rng(0).permutation(len(x))[: ROWS_PER_CENTER * n]]
    centers = sample[:n]
    for _ in range(N_LLOYD):
        cell = pairwise_distances_argmin(sample, centers)
        members = sp.csr_array((np.ones(len(sample), x.dtype), (cell, np.arange(len(sample)))))
        size = members.sum(axis=1)
        centers = (members @ sample)[size > 0] / size[size > 0, None]
    return centers


def _groups(labels: IntArray, n: int) -> list[IntArray]:
    """Which rows have each label."""
    return np.split(np.argsort(labels, kind="stable"), np.cumsum(np.bincount(labels, minlength=n))[:-1])
