from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from couplevi._docs import fill_docs
from couplevi._validate import check_count, expected
from couplevi.metrics import pearson_per_feature
from couplevi.pl._figure import BLUE, finish, make_axes
from couplevi.pl._values import auroc_of_open, imputed_values, is_mostly_zero

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from mudata import MuData

    from couplevi._types import BoolArray, FloatArray, IntArray


GREY = "0.6"
SPREAD = 0.2
"""Half the width over which cells of one side are spread."""


@fill_docs
def imputation(
    mdata: MuData,
    *,
    source: str,
    target: str,
    features: Sequence[str] | str | None = None,
    layer: str | None = None,
    cells: Sequence[str] | None = None,
    n_features: int = 8,
    key: str = "jamie",
    size: float | None = None,
    ax: Sequence[Axes] | Axes | None = None,
    show: bool | None = None,
    save: str | os.PathLike[str] | bool | None = None,
    return_fig: bool = False,
) -> Figure | Axes | list[Axes] | None:
    """Measured against imputed values, one panel per feature, with their correlation.

    Of features that are 0 or one other value, or 0 in three quarters of the cells, as those of chromatin are, imputed
    values are shown by whether the measured one is 0, with the area under the ROC curve of telling that.

    How good an imputation is shows on cells whose pairs the model was not trained on: keep some from it, as with
    ``cvi.pp.link(hide=0.2)`` or ``train_size``, or show new cells. Titles say how many cells there are, and whether
    they are held out or trained on.

    Parameters
    ----------
    %(imputed)s
    %(imputed_from_to)s
    features
        Features to show. None ranks them by correlation and takes the middle one of each of `n_features` equal parts,
        from the best to the worst; titles have the ranks. Features take part whose measured value differs from its
        median in a tenth of the cells (10 suffice, 3 are needed).
    %(imputed_layer)s
    %(imputed_cells)s
    n_features
        Number of panels if `features` is None, at least 1.
    %(imputed_key)s
    %(size)s
    %(panels)s
    %(show)s

    Returns
    -------
    %(drawn)s

    Raises
    ------
    KeyError
        If imputed values, features or cells are missing.
    ValueError
        If no cell has both values, or no feature varies over them.

    Examples
    --------
    >>> import couplevi as cvi
    >>> mdata = cvi.data.branching_manifold(n_obs=100)
    >>> quick = {"max_epochs": 2, "enable_progress_bar": False}
    >>> model = cvi.tl.jamie(mdata, modalities=("rna", "ephys"), train_kwargs=quick)
    >>> cvi.tl.impute(mdata, model, source="rna", target="ephys")
    >>> axes = cvi.pl.imputation(mdata, source="rna", target="ephys", features=["ephys0", "ephys1"], show=False)
    >>> len(axes)
    2
    """
    check_count(n_features, "n_features")
    values = imputed_values(mdata, source, target, [key], layer=layer, features=features, cells=cells)
    measured, imputed = values.measured, values.imputed[key]
    r = pearson_per_feature(measured, imputed)
    is_split, auroc = is_mostly_zero(measured), auroc_of_open(measured, imputed)
    if features is None:
        ranked = _ranked(measured, r)
        ranks = np.unique(((np.arange(n_features) + 0.5) * len(ranked) / n_features).astype(int))
        chosen, of_all = ranked[ranks], [f", rank {rank + 1} of {len(ranked)}" for rank in ranks]
    else:
        chosen, of_all = np.arange(len(r)), [""] * len(r)
    axes = make_axes(len(chosen), ax, width=2.8, height=3.3 if is_split.any() else 2.8)
    area = size or 10_000 / max(500, len(values.cells))
    for i, rank, axes_i in zip(chosen, of_all, axes, strict=True):
        x, y = measured[:, i], imputed[:, i]
        score = f"r = {r[i]:.2f}{rank}"
        if is_split[i]:
            score += f"\nAUROC {auroc[i]:.2f}"
            _split(axes_i, x > 0, y, area)
        else:
            axes_i.scatter(x, y, s=area, color=BLUE, linewidths=0, alpha=0.6, rasterized=True)
            ends = [min(x.min(), y.min()), max(x.max(), y.max())]
            axes_i.plot(ends, ends, color="grey", linewidth=0.8, linestyle="--", zorder=0)
        axes_i.set_title(f"{values.features[i]}\n{score}\n{values.told}", fontsize="medium")
        axes_i.set(xlabel="measured", ylabel=f"imputed from {source}")
    return finish(axes, show, save, return_fig, "imputation")


def _split(ax: Axes, is_open: BoolArray, imputed: FloatArray, area: float) -> None:
    """Imputed values of cells without and with a measured one, with their quartiles."""
    rng = np.random.default_rng(0)
    for place, (cells, color) in enumerate(((~is_open, GREY), (is_open, BLUE))):
        x = place + rng.uniform(-SPREAD, SPREAD, int(cells.sum()))
        ax.scatter(x, imputed[cells], s=area, color=color, linewidths=0, alpha=0.6, rasterized=True)
        if cells.any():
            ax.boxplot(imputed[cells], positions=[place], widths=0.5, showfliers=False, medianprops={"color": "black"})
    ax.set_xticks([0, 1], [f"0\n{int((~is_open).sum()):,} cells", f"above 0\n{int(is_open.sum()):,} cells"])
    ax.set_xlim(-0.6, 1.6)


def _ranked(measured: FloatArray, r: FloatArray) -> IntArray:
    """Features that vary in more than a few cells, from the best correlation to the worst."""
    n_cells = len(measured)
    fewest = min(max(n_cells // 10, 3), 10)
    varies = (measured != np.median(measured, axis=0)).sum(axis=0) >= fewest
    if not varies.any():
        remedy = "Pass more `cells`, or name `features`."
        found = f"none over the {n_cells} cells"
        raise ValueError(expected(f"a feature that differs from its median in {fewest} cells", found, remedy))
    ranked = np.argsort(-r, kind="stable")
    return ranked[varies[ranked]]
