"""Table and figure for the documentation from the rows of `benchmarks.quality`.

python -m benchmarks.summary results.csv --table table.md --figure docs/_static/benchmarks.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd

SHOWN = {
    "held_out_foscttm": "FOSCTTM",
    "held_out_lta": "LTA",
    "in_sample_foscttm": "in-sample FOSCTTM",
    "forward_r": "r",
    "forward_relative_rmse": "relative RMSE",
    "backward_r": "r back",
    "forward_wins_against_ridge": "wins against ridge",
    "seconds": "s",
    "peak_gb": "GB",
}
LINES = ("couplevi", "couplevi, known pairs alone", "5-NN", "ridge", "kernel ridge", "CCA")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--figure", type=Path, required=True)
    arguments = parser.parse_args()
    rows = pd.read_csv(arguments.results)
    means = rows.groupby(["data", "known", "method"], sort=False)[list(SHOWN)].mean().reset_index()
    arguments.table.write_text(_table(means))
    _figure(means).savefig(arguments.figure, dpi=120)


def _table(means: pd.DataFrame) -> str:
    lines = []
    for (data, known), part in means.groupby(["data", "known"], sort=False):
        lines += [f"## {data}, {known:.0%} of the pairs known", ""]
        lines += ["| " + " | ".join(["method", *SHOWN.values()]) + " |", "|" + "---|" * (len(SHOWN) + 1)]
        for row in part.itertuples():
            values = ["" if pd.isna(v := getattr(row, name)) else f"{v:.3g}" for name in SHOWN]
            lines.append("| " + " | ".join([row.method, *values]) + " |")
        lines.append("")
    return "\n".join(lines)


def _figure(means: pd.DataFrame) -> mpl.figure.Figure:
    """Held-out imputation and alignment against the share of known pairs, where several shares were run."""
    several = means.groupby("data")["known"].nunique()
    names = [name for name in means["data"].unique() if several[name] > 1]
    figure, axes = plt.subplots(
        2, len(names), figsize=(max(5.5, 4.2 * len(names)), 7), squeeze=False, layout="constrained"
    )
    labels = (
        ("forward_r", "held-out r (larger is better)"),
        ("held_out_foscttm", "held-out FOSCTTM (smaller is better)"),
    )
    for row, (column, label) in zip(axes, labels, strict=True):
        for ax, name in zip(row, names, strict=True):
            for color, method in enumerate(LINES):
                line = means[(means["data"] == name) & (means["method"] == method)].sort_values("known")
                if line[column].notna().any():
                    ax.plot(line["known"] * 100, line[column], "o-", color=f"C{color}", label=method, markersize=4)
            ax.set(title=name, xlabel="% of the pairs known", ylabel=label)
    handles = {text: line for ax in axes.ravel() for line, text in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2, frameon=False)
    return figure


if __name__ == "__main__":
    mpl.use("agg")
    main()
