from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from couplevi._docs import fill_docs
from couplevi._validate import check_count
from couplevi.metrics import pearson_per_feature
from couplevi.pl._figure import finish, make_axes
from couplevi.pl._values import imputed_values

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from mudata import MuData


@fill_docs
def imputation(
    mdata: MuData,
    *,
    source: str,
    target: str,
    features: Sequence[str] | str | None = None,
    layer: str | None = None,
    n_features: int = 8,
    key: str = "jamie",
    size: float | None = None,
    ax: Sequence[Axes] | Axes | None = None,
    show: bool | None = None,
    save: str | os.PathLike[str] | bool | None = None,
    return_fig: bool = False,
) -> Figure | Axes | list[Axes] | None:
    """Measured against imputed values, one panel per feature, with their correlation.

    Whether this flatters depends on the cells: keep some pairs from the model, as with ``cvi.pp.link(hide=0.2)``, and
    show only these: ``mdata[cells].copy()``.

    Parameters
    ----------
    %(imputed)s
    %(imputed_from_to)s
    features
        Features to show; None takes the `n_features` with the best correlation.
    %(imputed_layer)s
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
        If imputed values or features are missing.
    ValueError
        If no cell has both values.

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
    values = imputed_values(mdata, source, target, [key], layer=layer, features=features)
    measured, imputed = values.measured, values.imputed[key]
    r = pearson_per_feature(measured, imputed)
    chosen = np.arange(len(r)) if features is not None else np.argsort(-np.nan_to_num(r))[:n_features]
    axes = make_axes(len(chosen), ax, width=2.8, height=2.8)
    area = size or 10_000 / max(500, len(values.cells))
    for i, axes_i in zip(chosen, axes, strict=True):
        x, y = measured[:, i], imputed[:, i]
        axes_i.scatter(x, y, s=area, linewidths=0, alpha=0.6, rasterized=True)
        ends = [min(x.min(), y.min()), max(x.max(), y.max())]
        axes_i.plot(ends, ends, color="grey", linewidth=0.8, linestyle="--", zorder=0)
        axes_i.set_title(f"{values.features[i]}\nr = {r[i]:.2f}", fontsize="medium")
        axes_i.set(xlabel="measured", ylabel=f"imputed from {source}")
    return finish(axes, show, save, return_fig, "imputation")
