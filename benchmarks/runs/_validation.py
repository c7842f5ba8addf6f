"""Cross-validation inside the training cells of a benchmark: where hyper-parameters are chosen."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import couplevi as cvi
from benchmarks.tasks.coupled import load

COLUMNS = ("foscttm", "lta", "r_forward", "r_backward", "in_sample_foscttm", "in_sample_lta")


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
        held_out, fitted = (
            cvi.tl.evaluate(cells, model, labels="cell_type").set_index(["metric", "source"])["value"]
            for cells in (new, train)
        )
        rows.append(
            [
                held_out["foscttm", a],
                held_out["lta", a],
                held_out["pearson", a],
                held_out["pearson", b],
                fitted["foscttm", a],
                fitted["lta", a],
            ]
        )
    return dict(zip(COLUMNS, (float(mean) for mean in np.mean(rows, axis=0)), strict=True))
