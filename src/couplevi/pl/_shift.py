from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from couplevi._docs import fill_docs
from couplevi._validate import check_count, expected, listing
from couplevi.pl._figure import BLUE, finish, make_axes
from couplevi.pl._names import name_points

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEWEST = 3
"""Features from which a correlation says anything."""


@fill_docs
def shift(
    predicted: pd.Series,
    measured: pd.Series,
    *,
    names: tuple[str, str] = ("predicted", "measured"),
    n_labels: int = 8,
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | os.PathLike[str] | bool | None = None,
    return_fig: bool = False,
) -> Figure | Axes | list[Axes] | None:
    """Measured against predicted shift of each feature, with their correlation (Pearson's r) and the line of equality.

    Parameters
    ----------
    predicted
        Shift of each feature, in the units of the values, such as of :meth:`couplevi.model.OTGM.predict_combination`.
        What was given to a prediction is no prediction: leave it out.
    measured
        Shift of each feature, such as ``delta`` of :meth:`couplevi.model.OTGM.rank_genes` by ``gene``. Features that
        both have are shown.
    names
        What the two are called on the axes.
    n_labels
        Features named: those furthest from 0 in either. One that finds no free place is left out.
    %(ax)s
    %(show)s

    Returns
    -------
    %(drawn)s

    Raises
    ------
    TypeError
        If one is not a Series.
    ValueError
        If a feature occurs twice, fewer than 3 have both shifts, or `n_labels` is below 0.

    Examples
    --------
    >>> import couplevi as cvi
    >>> adata = cvi.data.perturbation_screen(n_obs=300, doubles=True)
    >>> model = cvi.tl.otgm(adata, state_key="perturbation", control="control", layer="log1p", n_pcs=10)
    >>> measured = model.rank_genes("gene0+gene1").set_index("gene")["delta"]
    >>> ax = cvi.pl.shift(model.predict_combination(["gene0", "gene1"]), measured, show=False)
    >>> ax.get_ylabel()
    'measured shift'
    """
    check_count(n_labels, "n_labels", minimum=0)
    for name, series in (("predicted", predicted), ("measured", measured)):
        if not isinstance(series, pd.Series):
            raise TypeError(expected(f"`{name}` to be a Series by feature", type(series).__name__))
        if not series.index.is_unique:
            double = series.index[series.index.duplicated()].unique()
            raise ValueError(expected(f"each feature of `{name}` once", f"{listing(double, 3)} more than once"))
    both = pd.concat([predicted, measured], axis=1, join="inner", keys=["x", "y"]).astype(float)
    both = both.loc[np.isfinite(both.to_numpy()).all(axis=1)]
    if len(both) < FEWEST:
        raise ValueError(expected(f"at least {FEWEST} features with both shifts", len(both)))
    [axes] = make_axes(1, ax, width=4.6, height=4.2)
    axes.axhline(0, color="0.85", linewidth=0.8, zorder=0)
    axes.axvline(0, color="0.85", linewidth=0.8, zorder=0)
    area = 15_000 / max(500, len(both))
    axes.scatter(both["x"], both["y"], s=area, color=BLUE, linewidths=0, alpha=0.7, rasterized=True)
    axes.axline((0, 0), slope=1, color="0.4", linestyle="--", linewidth=1, zorder=0.5)
    axes.margins(0.1)
    axes.set(xlabel=f"{names[0]} shift", ylabel=f"{names[1]} shift")
    varies = bool((both.max() > both.min()).all())
    r = f"r = {both['x'].corr(both['y']):.3f}" if varies else "r undefined"
    axes.set_title(f"{r}, {len(both):,} features", fontsize="medium")
    largest = both.abs().max(axis=1).sort_values(ascending=False, kind="stable").index[:n_labels]
    name_points(axes, both.loc[largest].to_numpy(), [str(name) for name in largest], avoid=both.to_numpy())
    return finish([axes], show, save, return_fig, "shift")
