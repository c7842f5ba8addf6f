"""Time, memory and quality of the correspondence solvers by number of cells.

    python -m benchmarks.runs.correspondence --out docs/_static/correspondence

Each run has a process of its own, and seconds are those of the processor. Cells lie on three branches, seen through
two random maps with noise; 10 % of the pairs are known to the anchored solver, none to the others. ``unioncom`` runs 20
of its 2,000 iterations, and its time is given for these.
"""

from __future__ import annotations

import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import scipy.sparse as sp

from benchmarks.runs._common import in_new_process, make_parser, peak
from benchmarks.tasks.branches import branches
from couplevi.correspondence import Anchored, GromovWasserstein, Solver, UnionCom

SIZES = (500, 2_000, 10_000, 50_000, 200_000)
SOLVERS: dict[str, tuple[Solver, int]] = {
    "anchored": (Anchored(), 200_000),
    "gw": (GromovWasserstein(), 50_000),
    "unioncom, 20 of 2,000 iterations": (UnionCom(max_iter=20), 2_000),
}
"""Each solver with the most cells that it is run on."""

KNOWN = 0.1


def measure(name: str, n: int) -> dict[str, float]:
    """One solver once, in this process."""
    branch, x, y = branches(n)
    known = sp.diags_array((np.arange(n) < KNOWN * n).astype(float)).tocsr() if name == "anchored" else None
    start, begin = peak(), time.process_time()
    result = SOLVERS[name][0].solve(x, y, known)
    seconds = time.process_time() - begin
    best = np.asarray(result.matrix.argmax(axis=1)).ravel()
    hidden = np.arange(n) >= (KNOWN * n if known is not None else 0)
    return {
        "seconds": seconds,
        "peak_gb": peak() / 2**30,
        "above_start_gb": (peak() - start) / 2**30,
        "branch_agreement": float((branch[best] == branch)[hidden].mean()),
        "effective_matches": float(result.effective_matches[hidden].mean()),
    }


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--out", type=Path, required=True, help="table (.csv) and figure (.png), without the suffix")
    arguments = parser.parse_args()
    rows = []
    for name, (_, largest) in SOLVERS.items():
        for n in [size for size in SIZES if size <= largest]:
            rows.append({"solver": name, "cells": n, **in_new_process(measure, name, n)})
            print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    table.to_csv(arguments.out.with_suffix(".csv"), index=False, float_format="%.3g")
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for ax, column, label in zip(axes, ("seconds", "peak_gb"), ("processor time (s)", "peak memory (GB)"), strict=True):
        for name, part in table.groupby("solver", sort=False):
            ax.loglog(part["cells"], part[column], marker="o", label=name)
        ax.set(xlabel="cells per modality", ylabel=label)
    axes[0].legend(frameon=False)
    figure.savefig(arguments.out.with_suffix(".png"), dpi=150)


if __name__ == "__main__":
    main()
