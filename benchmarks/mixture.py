"""CplMixVAE beside Leiden and a Gaussian mixture: ``python -m benchmarks.mixture --data FOLDER --task patchseq_motor``.

Trained on four fifths of the cells; consensus is that of the others, adjusted mutual information (AMI) with the labels
that of the cells trained on, with as many clusters for all methods.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import scanpy as sc
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score
from sklearn.mixture import GaussianMixture

import couplevi as cvi
from benchmarks._tasks import load

N_PCS = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--task", default="patchseq_motor")
    parser.add_argument("--modalities", default="rna")
    parser.add_argument("--categories", type=int, default=25)
    parser.add_argument("--arms", type=int, default=2)
    parser.add_argument("--min-consensus", type=float)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    task = load(options.task, options.data, 1.0, 0)
    modalities = options.modalities.split(",")
    several = len(modalities) > 1
    train, test = (part if several else part[modalities[0]].copy() for part in (task.train, task.test))
    truth = task.labels("train")
    for seed in range(options.seeds):
        start = time.perf_counter()
        model = cvi.tl.cplmixvae(
            train,
            n_categories=options.categories,
            modalities=modalities if several else None,
            layers=task.layers if several else task.layers.get(modalities[0]),
            n_arms=options.arms,
            seed=seed,
            train_kwargs={"enable_progress_bar": False, "min_consensus": options.min_consensus},
        )
        found = {"seed": seed, "K": len(model.categories_), "seconds": time.perf_counter() - start}
        found |= scores(model, train, test, truth)
        if several:
            by_modality = [model.predict(test, modality=m) for m in modalities]
            found["ARI between"] = adjusted_rand_score(*by_modality)
        print({name: round(float(value), 3) for name, value in found.items()}, flush=True)


def scores(model: Any, train: Any, test: Any, truth: np.ndarray) -> dict[str, float]:
    labels = train.obs["cplmixvae_category"].astype(str)
    found = {"AMI": adjusted_mutual_info_score(truth, labels)}
    if len(model.modalities_) * model.settings_.n_arms > 1:
        found["consensus"] = np.nanmean(np.diag(model.consensus_matrix(test)))
    part = train if isinstance(train, ad.AnnData) else train[model.modalities_[-1]]
    values = part.layers["log1p"]
    pcs = sc.pp.pca(np.asarray(values.todense(), dtype=np.float32), n_comps=N_PCS, random_state=0)
    n = labels.nunique()
    found["AMI Leiden"] = adjusted_mutual_info_score(truth, leiden(pcs, n))
    mixture = GaussianMixture(n, covariance_type="diag", random_state=0).fit_predict(pcs)
    found["AMI Gaussian mixture"] = adjusted_mutual_info_score(truth, mixture)
    return found


def leiden(pcs: np.ndarray, n_clusters: int) -> np.ndarray:
    """Leiden clusters on the neighbours of scanpy's defaults, of the resolution that gives this number of them."""
    adata = ad.AnnData(pcs)
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


if __name__ == "__main__":
    main()
