"""Distances along the manifold that the cells of a modality lie on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import dijkstra, reverse_cuthill_mckee
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import PCA
from sklearn.metrics import pairwise_distances_argmin

from couplevi._neighbors import nearest

if TYPE_CHECKING:
    from couplevi._types import FloatArray, IntArray

DETOUR = 2.0
"""Distance between parts of the graph that are not connected, relative to the largest one within a part."""


def neighbor_graph(x: FloatArray, n_neighbors: int) -> sp.csr_array:
    """Symmetric graph of the nearest neighbours with their Euclidean distances, shape ``(n, n)``.

    Cells at the same place are joined by an edge of a tiny length, since a sparse graph has no edges of length 0.
    """
    distance, index = nearest(x, x, min(n_neighbors + 1, len(x)))
    distance = np.maximum(distance, np.finfo(np.float32).tiny)
    row = np.repeat(np.arange(len(x)), index.shape[1])
    keep = row != index.ravel()
    edges = (distance.ravel()[keep], (row[keep], index.ravel()[keep]))
    graph = sp.csr_array(edges, shape=(len(x), len(x)))
    return sp.csr_array(graph.maximum(graph.T))


def geodesic_distances(graph: sp.csr_array, sources: IntArray) -> FloatArray:
    """Length of the shortest path from each source to each cell, shape ``(n_sources, n)``, the largest being 1.

    The graph is symmetric. Cells that no path leads to count as twice as far as the farthest that one leads to. Time
    is ``n_sources * n * (k + log n)``.
    """
    order = reverse_cuthill_mckee(graph, symmetric_mode=True)  # what is near in the graph is near in memory
    place = np.argsort(order)
    # of a symmetric graph directed paths are all there are, and take half the time to find
    distance = dijkstra(graph[order][:, order], indices=place[sources])[:, place]
    reached = np.isfinite(distance)
    distance[~reached] = DETOUR * distance[reached].max(initial=0.0)
    return distance / (distance.max() or 1.0)


def landmarks(x: FloatArray, n: int, seed: int) -> tuple[IntArray, FloatArray]:
    """Cells nearest to the centres of k-means, and the share of all cells that each stands for."""
    if n >= len(x):
        return np.arange(len(x)), np.full(len(x), 1 / len(x))
    means = MiniBatchKMeans(n, batch_size=max(4 * n, 1024), n_init=1, random_state=seed).fit(x)
    chosen = np.unique(pairwise_distances_argmin(means.cluster_centers_, x))
    share = np.bincount(pairwise_distances_argmin(x, x[chosen]), minlength=len(chosen)) / len(x)
    return chosen, share


def geodesic_coordinates(distances: FloatArray, n: int) -> FloatArray:
    """Leading components of the square roots of distances to landmarks, in units of their overall spread.

    Square roots, because modalities agree about what is near and less so about what is far.

    Parameters
    ----------
    distances
        Shape ``(n_landmarks, n_cells)``.
    n
        Largest number of components.
    """
    return leading_coordinates(np.sqrt(distances.T), n)


def leading_coordinates(x: FloatArray, n: int) -> FloatArray:
    """At most `n` principal components, divided by the root mean square over all their values."""
    x = x - x.mean(axis=0)
    n = min(n, *x.shape)
    if n < x.shape[1]:
        x = PCA(n, svd_solver="full" if min(x.shape) <= 2_000 else "covariance_eigh").fit_transform(x)
    return x / (np.sqrt(np.square(x).mean()) or 1.0)
