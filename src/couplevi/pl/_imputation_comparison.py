from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from couplevi._docs import fill_docs
from couplevi._validate import expected
from couplevi.metrics import binomial_comparison, pearson_per_feature
from couplevi.pl._figure import BLUE, ORANGE, finish, make_axes
from couplevi.pl._values import auroc_of_open, imputed_values, is_mostly_zero

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from mudata import MuData


@fill_docs
def imputation_comparison(
    mdata: MuData,
    *,
    source: str,
    target: str,
    baseline: str = "knn",
    layer: str | None = None,
    cells: Sequence[str] | None = None,
    key: str = "jamie",
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | os.PathLike[str] | bool | None = None,
    return_fig: bool = False,
) -> Figure | Axes | list[Axes] | None:
    """Two imputations, feature by feature: the correlation of each with the measured values.

    Where most features are 0 or one other value, or 0 in three quarters of the cells, as those of chromatin are, it is
    the area under the ROC curve of telling which measured values are above 0. Above the diagonal the model is better; the title counts features and gives the two-tailed binomial p-value.

    Parameters
    ----------
    mdata
        MuData with both imputations, as written by :func:`couplevi.tl.impute` and
        :func:`couplevi.tl.impute_baseline`.
    %(imputed_from_to)s
    baseline
        The `key_added` of the imputation on the horizontal axis.
    %(imputed_layer)s
    %(imputed_cells)s
    key
        The `key_added` of the imputation on the vertical axis.
    %(ax)s
    %(show)s

    Returns
    -------
    %(drawn)s

    Raises
    ------
    KeyError
        If an imputation, the layer or a cell is missing.
    ValueError
        If no cell has all values, or no feature varies over them.

    References
    ----------
    %(jamie_paper)s, panels f of its figures.

    Examples
    --------
    >>> import couplevi as cvi
    >>> mdata = cvi.data.branching_manifold(n_obs=100)
    >>> quick = {"max_epochs": 2, "enable_progress_bar": False}
    >>> model = cvi.tl.jamie(mdata, modalities=("rna", "ephys"), train_kwargs=quick)
    >>> cvi.tl.impute(mdata, model, source="rna", target="ephys")
    >>> cvi.tl.impute_baseline(mdata, model, source="rna", target="ephys", method="knn")
    >>> ax = cvi.pl.imputation_comparison(mdata, source="rna", target="ephys", baseline="knn", show=False)
    >>> ax.get_xlabel()
    'knn, correlation'
    """
    values = imputed_values(mdata, source, target, [key, baseline], layer=layer, cells=cells)
    is_open = is_mostly_zero(values.measured).mean() > 0.5
    score, told = (auroc_of_open, "AUROC") if is_open else (pearson_per_feature, "correlation")
    ours, other = (score(values.measured, values.imputed[name]) for name in (key, baseline))
    if not np.isfinite(ours).any():
        found = f"{len(values.cells)} cells"
        raise ValueError(expected("cells over which a measured feature varies", found, "Pass more `cells`."))
    result = binomial_comparison(ours, other)
    axes = make_axes(1, ax)
    area = 15_000 / max(1_000, len(ours))
    axes[0].scatter(
        other, ours, s=area, c=np.where(ours > other, BLUE, ORANGE), linewidths=0, alpha=0.7, rasterized=True
    )
    both = np.concatenate([ours, other])
    low, high = float(np.nanmin(both)) - 0.03, float(np.nanmax(both)) + 0.03
    axes[0].plot([low, high], [low, high], color="grey", linewidth=0.8, linestyle="--", zorder=0)
    axes[0].set(xlim=(low, high), ylim=(low, high), xlabel=f"{baseline}, {told}", ylabel=f"{key}, {told}")
    axes[0].set_title(
        f"{target} from {source}, {values.told}\n"
        f"{key} better: {result.wins}, worse: {result.losses}, p = {result.p_value:.1g}",
        fontsize="medium",
    )
    axes[0].set_aspect("equal")
    return finish(axes, show, save, return_fig, "imputation_comparison")
