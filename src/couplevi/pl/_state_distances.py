from __future__ import annotations

import os
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.colors import Normalize
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from couplevi._docs import fill_docs
from couplevi._validate import expected
from couplevi.pl._figure import finish, make_axes
from couplevi.pl._names import name_cells

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from couplevi._types import FloatArray, IntArray

ROW = 0.17
"""Height of a state in inches, up to `MOST_ROWS` of them."""
MOST_ROWS = 60


@fill_docs
def state_distances(
    distances: pd.DataFrame,
    *,
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | os.PathLike[str] | bool | None = None,
    return_fig: bool = False,
) -> Figure | Axes | list[Axes] | None:
    """How far states are from each other, similar ones side by side.

    States are ordered by average linkage. The scale begins at the smallest distance between two states; what has none
    is grey, and the diagonal, whose distance is 0, white. Up to about 60 states each is named, of more every second or
    third.

    Parameters
    ----------
    distances
        As returned by :meth:`couplevi.model.OTGM.distances`: states by states, NaN where there is no distance.
    %(ax)s
    %(show)s

    Returns
    -------
    %(drawn)s

    Raises
    ------
    TypeError
        If `distances` is not a frame.
    ValueError
        If rows and columns are not the same two or more states, or distances are below 0, infinite, not symmetric, or
        all missing.

    Examples
    --------
    >>> import couplevi as cvi
    >>> adata = cvi.data.perturbation_screen(n_obs=200)
    >>> model = cvi.tl.otgm(adata, state_key="perturbation", control="control", layer="log1p", n_pcs=10)
    >>> ax = cvi.pl.state_distances(model.distances(), show=False)
    >>> sorted(label.get_text() for label in ax.get_xticklabels())
    ['control', 'gene0', 'gene1', 'gene2', 'gene3']
    """
    table = _checked(distances)
    order = _similar_first(table)
    names = [str(distances.index[i]) for i in order]
    between = table[~np.eye(len(table), dtype=bool)]
    low, high = float(np.nanmin(between)), float(np.nanmax(between))
    n_rows = min(len(names), MOST_ROWS)
    margin = 0.065 * max(map(len, names))
    side = max(2.6, ROW * n_rows) + margin
    [axes] = make_axes(1, ax, width=side + 1.4, height=side + 0.4)
    colors = mpl.colormaps["viridis_r"].with_extremes(bad="0.8", under="white")
    limits = Normalize(low if high > low else 0.0, high if high > 0 else 1.0)
    image = axes.imshow(np.ma.masked_invalid(table[np.ix_(order, order)]), cmap=colors, norm=limits)
    axes.figure.colorbar(image, ax=axes, label="distance, in the units of the values", shrink=0.8)
    name_cells(axes, names, names)
    return finish([axes], show, save, return_fig, "state_distances")


def _checked(distances: pd.DataFrame) -> FloatArray:
    """The distances as an array, 0 on the diagonal."""
    if not isinstance(distances, pd.DataFrame):
        raise TypeError(expected("a frame of distances", type(distances).__name__, "Pass `model.distances()`."))
    if len(distances) < 2 or list(distances.index) != list(distances.columns):
        found = f"{distances.shape[0]} rows and {distances.shape[1]} columns"
        raise ValueError(
            expected("rows and columns of the same two or more states", found, "Pass `model.distances()`.")
        )
    table = distances.to_numpy(dtype=float, copy=True)
    np.fill_diagonal(table, 0)
    if not np.allclose(table, table.T, equal_nan=True):
        raise ValueError(expected("distances that are symmetric", "others"))
    if np.isinf(table).any() or (table < 0).any():
        raise ValueError(expected("finite distances of at least 0", f"{np.nanmin(table):g} to {np.nanmax(table):g}"))
    if np.isnan(table[~np.eye(len(table), dtype=bool)]).all():
        raise ValueError(expected("a distance between two states", "none"))
    return table


def _similar_first(table: FloatArray) -> IntArray:
    """Order of the states in which similar ones are neighbours; those without a distance are taken for far apart."""
    if len(table) < 3:
        return np.arange(len(table))
    filled = np.where(np.isnan(table), np.nanmax(table), table)
    between = squareform((filled + filled.T) / 2, checks=False)
    return leaves_list(linkage(between, "average", optimal_ordering=True))
