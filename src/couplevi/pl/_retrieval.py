from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from couplevi._docs import fill_docs
from couplevi._validate import check_count
from couplevi.pl._colors import category_colors
from couplevi.pl._cosines import compared, number, short, wrapped
from couplevi.pl._figure import finish, make_axes

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from couplevi._protocols import FindsCells
    from couplevi._types import BoolArray, FloatArray

WITHOUT = "without a label"
QUIET = "0.35"
LONGEST = 30
"""Characters of the name of a type."""
TITLE = (46, 2)
"""Characters and lines of a text above its panels."""
ROW = 0.23
"""Height of a type in inches."""
SPREAD = 0.32
"""Half the height over which cells of a type lie, in rows."""


@fill_docs
def retrieval(
    adata: AnnData,
    model: FindsCells,
    *,
    texts: Sequence[str] | str,
    groupby: str,
    k: int = 50,
    n_groups: int = 15,
    ax: Sequence[Axes] | Axes | None = None,
    show: bool | None = None,
    save: str | os.PathLike[str] | bool | None = None,
    return_fig: bool = False,
) -> Figure | Axes | list[Axes] | None:
    """Which cells are found by a text: types of the best ones, and how well it fits all cells. Two panels a text.

    Bars are numbers of cells among the `k` best; a tick in each marks how many `k` cells drawn at random would hold.
    Beside them is the score of each cell, as :meth:`~couplevi.model.CellText.retrieve_cells` gives it, dark for those
    among the `k`, whose limit is dashed; a stroke marks the median of a type. If the text is the name of a type, the
    title says how many of the `k` are of that type (their precision), and how many there are at all.

    Parameters
    ----------
    adata
        Cells with the features of the model.
    model
        Fitted :class:`~couplevi.model.CellText`.
    texts
        Any texts, or labels of the model; a row of panels each.
    groupby
        Column of ``adata.obs`` with types or clusters; cells without a label (missing, ``"unknown"``) are found, too,
        and are in a row of their own. Colours are those of ``uns["{groupby}_colors"]``.
    k
        Number of cells to find; of fewer cells all are found.
    n_groups
        Types to show: those with the most cells among the `k`, and of the others those with the highest median.
    %(panels)s
    %(show)s

    Returns
    -------
    %(drawn)s

    Raises
    ------
    TypeError
        If `adata` is not an AnnData.
    KeyError
        If the column is missing, or the cells lack what the model reads.
    ValueError
        If no cell has a label, the column holds measurements, there are no texts, or one is repeated, `k` or `n_groups`
        is not a positive whole number, or `ax` has another number of axes.
    RuntimeError
        If the model is not trained.

    Examples
    --------
    >>> import couplevi as cvi
    >>> mdata = cvi.data.count_clusters(n_obs=200)
    >>> adata = mdata["rna"].copy()
    >>> adata.obs["type"] = mdata.obs["cell_type"].astype(str)
    >>> quick = {"max_epochs": 5, "enable_progress_bar": False}
    >>> model = cvi.tl.celltext(adata, labels_key="type", seed=0, train_kwargs=quick)
    >>> bars, cells = cvi.pl.retrieval(adata, model, texts="type0", groupby="type", k=20, show=False)
    >>> int(sum(bar.get_width() for bar in bars.patches))
    20
    """
    check_count(k, "k")
    check_count(n_groups, "n_groups")
    found = compared(adata, model, texts, groupby)
    groups = found.groups.cat.add_categories([] if WITHOUT in found.groups.cat.categories else [WITHOUT])
    groups = groups.fillna(WITHOUT).cat.remove_unused_categories()
    known = list(found.groups.cat.categories)
    colors = {WITHOUT: QUIET} | category_colors(adata, groupby, known)
    k = min(k, len(groups))
    rows = min(n_groups, len(groups.cat.categories))
    axes = make_axes(2 * len(found.texts), ax, width=4.2, height=ROW * rows + 1.35, n_columns=2)
    for i, text in enumerate(found.texts):
        score = model.retrieve_cells(text, len(groups), adata=adata)["score"].reindex(groups.index).to_numpy()
        among = np.zeros(len(score), dtype=bool)
        among[np.argsort(-score, kind="stable")[:k]] = True
        shown = _shown(groups, score, among, n_groups)
        _bars(axes[2 * i], groups, among, shown, colors)
        _strips(axes[2 * i + 1], groups, score, among, shown, colors)
        n_own = int((groups == text).sum())
        told = f"{int((groups[among] == text).sum())} of {k} are of this type, which has {n_own:,} cells"
        axes[2 * i].set_title("\n".join([wrapped(text, *TITLE), *([told] if n_own else [])]), fontsize="medium")
        n = len(groups.cat.categories)
        some = f", {len(shown)} of {n} groups shown" if len(shown) < n else ""
        axes[2 * i + 1].set_title(f"{found.told}{some}", fontsize="medium")
    return finish(axes, show, save, return_fig, "retrieval")


