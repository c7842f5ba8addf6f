from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from couplevi._constants import Key
from couplevi._docs import fill_docs
from couplevi._validate import check_cells, check_modality, check_mudata, expected
from couplevi.pl._colors import Colored, colored_by
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
    color: Sequence[str] | str | None = None,
    layers: Mapping[str, str | None] | None = None,
    modalities: Sequence[str] | None = None,
    key: str = "jamie",
    size: float | None = None,
    ax: Sequence[Axes] | Axes | None = None,
    show: bool | None = None,
    save: str | os.PathLike[str] | bool | None = None,
    return_fig: bool = False,
) -> Figure | Axes | list[Axes] | None:
    """Modalities in their shared UMAP, a panel each, and on top of each other in one more.

    Well-aligned modalities have each cell type at the same place, and overlap in that panel, which is coloured by
    modality.

    Parameters
    ----------
    mdata
        MuData with positions, as written by :func:`couplevi.tl.umap`.
    color
        What to colour the modalities' panels by; each further one adds a row of these. A column of ``mdata.obs`` or
        of the modalities, categories or numbers, or a feature of any modality, for all cells in which it was measured;
        ``"rna:Gad1"`` is that of one modality. Cells without a value are grey. Categories come in their order, and
        in the colours of ``uns["{color}_colors"]`` where scanpy or you put them.
    layers
        Layer of each modality to read features from; ``X`` for those left out.
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
        If positions, the column or feature, or its layer are missing.
    ValueError
        If `ax` has another number of axes, or several modalities have the feature.

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
    slot = Key.obsm.umap(key)
    check_cells(mdata, list(check_mudata(mdata).mod))
    if modalities is None:
        modalities = list(mdata.uns.get(key, {}).get(Key.uns.MODALITIES, []))
    for m in modalities:
        check_modality(mdata, m, "modalities")
    if not modalities or any(slot not in mdata[m].obsm for m in modalities):
        raise KeyError(expected(f"positions in `.obsm[{slot!r}]`", "none", "Run `cvi.tl.umap(mdata)` first."))
    names = [color] if color is None or isinstance(color, str) else list(color)
    found = [None if name is None else colored_by(mdata, name, modalities, layers or {}) for name in names]
    positions = {m: np.asarray(mdata[m].obsm[slot]) for m in modalities}
    area = size or 15_000 / max(500, max(map(len, positions.values())))
    axes = _panels(len(names), len(modalities), ax)
    n = len(modalities)
    together, apart = axes[n], [*axes[:n], *axes[n + 1 :]]
    _together(together, positions, area)
    for i, (name, colored) in enumerate(zip(names, found, strict=True)):
        for m, axes_m in zip(modalities, apart[i * n : (i + 1) * n], strict=True):
            values = None if colored is None else colored.values.reindex(mdata[m].obs_names)
            explained = name if m == modalities[-1] else None  # one legend or colour bar serves all modalities
            _scatter(axes_m, positions[m], values, colored, area, explained)
            axes_m.set_title(m if len(names) == 1 else f"{m}, {name}")
    for axes_m in axes:
        axes_m.set(xlabel="UMAP 1", ylabel="UMAP 2", xticks=[], yticks=[])
        axes_m.set(xlim=together.get_xlim(), ylim=together.get_ylim())
    return finish(axes, show, save, return_fig, "latent")


def _panels(n_rows: int, n_modalities: int, ax: Sequence[Axes] | Axes | None) -> list[Axes]:
    """Axes of the modalities, then that of all together, and then those of the modalities in further rows."""
    if ax is not None or n_rows < 2:
        return make_axes(n_rows * n_modalities + 1 if n_rows else 0, ax)
    grid = make_axes(n_rows * (n_modalities + 1), None, n_columns=n_modalities + 1)
    below = grid[2 * n_modalities + 1 :: n_modalities + 1]
    for spare in below:
        spare.set_axis_off()
    return [axes for axes in grid if axes not in below]


def _together(ax: Axes, positions: Mapping[str, np.ndarray], area: float) -> None:
    """All modalities on top of each other, coloured by modality."""
    origin = pd.Series(np.repeat(list(positions), [len(p) for p in positions.values()]))
    together = np.concatenate(list(positions.values()))
    shuffled = np.random.default_rng(0).permutation(len(together))  # so that no modality lies on top
    values = origin.iloc[shuffled]
    _scatter(ax, together[shuffled], values, Colored(origin, palette(list(positions))), area, "modality")
    ax.set_title("both" if len(positions) == 2 else "all")


def _scatter(
    ax: Axes, positions: np.ndarray, values: pd.Series | None, colored: Colored | None, area: float, name: str | None
) -> None:
    """Points coloured by category or by number, on the scale of all cells; explained beside if there is a name."""
    points = partial(ax.scatter, s=area, linewidths=0, rasterized=True)
    if values is None or colored is None:
        points(*positions.T, color="tab:blue")
        return
    missing = values.isna().to_numpy()
    points(*positions[missing].T, color=MISSING_COLOR)
    x, y = positions[~missing].T
    known = values[~missing].to_numpy()
    if colored.colors is not None:
        points(x, y, c=[colored.colors[category] for category in known])
        if name is not None and colored.colors:
            for category, c in colored.colors.items():
                ax.scatter([], [], color=c, label=category)
            legend_beside(ax, 1 + len(colored.colors) // 18)
        return
    order = np.argsort(known, kind="stable")  # the largest on top
    limits = {"vmin": colored.values.min(), "vmax": colored.values.max()}
    shown = points(x[order], y[order], c=known[order], cmap="viridis", **limits)
    if name is not None and colored.values.notna().any():
        # beside its own panel, however wide the legends of other rows are
        ax.figure.colorbar(shown, cax=ax.inset_axes((1.04, 0, 0.05, 1)), label=name)
