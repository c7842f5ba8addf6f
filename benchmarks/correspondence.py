"""Time, memory and quality of the correspondence solvers by number of cells.

    python -m benchmarks.correspondence --out docs/_static/correspondence

Each run has a process of its own. Cells lie on three branches, seen through two random maps with noise; 10 % of the
pairs are known to the anchored solver, none to the others. ``unioncom`` runs 20 of its 2,000 iterations, and its time
is given for these.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import scipy.sparse as sp

from couplevi.correspondence import Anchored, GromovWasserstein, Solver, UnionCom

SIZES = (500, 2_000, 10_000, 50_000)
SOLVERS: dict[str, tuple[Solver, int]] = {
    "anchored": (Anchored(), 50_000),
    "gw": (GromovWasserstein(), 50_000),
    "unioncom, 20 of 2,000 iterations": (UnionCom(max_iter=20), 2_000),
}
KNOWN = 0.1


def cells(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Branch of each cell and its coordinates in two modalities."""
    rng = np.random.default_rng(0)
    branch = rng.choice(3, n, p=[0.5, 0.3, 0.2])
    time_on_branch = rng.random(n)
    planted = np.column_stack([np.eye(3)[branch] * time_on_branch[:, None] * [4, 3, 2], rng.normal(0, 0.2, n)])
    maps = [np.tanh(planted @ rng.normal(size=(4, d))) + 0.1 * rng.normal(size=(n, d)) for d in (30, 20)]
    return branch, maps[0], maps[1]


def run(name: str, n: int) -> dict[str, float]:
    """One solver once, in this process."""
    branch, x, y = cells(n)
    known = sp.diags_array((np.arange(n) < KNOWN * n).astype(float)).tocsr() if name == "anchored" else None
    start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.perf_counter()
    result = SOLVERS[name][0].solve(x, y, known)
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    best = np.asarray(result.matrix.argmax(axis=1)).ravel()
    hidden = np.arange(n) >= (KNOWN * n if known is not None else 0)
    return {
        "seconds": seconds,
        "peak_gb": peak / 2**20,
        "above_start_gb": (peak - start) / 2**20,
        "branch_agreement": float((branch[best] == branch)[hidden].mean()),
        "effective_matches": float(result.effective_matches[hidden].mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="table (.csv) and figure (.png), without the suffix")
    parser.add_argument("--one", nargs=2, metavar=("SOLVER", "N"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(run(arguments.one[0], int(arguments.one[1]))))
        return
    rows = []
    for name, (_, largest) in SOLVERS.items():
        for n in [size for size in SIZES if size <= largest]:
            command = [sys.executable, "-m", "benchmarks.correspondence", "--one", name, str(n)]
            printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            rows.append({"solver": name, "cells": n, **json.loads(printed.splitlines()[-1])})
            print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    table.to_csv(arguments.out.with_suffix(".csv"), index=False, float_format="%.3g")
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for ax, column, label in zip(axes, ("seconds", "peak_gb"), ("time (s)", "peak memory (GB)"), strict=True):
        for name, part in table.groupby("solver", sort=False):
            ax.loglog(part["cells"], part[column], marker="o", label=name)
        ax.set(xlabel="cells per modality", ylabel=label)
    axes[0].legend(frameon=False)
    figure.savefig(arguments.out.with_suffix(".png"), dpi=150)


if __name__ == "__main__":
    main()
