"""Alignment and imputation of couplevi and of every baseline, on the same splits and preparation.

    python -m benchmarks.runs.quality --data DIR --out results.csv

One row per data set, share of known pairs, method and seed; a row is written as soon as it is there, and rows that
the file already holds are not computed again. The 20 % held-out cells are never seen in training. All methods read up
to 50 components of each modality. Targets of more than 2,000 features are scored on the most variable 2,000. Seconds are
those of the processor.
"""

from __future__ import annotations

import csv
import time
from itertools import product
from pathlib import Path

import numpy as np

import couplevi as cvi
from benchmarks.methods import METHODS, Result
from benchmarks.runs._common import in_copy, make_parser, peak, settle
from benchmarks.tasks.coupled import REAL, SIMULATIONS, Task, load

AGAINST = ("5-NN", "ridge")
KEYS = ("data", "known", "method", "seed")
ALIGNMENT = ("in_sample_lta", "in_sample_foscttm", "hidden_foscttm", "held_out_lta", "held_out_foscttm")
IMPUTATION = ("n_features", "r", "r_median", "relative_rmse", "auroc", "jensen_shannon")
COMPARISON = tuple(f"{what}_{name}" for name in AGAINST for what in ("wins_against", "p_against"))
COLUMNS = (
    *KEYS,
    "n_held_out",
    *ALIGNMENT,
    *(f"{direction}_{c}" for direction in ("forward", "backward") for c in (*IMPUTATION, *COMPARISON)),
    "seconds",
    "peak_gb",
)


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--data", type=Path, help="folder of the real data; without it the simulations alone")
    parser.add_argument("--out", type=Path, required=True, help="csv file, added to")
    parser.add_argument("--sets", nargs="+", help="data sets")
    parser.add_argument("--known", nargs="+", type=float, default=[1.0, 0.75, 0.5, 0.25, 0.1], help="shares of pairs")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS), metavar="METHOD")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds, of models and of the known pairs")
    arguments = parser.parse_args()
    settle(n_threads=1)
    names = arguments.sets or [*SIMULATIONS, *(REAL if arguments.data else ())]
    done = _done(arguments.out)
    for name, known, seed in product(names, arguments.known, range(arguments.seeds)):
        task = load(name, arguments.data, known, seed)
        reference = None
        for method in arguments.methods:
            if not METHODS[method].fits(task) or (name, str(known), method, str(seed)) in done:
                continue
            reference = reference or _correlations_of_baselines(task, seed)
            row = in_copy(lambda: _run(task, method, seed, reference))  # noqa: B023  called at once
            _append(arguments.out, {"data": name, "known": known, "method": method, "seed": seed, **row})


def _run(task: Task, method: str, seed: int, reference: dict) -> dict[str, float]:
    start = time.process_time()  # of the processor: other processes do not count
    result = METHODS[method].run(task, seed)
    seconds = time.process_time() - start
    row = {"n_held_out": task.test.n_obs, **_alignment(task, result), "seconds": seconds}
    row["peak_gb"] = peak() / 2**30
    for direction, (s, t) in task.directions.items():
        if (s, t) in result.imputed:
            scores = _imputation(task, t, result.imputed[s, t], {name: reference[name][s, t] for name in AGAINST})
            row |= {f"{direction}_{name}": value for name, value in scores.items()}
    return row


def _alignment(task: Task, result: Result) -> dict[str, float]:
    row = {}
    for part, latents in result.latents.items():
        a, b = (np.asarray(z, dtype=np.float64) for z in latents)
        split = "in_sample" if part == "train" else "held_out"
        pairs = task.known if part == "train" and len(a) == len(task.known) else np.ones(len(a), dtype=bool)
        row[f"{split}_foscttm"] = cvi.metrics.foscttm(a[pairs], b[pairs])
        if not pairs.all():
            row["hidden_foscttm"] = cvi.metrics.foscttm(a[~pairs], b[~pairs])
        labels = task.labels(part) if part == "test" or len(a) == len(task.known) else task.restricted().labels(part)
        row[f"{split}_lta"] = cvi.metrics.label_transfer_accuracy(b, labels, a, labels)
    return row


def _imputation(task: Task, target: str, imputed: np.ndarray, others: dict[str, np.ndarray]) -> dict[str, float]:
    measured = task.target("test", target)
    r = cvi.metrics.pearson_per_feature(measured, imputed)
    scores = {
        "n_features": measured.shape[1],
        "r": np.nanmean(r),
        "r_median": np.nanmedian(r),
        "relative_rmse": np.nanmean(cvi.metrics.relative_rmse_per_feature(measured, imputed)),
        "auroc": np.nanmean(cvi.metrics.auroc_per_feature(measured, imputed)),
        "jensen_shannon": cvi.metrics.jensen_shannon_distance(measured, imputed, task.labels("test")).mean(),
    }
    for name, other in others.items():
        comparison = cvi.metrics.binomial_comparison(r, other)
        scores |= {f"wins_against_{name}": comparison.wins, f"p_against_{name}": comparison.p_value}
    return scores


def _correlations_of_baselines(task: Task, seed: int) -> dict[str, dict[tuple[str, str], np.ndarray]]:
    results = {name: METHODS[name].run(task, seed).imputed for name in AGAINST}
    return {
        name: {(s, t): cvi.metrics.pearson_per_feature(task.target("test", t), x) for (s, t), x in imputed.items()}
        for name, imputed in results.items()
    }


def _done(path: Path) -> set[tuple[str, ...]]:
    if not path.exists():
        return set()
    with path.open() as file:
        return {tuple(row[key] for key in KEYS) for row in csv.DictReader(file)}


def _append(path: Path, row: dict) -> None:
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if is_new:
            writer.writeheader()
        writer.writerow(
            {name: f"{v:.5g}" if isinstance(v, float) and name != "known" else v for name, v in row.items()}
        )


if __name__ == "__main__":
    main()
