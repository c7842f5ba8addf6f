"""CplMixVAE beside other clusterings.

    python -m benchmarks.runs.mixture --data DIR --task patchseq_motor

Trained on four fifths of the cells; consensus is that of the others, adjusted mutual information (AMI) with the labels
that of the cells trained on, with as many clusters for all methods.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import scanpy as sc
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score

import couplevi as cvi
from benchmarks.methods import CLUSTERINGS
from benchmarks.runs._common import make_parser, settle
from benchmarks.tasks.coupled import load

N_PCS = 50


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the real data")
    parser.add_argument("--task", default="patchseq_motor", help="data set")
    parser.add_argument("--modalities", default="rna", help="one, or several with commas between them")
    parser.add_argument("--categories", type=int, default=25, help="number that training starts with")
    parser.add_argument("--arms", type=int, default=2)
    parser.add_argument("--min-consensus", type=float)
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    options = parser.parse_args()
    settle()
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
        found |= _scores(model, train, test, truth)
        if several:
            by_modality = [model.predict(test, modality=m) for m in modalities]
            found["ARI between"] = adjusted_rand_score(*by_modality)
        print({name: round(float(value), 3) for name, value in found.items()}, flush=True)


def _scores(model: cvi.model.CplMixVAE, train: Any, test: Any, truth: np.ndarray) -> dict[str, float]:
    labels = train.obs["cplmixvae_category"].astype(str)
    found = {"AMI": adjusted_mutual_info_score(truth, labels)}
    if len(model.modalities_) * model.settings_.n_arms > 1:
        found["consensus"] = np.nanmean(np.diag(model.consensus_matrix(test)))
    part = train if isinstance(train, ad.AnnData) else train[model.modalities_[-1]]
    values = np.asarray(part.layers["log1p"].todense(), dtype=np.float32)
    pcs = sc.pp.pca(values, n_comps=N_PCS, random_state=0)
    for name, cluster in CLUSTERINGS.items():
        found[f"AMI {name}"] = adjusted_mutual_info_score(truth, cluster(pcs, labels.nunique()))
    return found


if __name__ == "__main__":
    main()
