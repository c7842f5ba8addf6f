"""Tables and a figure for the documentation from the rows of `benchmarks.runs.quality`.

    python -m benchmarks.runs.summary results.csv --table table.md --figure docs/_static/benchmarks.png

Means over seeds, and their standard deviation where seeds differ. The best of a row of the summary is in bold.
"""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd

from benchmarks.methods import METHODS
from benchmarks.runs._common import make_parser, markdown
from couplevi.pl._figure import palette

TITLES = {
    "patchseq_motor": "Patch-seq, mouse motor cortex",
    "cite_pbmc_inhouse": "CITE-seq, human blood",
    "reapseq_pbmc_2sample": "REAP-seq, human blood",
    "snare_mouse_cortex_small": "SNARE-seq, mouse cortex",
    "branching_manifold": "simulated branches",
    "count_clusters": "simulated counts",
}
"""Data sets in the order of the documentation; others come after them, by their own name."""

PREDICTED = {
    "patchseq_motor": ("electrophysiology", "RNA"),
    "cite_pbmc_inhouse": ("protein", "RNA"),
    "reapseq_pbmc_2sample": ("protein", "RNA"),
    "snare_mouse_cortex_small": ("chromatin", "RNA"),
    "branching_manifold": ("electrophysiology", "RNA"),
    "count_clusters": ("chromatin", "RNA"),
}
"""What is predicted from the first modality, and from the second."""

ALIGNMENT = {"held_out_foscttm": ("FOSCTTM", min), "held_out_lta": ("LTA", max)}
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
COSTS = ("seconds", "peak_gb")
LINES = ("couplevi", "couplevi, known pairs alone", "5-NN", "ridge", "kernel ridge", "CCA")


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--figure", type=Path, required=True)
    arguments = parser.parse_args()
    mpl.use("agg")
    rows = pd.read_csv(arguments.results)
    rows["data"] = pd.Categorical(rows["data"], list(dict.fromkeys([*TITLES, *rows["data"]])))
    rows["method"] = pd.Categorical(rows["method"], list(METHODS))
    rows = rows.sort_values(["data", "known", "method"], ascending=[True, False, True])
    groups = rows.groupby(["data", "known", "method"], sort=False, observed=True)
    arguments.table.write_text("\n".join([*_summary(groups), *_sections(groups)]))
    _figure(groups).savefig(arguments.figure, dpi=120)


def _text(mean: float, spread: float = 0.0) -> str:
    """A mean with three digits, and how much seeds differ if that is seen in them."""
    if pd.isna(mean):
        return ""
    digits = 3 if mean == 0 else min(3, max(0, 2 - math.floor(math.log10(abs(mean)))))
    seen = spread > 0.5 * 10**-digits
    return f"{mean:.{digits}f} ± {spread:.{digits}f}" if seen else f"{mean:.{digits}f}"


def _summary(groups: pd.core.groupby.DataFrameGroupBy) -> list[str]:
    """Two tables, sets by methods, of the cells whose pairs were all known."""
    means, spreads = (
        table[table.index.get_level_values("known") == 1].droplevel("known") for table in (groups.mean(), groups.std())
    )
    imputation, alignment = [], []
    for data in means.index.unique("data"):
        mean, spread = means.loc[data], spreads.loc[data]
        n = int(mean["n_held_out"].iloc[0])
        title = f"{TITLES.get(data, data)} ({n:,} cells)"
        for direction, target in zip(("forward", "backward"), PREDICTED.get(data, ("second", "first")), strict=True):
            column = f"{direction}_r"
            n_features = mean[f"{direction}_n_features"].max()
            imputation.append((f"{title}: {n_features:,.0f} of {target}", mean[column], spread[column], max))
        for column, (name, best) in ALIGNMENT.items():
            alignment.append((f"{title}: {name}", mean[column], spread[column], best))
    return ["### Imputation", "", *_best_of(imputation), "", "### Alignment", "", *_best_of(alignment), ""]


def _best_of(rows: list[tuple]) -> list[str]:
    """Lines of a table of methods, the best of each row in bold."""
    rows = [row for row in rows if row[1].notna().any()]
    methods = [m for m in METHODS if any(pd.notna(mean.get(m)) for _, mean, _, _ in rows)]
    lines = []
    for title, mean, spread, best in rows:
        rounded = {m: round(mean[m], 3) for m in methods if pd.notna(mean.get(m))}
        winner = best(rounded.values())
        texts = {m: _text(mean[m], spread[m]) for m in rounded}
        lines.append([title, *(f"**{texts[m]}**" if rounded.get(m) == winner else texts.get(m, "") for m in methods)])
    return list(markdown(["held-out data", *methods], lines))


def _sections(groups: pd.core.groupby.DataFrameGroupBy) -> list[str]:
    """A table of all scores for each set and share of known pairs."""
    means, spreads, counts = groups.mean(), groups.std(), groups.size()
    lines = ["## Every set", ""]
    for data, known in means.index.droplevel("method").unique():
        mean, spread = means.loc[(data, known)], spreads.loc[(data, known)]
        rows = [
            [
                m,
                *(_text(mean.loc[m, c], 0.0 if c in COSTS else spread.loc[m, c]) for c in SHOWN),
                counts[data, known, m],
            ]
            for m in mean.index
        ]
        heading = f"### {TITLES.get(data, data)}, {known:.0%} of the pairs known"
        lines += [heading, "", *markdown(["method", *SHOWN.values(), "seeds"], rows), ""]
    return lines


def _figure(groups: pd.core.groupby.DataFrameGroupBy) -> mpl.figure.Figure:
    """Held-out imputation and alignment against the share of known pairs, of sets with several shares if there are any."""
    means, spreads = groups.mean().reset_index(), groups.std().reset_index()
    n_shares = means.groupby("data", sort=False, observed=True)["known"].nunique()
    names = list(n_shares[n_shares > 1].index) or list(n_shares.index)
    labels = (
        ("forward_r", "held-out r (larger is better)"),
        ("held_out_foscttm", "held-out FOSCTTM (smaller is better)"),
    )
    shape = (1, 2) if len(names) == 1 else (2, len(names))
    figure, axes = plt.subplots(*shape, figsize=(4.2 * shape[1], 3.5 * shape[0]), squeeze=False, layout="constrained")
    colors = palette(LINES)
    panels = ((name, *label) for label in labels for name in names)
    for ax, (name, column, label) in zip(axes.flat, panels, strict=True):
        for method in LINES:
            chosen = (means["data"] == name) & (means["method"] == method)
            if means.loc[chosen, column].notna().any():
                x, y, error = means.loc[chosen, "known"] * 100, means.loc[chosen, column], spreads.loc[chosen, column]
                ax.errorbar(
                    x, y, error.fillna(0), fmt="o-", color=colors[method], label=method, markersize=4, capsize=2
                )
        ax.set(title=TITLES.get(name, name), xlabel="% of the pairs known", ylabel=label)
    handles = {text: line for ax in axes.flat for line, text in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3, frameon=False)
    return figure


if __name__ == "__main__":
    main()
