"""Table and figure for the documentation from the rows of `benchmarks.runs.quality`.

python -m benchmarks.runs.summary results.csv --table table.md --figure docs/_static/benchmarks.png
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd

from benchmarks.runs._common import make_parser, markdown

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
    parser = make_parser(__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--figure", type=Path, required=True)
    arguments = parser.parse_args()
    mpl.use("agg")
    rows = pd.read_csv(arguments.results)
    means = rows.groupby(["data", "known", "method"], sort=False)[list(SHOWN)].mean().reset_index()
    arguments.table.write_text(_table(means))
    _figure(means).savefig(arguments.figure, dpi=120)


def _table(means: pd.DataFrame) -> str:
    lines = []
    for (data, known), part in means.groupby(["data", "known"], sort=False):
        values = part[list(SHOWN)].map("{:.3g}".format, na_action="ignore").fillna("")
        rows = ([method, *row] for method, row in zip(part["method"], values.to_numpy(), strict=True))
        lines += [f"## {data}, {known:.0%} of the pairs known", "", *markdown(["method", *SHOWN.values()], rows), ""]
    return "\n".join(lines)


def _figure(means: pd.DataFrame) -> mpl.figure.Figure:
    """Held-out imputation and alignment against the share of known pairs, of sets with several shares if there are any."""
    n_shares = means.groupby("data", sort=False)["known"].nunique()
    names = list(n_shares[n_shares > 1].index) or list(n_shares.index)
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
    main()
