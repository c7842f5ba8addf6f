"""JAE beside other embeddings of cells of several batches: scores of scIB, and labels of batches that have none.

    python -m benchmarks.runs.embedding --data DIR --set bmmc_cite_2donor --out scores.csv

Prints a table, mean over seeds. `told` is how often 15 nearest neighbours are right about the batch (cross-validated),
lower is better; `accuracy` the share of hidden labels that are predicted right, by 15 nearest neighbours where a method
predicts none.
"""

from __future__ import annotations

import time
from pathlib import Path

import mudata as md
import numpy as np
import pandas as pd
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier

import couplevi as cvi
from benchmarks.methods import EMBEDDINGS, LABELLING
from benchmarks.runs._common import make_parser, markdown, settle
from benchmarks.tasks.labelled import SETS, hide, load_labelled

NEIGHBORS = 15
SCORES = ("nmi", "label_asw", "batch_asw", "graph_connectivity", "cell_cycle", "trajectory", "ilisi", "kbet", "mean4")
NONE = "none"
"""No labels are known."""


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the real data")
    parser.add_argument("--set", default="bmmc_cite_2donor", choices=SETS, help="data set")
    parser.add_argument("--methods", nargs="+", default=list(EMBEDDINGS), choices=EMBEDDINGS)
    parser.add_argument("--labels", action="store_true", help="leave out runs of JAE without labels")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    parser.add_argument("--out", type=Path, help="all scores, CSV")
    options = parser.parse_args()
    settle()
    mdata, groups = load_labelled(options.set, options.data), SETS[options.set].hidden
    rows = []
    for method in options.methods:
        known = groups if method in LABELLING else ()
        for seed in range(options.seeds if method != "SVD" else 1):
            for group in known if options.labels and known else (None, *known):
                rows.append(_run(mdata, method, seed, group, groups))
                print({k: round(v, 3) if isinstance(v, float) else v for k, v in rows[-1].items()}, flush=True)
    frame = pd.DataFrame(rows)
    if options.out is not None:
        frame.to_csv(options.out, index=False)
    mean = frame.drop(columns="seed").groupby(["method", "labels of"], sort=False).mean().round(3).reset_index()
    print("\n".join(markdown(mean.columns, mean.to_numpy())))


def _run(
    mdata: md.MuData, method: str, seed: int, group: tuple[str, ...] | None, groups: tuple[tuple[str, ...], ...]
) -> dict[str, float | str]:
    """Scores of a method that knows all labels but those of a group of batches, or none."""
    hidden = None if group is None else hide(mdata, group)
    start = time.perf_counter()
    z, labels = EMBEDDINGS[method](mdata, seed, None if group is None else "known")
    seconds = time.perf_counter() - start
    of = NONE if hidden is None else "+".join(sorted(set(mdata.obs["batch"][~hidden])))
    row = {"method": method, "labels of": of, "seed": seed, **_scores(mdata, z)}
    for other in groups:
        row[f"accuracy {'+'.join(other)}"] = np.nan
        if other == group or group is None:
            row[f"accuracy {'+'.join(other)}"] = _accuracy(mdata, z, labels, hide(mdata, other))
    return row | {"seconds": seconds}


def _scores(mdata: md.MuData, z: np.ndarray) -> dict[str, float]:
    obs = mdata.obs
    frame = cvi.metrics.joint_embedding(z, obs["label"], obs["batch"], pseudotime=obs["pseudotime"])
    found = frame.set_index("score")["value"].reindex(SCORES).to_dict()
    vote = KNeighborsClassifier(NEIGHBORS)
    return found | {"told": float(cross_val_score(vote, z, obs["batch"], cv=5).mean())}


def _accuracy(mdata: md.MuData, z: np.ndarray, labels: np.ndarray | None, hidden: np.ndarray) -> float:
    truth = mdata.obs["label"].to_numpy()
    if labels is None:
        labels = np.empty_like(truth)
        labels[hidden] = KNeighborsClassifier(NEIGHBORS).fit(z[~hidden], truth[~hidden]).predict(z[hidden])
    return float((labels[hidden] == truth[hidden]).mean())


if __name__ == "__main__":
    main()
