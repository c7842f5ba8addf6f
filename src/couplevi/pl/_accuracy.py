from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pandas as pd

from couplevi._docs import fill_docs
from couplevi.pl._figure import finish, legend_beside, make_axes, palette
from couplevi.pl._values import check_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = ("method", "foscttm", "lta")


@fill_docs
def accuracy(
    frame: pd.DataFrame,
    *,
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | os.PathLike[str] | bool | None = None,
    return_fig: bool = False,
) -> Figure | Axes | list[Axes] | None:
    """Methods compared by alignment: FOSCTTM against label transfer accuracy. Up and to the left is better.

    Parameters
    ----------
    frame
        Columns ``"method"``, ``"foscttm"`` and ``"lta"``, both in [0, 1]; a row per run. Methods with several rows
        get a large point at their mean, and small ones.
    %(ax)s
    %(show)s

    Returns
    -------
    %(drawn)s

    Raises
    ------
    KeyError
        If a column is missing.

    References
    ----------
    %(jamie_paper)s, panels c of its figures.

    Examples
    --------
    >>> import pandas as pd
    >>> import couplevi as cvi
    >>> frame = pd.DataFrame({"method": ["jamie", "chance"], "foscttm": [0.05, 0.5], "lta": [0.95, 0.1]})
    >>> ax = cvi.pl.accuracy(frame, show=False)
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['jamie', 'chance']
    """
    check_columns(frame, COLUMNS, "For example from `cvi.tl.evaluate`: rows by metric, pivoted to columns.")
    axes = make_axes(1, ax)
    methods = list(frame["method"].unique())
    colors = palette(methods)
    for method in methods:
        runs = frame[frame["method"] == method]
        mean = runs[["foscttm", "lta"]].mean()
        if len(runs) > 1:
            axes[0].scatter(runs["foscttm"], runs["lta"], s=10, color=colors[method], linewidths=0, alpha=0.5)
        axes[0].scatter(mean["foscttm"], mean["lta"], s=60, color=colors[method], label=method)
    axes[0].set(xlabel="FOSCTTM (smaller is better)", ylabel="label transfer accuracy (larger is better)")
    legend_beside(axes[0])
    return finish(axes, show, save, return_fig, "accuracy")
