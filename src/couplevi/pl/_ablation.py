from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from couplevi._docs import fill_docs
from couplevi._validate import check_count, expected
from couplevi.pl._figure import BLUE, ORANGE, finish, make_axes
from couplevi.pl._values import check_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = ("group", "target", "intact", "ablated", "change")
MAX_BOXES = 8
"""Groups up to which each gets a box; of more, the first are shown as bars."""


@fill_docs
def ablation(
    frame: pd.DataFrame,
    *,
    n_groups: int = 20,
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | os.PathLike[str] | bool | None = None,
    return_fig: bool = False,
) -> Figure | Axes | list[Axes] | None:
    """How much a prediction loses without features.

    Up to 8 groups, such as genomic windows: score of every target, intact and without each group. More groups, such as
    single features: bars of the mean loss over targets, largest first.

    Parameters
    ----------
    frame
        As returned by :func:`couplevi.tl.ablate`.
    n_groups
        Bars shown.
    %(ax)s
    %(show)s

    Returns
    -------
    %(drawn)s

    Raises
    ------
    KeyError
        If a column is missing.
    ValueError
        If no target has a score.

    References
    ----------
    %(jamie_paper)s, figure 6a.

    Examples
    --------
    >>> import couplevi as cvi
    >>> mdata = cvi.data.branching_manifold(n_obs=100)
    >>> quick = {"max_epochs": 2, "enable_progress_bar": False}
    >>> model = cvi.tl.jamie(mdata, modalities=("rna", "ephys"), train_kwargs=quick)
    >>> groups = {"first half": mdata["rna"].var_names[:200], "all": mdata["rna"].var_names}
    >>> frame = cvi.tl.ablate(mdata, model, source="rna", target="ephys", groups=groups)
    >>> ax = cvi.pl.ablation(frame, show=False)
    >>> [label.get_text() for label in ax.get_xticklabels()]
    ['intact', 'first half', 'all']
    """
    check_count(n_groups, "n_groups")
    check_columns(frame, COLUMNS, "Pass what `cvi.tl.ablate` returned.")
    frame = frame.dropna(subset=["intact", "ablated"])
    if frame.empty:
        raise ValueError(expected("a target with a score", "none", "Do the measured values vary?"))
    groups = list(frame["group"].unique())
    axes = make_axes(1, ax, width=4.5, height=4.0)
    if len(groups) <= MAX_BOXES:
        _boxes(axes[0], frame, groups)
    else:
        _bars(axes[0], frame, n_groups)
    return finish(axes, show, save, return_fig, "ablation")


def _boxes(ax: Axes, frame: pd.DataFrame, groups: list[str]) -> None:
    table = frame.pivot(index="target", columns="group", values="ablated")[groups]
    table.insert(0, "intact", frame.groupby("target")["intact"].first().reindex(table.index))
    table = table.dropna()
    ax.plot(np.arange(table.shape[1]), table.to_numpy().T, color=BLUE, alpha=min(0.4, 20 / len(table)), linewidth=0.6)
    ax.boxplot(
        table.to_numpy(),
        positions=np.arange(table.shape[1]),
        medianprops={"color": ORANGE, "linewidth": 2},
        showfliers=False,
        widths=0.4,
    )
    ax.set_xticks(range(table.shape[1]), ["intact", *groups], rotation=90)
    ax.axhline(0, color="0.7", linewidth=0.8, zorder=0)
    ax.set(xlabel="features removed", ylabel="score", title=f"{len(table)} targets")


def _bars(ax: Axes, frame: pd.DataFrame, n_groups: int) -> None:
    change = frame.groupby("group", sort=False)["change"].mean().nsmallest(n_groups)[::-1]
    ax.barh(np.arange(len(change)), -change, color=BLUE)
    ax.set_yticks(range(len(change)), change.index, fontsize="small")
    ax.locator_params(axis="x", nbins=4)  # losses of a thousandth have long names
    n_targets = frame["target"].nunique()
    ax.set(
        xlabel="score lost without it",
        title=f"mean of {n_targets} targets" if n_targets > 1 else frame["target"].iloc[0],
    )
