"""OTGM beside simple methods, on held-out cells of two CRISPR screens.

    python -m benchmarks.runs.perturbations --data DIR

Prints a table: mean over random halves of the cells of each state, and lowest to highest; number of states or cells.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

import couplevi as cvi
from benchmarks.runs._common import make_parser, markdown, settle
from benchmarks.tasks.screens import SCREENS, load_screen


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the real data")
    parser.add_argument("--sets", nargs="+", default=list(SCREENS), choices=SCREENS)
    parser.add_argument("--seeds", type=int, default=5, help="number of random halves")
    options = parser.parse_args()
    settle()
    shown = {}
    for name in options.sets:
        adata, control = load_screen(name, options.data), SCREENS[name].control
        frame = pd.concat(
            cvi.tl.evaluate_perturbations(adata, state_key="perturbation", control=control, seed=seed)
            for seed in range(options.seeds)
        )
        groups = frame.groupby(["task", "method"], sort=False)
        shown[name] = groups["value"].agg(lambda v: f"{v.mean():.3f} ({v.min():.3f} to {v.max():.3f})")
        shown[f"n {name}"] = groups["n"].agg(
            lambda n: " to ".join(map("{:,}".format, dict.fromkeys([n.min(), n.max()])))
        )
    table = pd.DataFrame(shown).fillna("").reset_index()
    print("\n".join(markdown(table.columns, table.to_numpy())))


if __name__ == "__main__":
    main()
