from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from couplevi._constants import Key
from couplevi._docs import fill_docs
from couplevi._validate import check_modality, check_mudata, expected
from couplevi.pl._figure import finish, legend_beside, make_axes, palette

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from mudata import MuData

MISSING_COLOR = "lightgrey"


@fill_docs
def latent(
    mdata: MuData,
    *,
    color: str | None = None,
    modalities: Sequence[str] | None = None,
    key: str = "jamie",
    size: float | None = None,
    ax: Sequence[Axes] | Axes | None = None,
    show: bool | None = None,
    save: str | os.PathLike[str] | bool | None = None,
    return_fig: bool = False,
) -> Figure | Axes | list[Axes] | None:
    """Modalities in their shared UMAP, a panel each, and on top of each other in a last one.

    Well-aligned modalities have each cell type at the same place, and overlap in the last panel.

    Parameters
    ----------
    mdata
        MuData with positions, as written by :func:`couplevi.tl.umap`.
    color
        Column of ``mdata.obs`` to colour the modalities' panels by: categories or numbers. Cells without a value are
        grey.
    modalities
        Modalities to show; None takes those of the model.
    key
        The `key_added` of the model.
    %(size)s
    %(panels)s
    %(show)s

    Returns
    -------
    %(drawn)s

    Raises
    ------
    KeyError
        If positions or the column are missing.
    ValueError
        If the number of axes is wrong.

    Examples
    --------
    >>> import couplevi as cvi
    >>> mdata = cvi.data.branching_manifold(n_obs=100)
    >>> quick = {"max_epochs": 2, "enable_progress_bar": False}
    >>> model = cvi.tl.jamie(mdata, modalities=("rna", "ephys"), train_kwargs=quick)
    >>> cvi.tl.umap(mdata)
    >>> axes = cvi.pl.latent(mdata, color="cell_type", show=False)
    >>> [a.get_title() for a in axes]
    ['rna', 'ephys', 'both']
    """
    check_mudata(mdata)
    slot = Key.obsm.umap(key)
    if modalities is None:
        modalities = list(mdata.uns.get(key, {}).get(Key.uns.MODALITIES, []))
    for m in modalities:
        check_modality(mdata, m, "modalities")
    if not modalities or any(slot not in mdata[m].obsm for m in modalities):
        raise KeyError(expected(f"positions in `.obsm[{slot!r}]`", "none", "Run `cvi.tl.umap(mdata)` first."))
    if color is not None and color not in mdata.obs:
        raise KeyError(expected(f"`mdata.obs[{color!r}]`", f"columns {list(mdata.obs.columns)}"))
    axes = make_axes(len(modalities) + 1, ax)
    positions = {m: np.asarray(mdata[m].obsm[slot]) for m in modalities}
    area = size or 15_000 / max(500, max(map(len, positions.values())))
    reference = pd.Series() if color is None else mdata.obs[color]
    for m, axes_m in zip(modalities, axes, strict=False):
        values = None if color is None else reference.reindex(mdata[m].obs_names)
        _scatter(axes_m, positions[m], values, reference, area)
        axes_m.set_title(m)
    together = np.concatenate(list(positions.values()))
    origin = pd.Series(np.repeat(list(modalities), [len(p) for p in positions.values()]))
    shuffled = np.random.default_rng(0).permutation(len(together))  # so that no modality lies on top
    _scatter(axes[-1], together[shuffled], origin.iloc[shuffled], origin, area)
    axes[-1].set_title("both" if len(modalities) == 2 else "all")
    for axes_m in axes:
        axes_m.set(xlabel="UMAP 1", ylabel="UMAP 2", xticks=[], yticks=[])
        axes_m.set_xlim(axes[-1].get_xlim())
        axes_m.set_ylim(axes[-1].get_ylim())
    for axes_m in axes[: len(modalities) - 1]:  # one legend serves all modalities
        if (legend := axes_m.get_legend()) is not None:
            legend.remove()
    return finish(axes, show, save, return_fig, "latent")


def _scatter(ax: Axes, positions: np.ndarray, values: pd.Series | None, reference: pd.Series, area: float) -> None:
    """Points coloured by category with a legend, or by number with a colour bar, on the scale of `reference`."""
    points = partial(ax.scatter, s=area, linewidths=0, rasterized=True)
    if values is None:
        points(*positions.T, color="tab:blue")
        return
    missing = values.isna().to_numpy()
    points(*positions[missing].T, color=MISSING_COLOR)
    if pd.api.types.is_numeric_dtype(reference) and not pd.api.types.is_bool_dtype(reference):
        limits = {"vmin": reference.min(), "vmax": reference.max()}
        shown = points(*positions[~missing].T, c=values[~missing], cmap="viridis", **limits)
        ax.figure.colorbar(shown, ax=ax, label=str(reference.name))
        return
    colors = palette(sorted(reference.dropna().astype(str).unique()))
    names = values.astype(str).to_numpy()
    points(*positions[~missing].T, c=[colors[name] for name in names[~missing]])
    for name, c in colors.items():
        ax.scatter([], [], color=c, label=name)
    if colors:
        legend_beside(ax, 1 + len(colors) // 18)