def _shown(groups: pd.Series, score: FloatArray, among: BoolArray, n: int) -> list[str]:
    """Types by the number of their cells that are found, then by the median of their scores, the highest first."""
    count, median = groups[among].value_counts(), {g: np.median(score[groups == g]) for g in groups.cat.categories}
    return sorted(groups.cat.categories, key=lambda group: (-count.get(group, 0), -median[group]))[:n]


def _bars(ax: Axes, groups: pd.Series, among: BoolArray, shown: Sequence[str], colors: Mapping[str, Any]) -> None:
    """How many of the cells found are of each type, and how many would be by chance."""
    count = groups[among].value_counts()
    chance = groups.value_counts() * among.mean()
    for y, group in enumerate(shown):
        ax.barh(y, count[group], color=colors[group], height=0.6)
        ax.plot([chance[group]] * 2, [y - 0.36, y + 0.36], color="black", linewidth=1.2)
        if count[group]:
            style: dict[str, Any] = {"ha": "left", "va": "center_baseline", "fontsize": "small", "color": QUIET}
            right = max(count[group], chance[group])
            ax.annotate(f"{count[group]}", (right, y), (3, 0), textcoords="offset points", **style)
    ax.set_yticks(range(len(shown)), [short(group, LONGEST) for group in shown], fontsize="small")
    ax.set(ylim=(len(shown) - 0.4, -0.6), xlabel=f"cells of the {int(among.sum()):,} found (stroke: chance)")
    ax.set_xlim(0, 1.12 * max(count.max(), chance[list(shown)].max()))
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right"]].set_visible(False)


def _strips(
    ax: Axes, groups: pd.Series, score: FloatArray, among: BoolArray, shown: Sequence[str], colors: Mapping[str, Any]
) -> None:
    """The score of each cell, by type, those found in front."""
    rng = np.random.default_rng(0)
    area = 15_000 / max(1_000, len(score))
    for y, group in enumerate(shown):
        own = (groups == group).to_numpy()
        height = y + rng.uniform(-SPREAD, SPREAD, len(score))
        for cells, alpha in ((own & ~among, 0.3), (own & among, 1.0)):
            style: dict[str, Any] = {"s": area, "color": colors[group], "alpha": alpha, "linewidths": 0}
            ax.scatter(score[cells], height[cells], zorder=1.5 + alpha, rasterized=True, **style)
        ax.plot([np.median(score[own])] * 2, [y - 0.42, y + 0.42], color="black", linewidth=1.2, zorder=3)
    limit = score[among].min()
    ax.axvline(limit, color=QUIET, linestyle="--", linewidth=1, zorder=1)
    ax.set(ylim=(len(shown) - 0.4, -0.6), yticks=[], xlabel=f"score of the text (limit: {number(limit)})")
    ax.spines[["top", "right"]].set_visible(False)
