from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from couplevi._arrays import effective_matches
from couplevi._constants import MATCH, Key
from couplevi._docs import fill_docs
from couplevi._validate import check_mudata, expected
from couplevi.pl._colors import ordered_labels
from couplevi.pl._figure import BLUE, finish, make_axes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from mudata import MuData

N_BINS = 30


@fill_docs
def match(
    mdata: MuData,
    *,
    labels: str | None = None,
    key: str = MATCH,
    ax: Sequence[Axes] | Axes | None = None,
    show: bool | None = None,
    save: str | os.PathLike[str] | bool | None = None,
    return_fig: bool = False,
) -> Figure | Axes | list[Axes] | None:
    """How sharp an inferred correspondence is, and whether it keeps to labels.

    Parameters
    ----------
    mdata
        MuData with ``obsp[key]``, written by :func:`couplevi.tl.match`.
    labels
        Column of ``mdata.obs``, or of the ``obs`` of the modalities. Adds a panel with the share of each label's matches
        (rows) that goes to each label (columns); cells without a label are left out. Links that were known to
        :func:`couplevi.tl.match` take part, and the title counts them.
    key
        Of the correspondence.
    %(panels)s
    %(show)s

    Returns
    -------
    %(drawn)s

    Raises
    ------
    KeyError
        If the correspondence or the column is missing.
    ValueError
        If there is no match, no labelled one, or `ax` has another number of axes.

    Examples
    --------
    >>> import couplevi as cvi
    >>> mdata = cvi.data.branching_manifold(n_obs=40)
    >>> cvi.tl.match(mdata, modalities=("rna", "ephys"), layers={"rna": "log1p"})
    >>> axes = cvi.pl.match(mdata, labels="cell_type", show=False)
    """
    check_mudata(mdata)
    if key not in mdata.obsp:
        remedy = f"Run `cvi.tl.match(mdata, modalities=..., key_added={key!r})`."
        raise KeyError(expected(f"`mdata.obsp[{key!r}]`", f"keys {list(mdata.obsp)}", remedy))
    types = None if labels is None else ordered_labels(mdata, labels, mdata.obs_names)
    f = sp.coo_array(mdata.obsp[key])
    if f.nnz == 0:
        raise ValueError(expected(f"matches in `mdata.obsp[{key!r}]`", "none"))
    record = mdata.uns.get(key, {})
    rows, columns = record.get(Key.uns.MODALITIES, ("rows", "columns"))
    axes = make_axes(1 if types is None else 2, ax, width=4.6)
    _sharpness(axes[0], f, str(rows), str(columns))
    if types is not None:
        agreement = _agreement(axes[1], f, types, str(rows), str(columns))
        known = f", {n} links known" if (n := record.get("n_known")) else ""
        axes[1].set_title(f"{agreement:.1%} within labels{known}")
    return finish(axes, show, save, return_fig, "match")


def _sharpness(ax: Axes, f: sp.coo_array, rows: str, columns: str) -> None:
    matches = effective_matches(sp.csr_array(f))
    matches = matches[matches > 0]
    top = max(matches.max(), 1.5)
    ax.hist(matches, bins=list(np.geomspace(1, top, N_BINS)), color=BLUE)
    ax.axvline(float(np.median(matches)), color="0.2", linestyle="--", linewidth=1)
    ax.set(xscale="log", xlabel=f"effective matches in {columns}", ylabel=f"cells of {rows}")
    ax.set_title(f"median {np.median(matches):.3g} of {len(np.unique(f.coords[1]))}")


def _agreement(ax: Axes, f: sp.coo_array, labels: pd.Series, rows: str, columns: str) -> float:
    """Draw which labels go to which; the share that stays within a label."""
    row, column = f.coords
    place, names = labels.cat.codes.to_numpy(), list(labels.cat.categories)
    keep = (place[row] >= 0) & (place[column] >= 0)
    if not keep.any():
        raise ValueError(expected("matches between labelled cells", "none"))
    total = np.bincount(row, f.data, f.shape[0])
    share = np.zeros((len(names), len(names)))
    np.add.at(share, (place[row[keep]], place[column[keep]]), (f.data / total[row])[keep])
    agreement = np.trace(share) / share.sum()
    share /= share.sum(axis=1, keepdims=True).clip(min=1e-300)
    image = ax.imshow(share, vmin=0, vmax=1, cmap="viridis", aspect="auto")
    ax.figure.colorbar(image, ax=ax, label="share of the matches")
    ax.set_xticks(range(len(names)), names, rotation=90)
    ax.set_yticks(range(len(names)), names)
    ax.set(xlabel=f"label in {columns}", ylabel=f"label in {rows}")
    return float(agreement)
