from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from couplevi._arrays import dense
from couplevi._constants import Key
from couplevi._validate import check_count, check_modality, check_mudata, expected, find_names
from couplevi.metrics import pearson_per_feature
from couplevi.pl._figure import finish, make_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from mudata import MuData


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
    save: str | os.PathLike[str] | None = None,
    return_fig: bool = False,
) -> Figure | Axes | list[Axes] | None:
    """Measured against imputed values, one panel per feature, with their correlation.

    Whether this flatters depends on the cells: keep some pairs from the model, as with ``cvi.pp.link(hide=0.2)``, and
    show only these: ``mdata[cells].copy()``.

    Parameters
    ----------
    mdata
        MuData with imputed values beside measured ones, as written by :func:`couplevi.tl.impute`.
    source, target
        Modality that was imputed from, and the one imputed.
    features
        Features to show; None takes the `n_features` with the best correlation.
    layer
        Layer of the target that was registered; None is ``X``.
    n_features
        Number of panels if `features` is None, at least 1.
    key
        The `key_added` of the imputation.
    size
        Area of a point in square points; None chooses by the number of cells.
    ax
        One axes per feature; None makes a figure.
    show, save, return_fig
        Show the figure, write it to a path, return it; as in scanpy.

    Returns
    -------
    None if shown, the figure with `return_fig`, else the axes.

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
    check_modality(check_mudata(mdata), target, "target")
    check_count(n_features, "n_features")
    profiles = mdata[target]
    slot = Key.layers.imputed(key, source)
    for name in filter(None, (slot, layer)):
        if name not in profiles.layers:
            remedy = f"Run `cvi.tl.impute(mdata, model, source={source!r}, target={target!r})` first."
            raise KeyError(expected(f"`mdata[{target!r}].layers[{name!r}]`", f"layers {list(profiles.layers)}", remedy))
    imputed = np.asarray(profiles.layers[slot])
    cells = np.isfinite(imputed).any(axis=1)
    if not cells.any():
        raise ValueError(expected(f"cells measured in {source!r} and {target!r}", "none"))
    columns = np.flatnonzero(np.isfinite(imputed[cells]).all(axis=0))
    if features is not None:
        columns = find_names(profiles.var_names, features, f"features of modality {target!r}")
    measured = dense((profiles.layers[layer] if layer else profiles.X)[cells][:, columns])
    r = pearson_per_feature(measured, imputed[cells][:, columns])
    chosen = np.arange(len(columns)) if features is not None else np.argsort(-np.nan_to_num(r))[:n_features]
    axes = make_axes(len(chosen), ax, width=2.8, height=2.8)
    area = size or 10_000 / max(500, cells.sum())
    for i, axes_i in zip(chosen, axes, strict=True):
        x, y = measured[:, i], imputed[cells, columns[i]]
        axes_i.scatter(x, y, s=area, linewidths=0, alpha=0.6, rasterized=True)
        ends = [min(x.min(), y.min()), max(x.max(), y.max())]
        axes_i.plot(ends, ends, color="grey", linewidth=0.8, linestyle="--", zorder=0)
        axes_i.set_title(f"{profiles.var_names[columns[i]]}\nr = {r[i]:.2f}", fontsize="medium")
        axes_i.set(xlabel="measured", ylabel=f"imputed from {source}")
    return finish(axes, show, save, return_fig)
