"""Clusterings of prepared values into a given number of clusters."""

from __future__ import annotations

from collections.abc import Callable

import anndata as ad
import numpy as np
import scanpy as sc
from sklearn.mixture import GaussianMixture


def leiden(values: np.ndarray, n_clusters: int) -> np.ndarray:
    """Leiden clusters on the neighbours of scanpy's defaults, of the resolution that gives this number of them."""
    adata = ad.AnnData(values)
    sc.pp.neighbors(adata, use_rep="X", random_state=0)
    low, high = 0.005, 8.0
    for _ in range(30):
        resolution = (low * high) ** 0.5
        sc.tl.leiden(adata, resolution=resolution, flavor="igraph", n_iterations=2, directed=False, random_state=0)
        n = adata.obs["leiden"].nunique()
        if n == n_clusters:
            break
        low, high = (resolution, high) if n < n_clusters else (low, resolution)
    return adata.obs["leiden"].to_numpy()


def gaussian_mixture(values: np.ndarray, n_clusters: int) -> np.ndarray:
    return GaussianMixture(n_clusters, covariance_type="diag", random_state=0).fit_predict(values)


CLUSTERINGS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "Leiden": leiden,
    "Gaussian mixture": gaussian_mixture,
}
