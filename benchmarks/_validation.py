"""Cross-validation inside the training cells of a benchmark: where hyper-parameters are chosen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

import couplevi as cvi
from benchmarks._tasks import load

torch.set_num_threads(1)


def cross_validate(name: str, folder: Path, n_folds: int, **settings: object) -> dict[str, float]:
    """Means over the first `n_folds` of five folds of the 80 % of the cells that are not held out."""
    task = load(name, folder, 1.0, 0)
    a, b = task.modalities
    if "n_pcs" in settings:
        settings["n_pcs"] = {m: min(int(settings["n_pcs"]), task.train[m].n_vars) for m in (a, b)}
    order = np.random.RandomState(123).permutation(task.train.n_obs)
    rows = []
    for fold in range(n_folds):
        names = task.train.obs_names
        validation = np.zeros(len(names), dtype=bool)
        validation[order[fold::5]] = True
        train, new = (task.train[names[part]].copy() for part in (~validation, validation))
        quiet = {"enable_progress_bar": False}
        model = cvi.tl.jamie(
            train, modalities=(a, b), layers=task.layers, seed=0, train_kwargs=quiet, calibration_size=0.0, **settings
        )
        frame = cvi.tl.evaluate(new, model, labels="cell_type").set_index(["metric", "source"])["value"]
        fitted = cvi.tl.evaluate(train, model, labels="cell_type").set_index(["metric", "source"])["value"]
        rows.append(
            {
                "foscttm": frame["foscttm", a],
                "lta": frame["lta", a],
                "r_forward": frame["pearson", a],
                "r_backward": frame["pearson", b],
                "in_sample_foscttm": fitted["foscttm", a],
                "in_sample_lta": fitted["lta", a],
            }
        )
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
