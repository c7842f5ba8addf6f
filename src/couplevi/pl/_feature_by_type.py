from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from couplevi._docs import fill_docs
from couplevi.metrics import pearson_per_feature
from couplevi.pl._figure import BLUE, finish, legend_beside, make_axes
from couplevi.pl._values import imputed_values, is_mostly_zero, shown_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from mudata import MuData

COLORS = {"measured": "0.7", "imputed": BLUE}


@fill_docs
def feature_by_type(
    mdata: MuData,
    *,
    source: str,
    target: str,
    features: Sequence[str] | str,
    labels: str,
    layer: str | None = None,
    cells: Sequence[str] | None = None,
    key: str = "jamie",
    ax: Sequence[Axes] | Axes | None = None,
    show: bool | None = None,
    save: str | os.PathLike[str] | bool | None = None,
    return_fig: bool = False,
) -> Figure | Axes | list[Axes] | None:
    """Measured beside imputed values of a feature in each cell type, as box plots.

    Of a feature that is 0 or one other value, or 0 in three quarters of the cells, as those of chromatin are, the means
    of the types are shown: for values 0 and 1 the share of open cells.

    Imputed values vary less than measured ones inside a type: they are expectations, without noise.

    Parameters
    ----------
    %(imputed)s
    %(imputed_from_to)s
    features
        Features of the target, one panel each.
    %(cell_types)s
    %(imputed_layer)s
    %(imputed_cells)s
    %(imputed_key)s
    %(panels)s
    %(show)s

    Returns
    -------
    %(drawn)s

    Raises
    ------
    KeyError
        If the imputation, the layer, a feature, the column or a cell is missing.
    ValueError
        If no cell has all values, or none has a label.

    References
    ----------
    %(jamie_paper)s, panels e of its figures.

    Examples
    --------
    >>> import couplevi as cvi
    >>> mdata = cvi.data.branching_manifold(n_obs=100)
    >>> quick = {"max_epochs": 2, "enable_progress_bar": False}
    >>> model = cvi.tl.jamie(mdata, modalities=("rna", "ephys"), train_kwargs=quick)
    >>> cvi.tl.impute(mdata, model, source="rna", target="ephys")
    >>> ax = cvi.pl.feature_by_type(
    ...     mdata, source="rna", target="ephys", features="ephys0", labels="cell_type", show=False
    ... )
    >>> [label.get_text() for label in ax.get_xticklabels()]
    ['A', 'B', 'C']
    """
    values = imputed_values(mdata, source, target, [key], layer=layer, features=features, cells=cells)
    types = shown_labels(mdata, labels, values.cells)
    shown = list(types.cat.categories)
    r = pearson_per_feature(values.measured, values.imputed[key])
    is_mean = is_mostly_zero(values.measured)
    axes = make_axes(len(values.features), ax, width=max(2.8, 1.5 + 0.45 * len(shown)), height=3.4)
    for i, axes_i in enumerate(axes):
        for offset, name, x in zip((-0.2, 0.2), COLORS, (values.measured, values.imputed[key]), strict=True):
            if is_mean[i]:
                by_type = pd.Series(x[:, i]).groupby(types.array, observed=True).agg(["mean", "sem"])
                place = np.arange(len(shown)) + offset
                style: dict[str, Any] = {"color": COLORS[name], "ecolor": "black", "error_kw": {"linewidth": 0.8}}
                axes_i.bar(place, by_type["mean"], 0.35, yerr=by_type["sem"], label=name, **style)
                continue
            boxes = axes_i.boxplot(
                [x[(types == label).to_numpy(), i] for label in shown],
                positions=np.arange(len(shown)) + offset,
                widths=0.35,
                patch_artist=True,
                boxprops={"facecolor": COLORS[name], "linewidth": 0.6},
                medianprops={"color": "black"},
                flierprops={"markersize": 1.5, "markeredgewidth": 0.3},
            )
            boxes["boxes"][0].set_label(name)
        axes_i.set_xticks(range(len(shown)), shown, rotation=90)
        axes_i.set_title(f"{values.features[i]}\nr = {r[i]:.2f}\n{values.told}", fontsize="medium")
        axes_i.set_ylabel("mean, with its standard error" if is_mean[i] else "value")
    legend_beside(axes[-1])
    return finish(axes, show, save, return_fig, "feature_by_type")
