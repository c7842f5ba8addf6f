from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from couplevi._constants import Key
from couplevi._docs import fill_docs
from couplevi._validate import check_cells, check_modality, check_mudata, expected
from couplevi.pl._colors import Colored, colored_by
from couplevi.pl._figure import BLUE, finish, legend_beside, make_axes, palette
from couplevi.pl._names import name_points, number_points

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure
    from mudata import MuData

MISSING_COLOR = "lightgrey"
MOST_NAMES = 20
"""Categories up to which colours alone tell them apart; more are numbered in the panels and in the legend."""
LENGTHS = (40, 24, 14, 8)
"""Characters of a name in a legend; fewer than the first beside axes that were given, if it needs too much of them."""
OF_GIVEN = 0.5
"""Part of the width of axes that were given that a legend may take."""
ROW = 0.18
"""Height of a line of a legend in inches."""


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
        in the colours of ``uns["{color}_colors"]`` where scanpy or you put them; more than 20 are numbered.
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
    explained = [_together(together, positions, area)]
    for i, (name, colored) in enumerate(zip(names, found, strict=True)):
        for m, axes_m in zip(modalities, apart[i * n :], strict=False):
            shown = _scatter(axes_m, positions[m], colored, mdata[m].obs_names, area)
            axes_m.set_title(m if len(names) == 1 else f"{m}, {name}")
        if colored is not None:  # one legend or colour bar serves all modalities
            explained.append(_Explained(apart[(i + 1) * n - 1], colored, shown, name))
    for axes_m in axes:
        axes_m.set(xlabel="UMAP 1", ylabel="UMAP 2", xticks=[], yticks=[])
        axes_m.set(xlim=together.get_xlim(), ylim=together.get_ylim())
    _explain(explained, is_new=ax is None)
    for i, colored in enumerate(found):
        if colored is not None and colored.colors:
            row = apart[i * n : (i + 1) * n]
            has_legend = row[-1].get_legend() is not None
            if len(colored.colors) > MOST_NAMES or not has_legend:
                for m, axes_m in zip(modalities, row, strict=True):
                    _name(axes_m, positions[m], colored.values.reindex(mdata[m].obs_names), colored.colors, has_legend)
    return finish(axes, show, save, return_fig, "latent")


class _Explained(NamedTuple):
    """Axes beside which it is said what colours mean."""

    ax: Axes
    colored: Colored
    numbers: ScalarMappable | None
    name: str | None


def _panels(n_rows: int, n_modalities: int, ax: Sequence[Axes] | Axes | None) -> list[Axes]:
    """Axes of the modalities, then that of all together, and then those of the modalities in further rows."""
    if ax is not None or n_rows < 2:
        return make_axes(n_rows * n_modalities + 1 if n_rows else 0, ax)
    grid = make_axes(n_rows * (n_modalities + 1), None, n_columns=n_modalities + 1)
    below = grid[2 * n_modalities + 1 :: n_modalities + 1]
    for spare in below:
        spare.set_axis_off()
    return [axes for axes in grid if axes not in below]


def _together(ax: Axes, positions: Mapping[str, np.ndarray], area: float) -> _Explained:
    """All modalities on top of each other, coloured by modality."""
    together = np.concatenate(list(positions.values()))
    origin = np.repeat(list(positions), [len(p) for p in positions.values()])
    shuffled = np.random.default_rng(0).permutation(len(together))  # so that no modality lies on top
    colored = Colored(pd.Series(origin[shuffled]), palette(list(positions)))
    _scatter(ax, together[shuffled], colored, colored.values.index, area)
    ax.set_title("both" if len(positions) == 2 else "all")
    return _Explained(ax, colored, None, None)


