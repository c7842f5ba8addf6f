from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pandas as pd

from couplevi._docs import fill_docs
from couplevi._validate import expected
from couplevi.pl._figure import finish, legend_beside, make_axes, palette
from couplevi.pl._values import check_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = ("method", "foscttm", "lta")
OF_EVALUATE = ("metric", "source", "target", "method", "split", "n", "value")


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
        As returned by :func:`couplevi.tl.evaluate` with `labels`, or several of them joined by :func:`pandas.concat`,
        each with a name of its own in column ``"method"``. Held-out pairs are shown, or those trained on if there are no
        others, and the title says which; label transfer is the mean of both directions. Else a table with columns
        ``"method"``, ``"foscttm"`` and ``"lta"``, both in [0, 1], and a row per run. Methods with several runs get a
        large point at their mean, and small ones.
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
        If no method has both scores.

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
    title = ""
    if set(OF_EVALUATE) <= set(frame):
        frame, title = _runs(frame)
    check_columns(frame, COLUMNS, "Pass what `cvi.tl.evaluate` returned, or a table with these columns.")
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
    axes[0].set_title(title, fontsize="medium")
    legend_beside(axes[0])
    return finish(axes, show, save, return_fig, "accuracy")


def _runs(frame: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Both scores of each run and pair of modalities, and the cells that they are of."""
    scores = frame[frame["metric"].isin(["foscttm", "lta"])]
    split, told = ("held_out", "held out") if "held_out" in set(scores["split"]) else ("in_sample", "trained on")
    scores = scores[scores["split"] == split]
    # the same score again is that of another run
    run = scores.groupby(["method", "metric", "source", "target"]).cumcount()
    pair = [" ".join(sorted(names)) for names in zip(scores["source"], scores["target"], strict=True)]
    table = scores.assign(run=run, pair=pair).pivot_table("value", ["method", "run", "pair"], "metric")
    if not {"foscttm", "lta"} <= set(table):
        found = f"{sorted(set(frame['metric']))} in splits {sorted(set(frame['split']))}"
        remedy = "Call `cvi.tl.evaluate` with `labels`, on cells measured in two modalities."
        raise ValueError(expected(f"metrics 'foscttm' and 'lta' of split {split!r}", found, remedy))
    n = sorted(set(scores.loc[scores["metric"] == "foscttm", "n"]))
    table = table.reindex(scores["method"].unique(), level="method").dropna()
    return table.reset_index(), f"{' to '.join(map(str, {n[0]: 0, n[-1]: 0}))} cells, {told}"
