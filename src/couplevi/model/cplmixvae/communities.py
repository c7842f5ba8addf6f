"""Categories to start from: communities of a graph of neighbours, merged as long as they are tied to each other."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from scipy.spatial.distance import cdist

from couplevi._neighbors import nearest

if TYPE_CHECKING:
    from couplevi._types import FloatArray, IntArray

N_NEIGHBORS = 15
N_COMMUNITIES, PROFILES_PER_COMMUNITY = 40, 10
"""Communities that are merged: at least so many and twice as many as are wanted, but none for fewer profiles."""
N_ITERATIONS = 5


def communities(x: FloatArray, n_most: int, n_fewest: int, max_connectivity: float, seed: int) -> IntArray:
    """Communities of profiles, the two most connected ones merged until all are separate.

    Leiden communities of a high resolution cut types into pieces. A resolution that leaves large types whole merges
    small ones; pieces are rather told by how much of the ties of the smaller of two lead to the other one, which does
    not depend on how large they are.

    Parameters
    ----------
    x
        Features, shape ``(n, n_features)``.
    n_most, n_fewest
        Largest and smallest number of communities; there are `n_most` of data with enough profiles if both are the
        same.
    max_connectivity
        Largest share of the ties of a community that lead to another one.
    seed
        Of the random numbers of the Leiden algorithm.

    Returns
    -------
    Labels from 0, all in use, shape ``(n,)``.

    References
    ----------
    Traag, Waltman and van Eck, From Louvain to Leiden: guaranteeing well-connected communities, Scientific Reports
    2019; Wolf et al., PAGA: graph abstraction reconciles clustering with trajectory inference, Genome Biology 2019.
    """
    ties = shared_neighbors(x, N_NEIGHBORS)
    n_wanted = min(max(N_COMMUNITIES, 2 * n_most), max(n_most, len(x) // PROFILES_PER_COMMUNITY))
    return merged(ties, x, _leiden(ties, n_wanted, seed), n_most, n_fewest, max_connectivity)


def shared_neighbors(x: FloatArray, n_neighbors: int) -> sp.csr_array:
    """Symmetric graph in which each profile and a nearest neighbour are tied by the neighbours they share.

    Weights are Jaccard indices of the two sets of neighbours, in (0, 1]; without any in common there is no tie.
    """
    k = min(n_neighbors, len(x) - 1)
    index = nearest(x, x, k + 1)[1]
    row = np.repeat(np.arange(len(x)), k + 1)
    near = sp.csr_array((np.ones(index.size), (row, index.ravel())), shape=(len(x), len(x)))
    near.setdiag(0)  # of equal profiles not each is its own nearest one
    near.eliminate_zeros()
    common = sp.csr_array(near.maximum(near.T) * (near @ near.T))
    size = near.sum(axis=1)
    row = np.repeat(np.arange(len(x)), np.diff(common.indptr))
    common.data /= size[row] + size[common.indices] - common.data
    return common


def merged(
    ties: sp.csr_array, x: FloatArray, labels: IntArray, n_most: int, n_fewest: int, max_connectivity: float
) -> IntArray:
    """Labels of communities after the two most connected ones were merged, again and again, see :func:`communities`.

    Connectivity is the weight of the ties between two, over that of all ties of the one that has fewer. If there are
    none between any, those with the nearest centres are merged.
    """
    n = labels.max() + 1
    one = sp.csr_array((np.ones(len(labels)), (labels, np.arange(len(labels)))), shape=(n, len(labels)))
    between, size = (one @ ties @ one.T).toarray(), one.sum(axis=1)
    total = one @ x
    label_of = np.arange(n)
    while len(size) > n_fewest:
        strength = between.sum(axis=1)
        of_fewer = np.minimum(strength[:, None], strength)
        share = np.divide(between, of_fewer, out=np.zeros_like(between), where=of_fewer > 0)
        np.fill_diagonal(share, -np.inf)
        if share.max() < max_connectivity and len(size) <= n_most:
            break
        if share.max() <= 0:
            centres = total / size[:, None]
            share = -cdist(centres, centres)
            np.fill_diagonal(share, -np.inf)
        kept, gone = sorted(np.unravel_index(share.argmax(), share.shape))
        for values in (between, total, size):
            values[kept] += values[gone]
        between[:, kept] += between[:, gone]
        between = np.delete(np.delete(between, gone, axis=0), gone, axis=1)
        total, size = np.delete(total, gone, axis=0), np.delete(size, gone)
        label_of[label_of == gone] = kept
        label_of[label_of > gone] -= 1
    return label_of[labels]


def _leiden(ties: sp.csr_array, n_wanted: int, seed: int) -> IntArray:
    """Leiden communities, `n_wanted` or more, as the resolution doubles until there are so many."""
    import scanpy as sc
    from anndata import AnnData

    if not ties.nnz:
        return np.arange(ties.shape[0])
    adata, resolution = AnnData(obs={"profile": np.arange(ties.shape[0]).astype(str)}), 1.0
    while True:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            sc.tl.leiden(
                adata,
                resolution,
                adjacency=ties,
                flavor="igraph",
                directed=False,
                n_iterations=N_ITERATIONS,
                random_state=seed,
            )
        labels = adata.obs["leiden"].cat.codes.to_numpy().astype(np.int64)
        if labels.max() + 1 >= n_wanted:
            return labels
        resolution *= 2