def _scatter(
    ax: Axes, positions: np.ndarray, colored: Colored | None, cells: pd.Index, area: float
) -> ScalarMappable | None:
    """Points coloured by category or by number, on the scale of all cells; what is drawn of numbers."""
    points = partial(ax.scatter, s=area, linewidths=0, rasterized=True)
    if colored is None:
        points(*positions.T, color=BLUE)
        return None
    values = colored.values.reindex(cells)
    missing = values.isna().to_numpy()
    points(*positions[missing].T, color=MISSING_COLOR)
    x, y = positions[~missing].T
    known = values[~missing].to_numpy()
    if colored.colors is not None:
        points(x, y, c=[colored.colors[category] for category in known])
        return None
    order = np.argsort(known, kind="stable")  # the largest on top
    limits = {"vmin": colored.values.min(), "vmax": colored.values.max()}
    return points(x[order], y[order], c=known[order], cmap="viridis", **limits)


def _explain(explained: Sequence[_Explained], is_new: bool) -> None:
    """Legends and colour bars beside their panels, for which a new figure grows, and axes that were given shrink."""
    figure = explained[0].ax.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # how high the axes are, is known once the layout is
    widths: dict[bool, list[float]] = {True: [0], False: [0]}  # by whether all modalities are in that column
    for ax, colored, numbers, name in explained:
        if colored.colors is not None:
            width = _legend(ax, colored.colors, LENGTHS[:1] if is_new else LENGTHS)
        elif numbers is not None and colored.values.notna().any():
            # beside its own panel, however wide the legends of other rows are
            bar = figure.colorbar(numbers, cax=ax.inset_axes((1.04, 0, 0.05, 1)), label=str(name))
            extent = bar.ax.get_tightbbox()
            assert extent is not None
            width = extent.x1 - ax.get_window_extent().x1
        else:
            continue
        widths[name is None].append(width)
        if not is_new and figure.get_layout_engine() is None:
            place = ax.get_position()
            ax.set_position((place.x0, place.y0, place.width - width / figure.bbox.width, place.height))
    if is_new:
        figure.set_figwidth(figure.get_figwidth() + sum(map(max, widths.values())) / figure.dpi)


def _legend(ax: Axes, colors: Mapping[str, Any], lengths: Sequence[int]) -> float:
    """A legend as high as its axes, with the longest names for which there is room; its width in pixels, 0 without one."""
    dpi = ax.figure.dpi
    n_columns = -(-len(colors) // max(1, int(ax.get_window_extent().height / dpi / ROW)))
    room = OF_GIVEN * ax.get_window_extent().width
    for length in lengths if colors else ():
        names = [_cut(category, length) for category in colors]
        if len(names) > MOST_NAMES:
            names = [f"{i}  {name}" for i, name in enumerate(names, start=1)]
        style: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 6}
        handles = [Line2D([], [], color=c, label=n, **style) for c, n in zip(colors.values(), names, strict=True)]
        legend = legend_beside(ax, n_columns, handles)
        width = float(legend.get_window_extent().width)
        if width <= room or len(lengths) == 1:
            return width
        legend.remove()
    return 0.0


def _name(ax: Axes, positions: np.ndarray, values: pd.Series, colors: Mapping[str, Any], is_numbered: bool) -> None:
    """Write the number of each category, as in the legend, or its name over the middle of its cells."""
    place = pd.DataFrame(positions[:, :2], values.index).groupby(values, sort=False).median()
    here = [(i, category) for i, category in enumerate(colors, start=1) if category in place.index]
    xy = place.loc[[category for _, category in here]].to_numpy()
    if is_numbered:
        number_points(ax, xy, [colors[category] for _, category in here], numbers=[i for i, _ in here])
    else:
        name_points(ax, xy, [_cut(category, LENGTHS[1]) for _, category in here], avoid=xy)


def _cut(name: str, length: int) -> str:
    """A name without its middle if it is longer: types of cells often differ in their last characters."""
    tail = length // 2 - 1
    return name if len(name) <= length else f"{name[: length - tail - 1]}…{name[-tail:]}"
