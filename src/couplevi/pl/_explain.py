from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation
from scipy.cluster.hierarchy import leaves_list, linkage

from couplevi._constants import Key
from couplevi._docs import fill_docs
from couplevi._validate import check_count, check_modality, check_mudata, expected, find_names
from couplevi.pl._figure import finish, make_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from mudata import MuData

    from couplevi._types import FloatArray, IntArray

LARGEST = 110.0
"""Area of the largest dot in square points."""
SIDE = 0.2
"""Side of the square of a dot in inches."""


@fill_docs
def explain(
    mdata: MuData,
    *,
    source: str,
    target: str,
    targets: Sequence[str] | str | None = None,
    n_features: int = 3,
    key: str = "jamie",
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | os.PathLike[str] | bool | None = None,
    return_fig: bool = False,
) -> Figure | Axes | list[Axes] | None:
    """Which source features drive which targets, and whether a high value raises or lowers the prediction.

    Dots are as large as mean absolute Shapley values are, relative to the largest of the row, since targets differ in
    units. They are red where a high value of the feature raises the prediction, blue where it lowers it: the
    correlation of the feature with its Shapley values, pale where that depends on the cell, grey where it is unknown.
    Shown are the features that are among the first of any target; an edge marks for which. Rows and columns of similar
    pattern are neighbours.

    Parameters
    ----------
    mdata
        MuData with values, as written by :func:`couplevi.tl.explain`.
    source, target
        Those of :func:`couplevi.tl.explain`: a modality and a modality, ``"latent"`` or a column of labels.
    targets
        Rows to show; None takes all that were explained.
    n_features
        Features marked for each target.
    key
        The `key_added` of the explanation.
    %(ax)s
    %(show)s

    Returns
    -------
    %(drawn)s

    Raises
    ------
    KeyError
        If there are no such values, or a target was not explained.

    Examples
    --------
    >>> import couplevi as cvi
    >>> mdata = cvi.data.branching_manifold(n_obs=100)
    >>> quick = {"max_epochs": 2, "enable_progress_bar": False}
    >>> model = cvi.tl.jamie(mdata, modalities=("rna", "ephys"), train_kwargs=quick)
    >>> e = cvi.tl.explain(mdata, model, source="rna", target="ephys", cells=mdata.obs_names[:5])
    >>> ax = cvi.pl.explain(mdata, source="rna", target="ephys", targets=["ephys0", "ephys1"], show=False)
    >>> sorted(label.get_text() for label in ax.get_yticklabels())
    ['ephys0', 'ephys1']
    """
    check_mudata(mdata)
    check_count(n_features, "n_features")
    table, direction, rows, columns = _tables(mdata, source, target, key)
    if targets is not None:
        chosen = find_names(list(rows), targets, f"explained targets in {target!r}")
        table, direction, rows = table[chosen], direction[chosen], rows[chosen]
    top = np.argsort(-table, axis=1)[:, :n_features]
    shown = np.unique(top)
    share = table[:, shown] / np.maximum(table.max(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    is_top = np.zeros(table.shape, dtype=bool)
    np.put_along_axis(is_top, top, True, axis=1)
    signed = share * np.nan_to_num(direction[:, shown])
    order, across = _similar_first(signed), _similar_first(signed.T)
    cells = np.ix_(order, across)
    share, is_top, sign = share[cells], is_top[:, shown][cells], direction[:, shown][cells]
    width, height = max(4.5, 3.2 + SIDE * len(shown)), max(3.2, 1.5 + SIDE * len(rows))
    [axes] = make_axes(1, ax, width=width, height=height)
    y, x = np.indices(share.shape).reshape(2, -1)
    edges = ["black" if first else "0.75" for first in is_top.flat]
    cmap = mpl.colormaps["RdBu_r"].with_extremes(bad="0.6")
    style: dict[str, Any] = {"cmap": cmap, "vmin": -1, "vmax": 1, "plotnonfinite": True, "linewidths": 0.8}
    dots = axes.scatter(x, y, LARGEST * share.ravel(), c=np.ma.masked_invalid(sign.ravel()), edgecolors=edges, **style)
    axes.set_yticks(range(len(rows)), rows[order], fontsize="small")
    axes.set_xticks(range(len(shown)), columns[shown][across], rotation=90, fontsize="small")
    axes.set(xlim=(-0.7, len(shown) - 0.3), ylim=(len(rows) - 0.3, -0.7), axisbelow=True)
    axes.grid(color="0.93", linewidth=0.6)
    axes.set(xlabel=f"feature of {source}", ylabel=target, title=f"What predicts {target} from {source}")
    corner = ScaledTranslation(1, 1, axes.transAxes)  # type: ignore[arg-type]  # any transform will do
    beside = axes.figure.dpi_scale_trans + corner  # in inches
    bar = axes.figure.colorbar(dots, cax=axes.inset_axes((0.15, -1.1, 0.12, 0.9), transform=beside), ticks=[-1, 0, 1])
    bar.ax.set_yticklabels(["lower", "unclear", "higher"], fontsize="small")
    bar.set_label("prediction for\na high value", fontsize="small")
    entries = [(1.0, "0.75", "largest of the row"), (0.25, "0.75", "a quarter of it")]
    entries.append((0.5, "black", f"among the first {n_features}"))
    marks: dict[str, Any] = {"marker": "o", "linestyle": "", "markerfacecolor": "0.7"}
    handles = [
        Line2D([], [], markersize=np.sqrt(LARGEST * share), markeredgecolor=edge, label=told, **marks)
        for share, edge, told in entries
    ]
    legend: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (0.05, -1.2), "bbox_transform": beside}
    axes.legend(handles=handles, frameon=False, fontsize="small", **legend)
    return finish([axes], show, save, return_fig, "explain")


def _tables(mdata: MuData, source: str, target: str, key: str) -> tuple[FloatArray, FloatArray, np.ndarray, np.ndarray]:
    """Mean absolute values and directions, explained targets by source features, and the names of both."""
    check_modality(mdata, source, "source")
    is_modality = target in mdata.mod
    place = target if is_modality else source
    slots = (
        (Key.varm.shap_from(key, source), Key.varm.direction_from(key, source))
        if is_modality
        else (Key.varm.shap_to(key, target), Key.varm.direction_to(key, target))
    )
    for slot in slots:
        if slot not in mdata[place].varm:
            remedy = (
                f"Run `cvi.tl.explain(mdata, model, source={source!r}, target={target!r})` first; for modalities "
                "registered by `use_rep` it writes nothing, and there is only the figure of `shap.plots`."
            )
            found = f"keys {list(mdata[place].varm)}"
            raise KeyError(expected(f"`mdata[{place!r}].varm[{slot!r}]`", found, remedy))
    table, direction = (np.asarray(mdata[place].varm[slot]) for slot in slots)
    record = mdata.uns.get(key, {})
    if is_modality:
        rows, columns = mdata[target].var_names, record[Key.uns.VAR_NAMES][source]
    else:
        table, direction, columns = table.T, direction.T, mdata[source].var_names
        classifier = record.get(Key.uns.CLASSIFIERS, {}).get(target)
        rows = [str(k) for k in range(len(table))] if classifier is None else classifier["classes"]
    explained = np.isfinite(table).any(axis=1)
    rows, columns = (np.asarray(names, dtype=object) for names in (rows, columns))
    return np.nan_to_num(table[explained]), direction[explained], rows[explained], columns


def _similar_first(table: FloatArray) -> IntArray:
    """Order of the rows in which similar ones are neighbours."""
    return leaves_list(linkage(table, "average", optimal_ordering=True)) if len(table) > 2 else np.arange(len(table))
