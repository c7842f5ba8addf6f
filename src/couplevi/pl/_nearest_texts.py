from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D

from couplevi._constants import Key
from couplevi._docs import fill_docs
from couplevi._validate import check_count, expected, listing
from couplevi.pl._colors import category_colors
from couplevi.pl._cosines import compared, cosines, number, short, wrapped
from couplevi.pl._figure import finish, legend_beside, make_axes
from couplevi.pl._names import name_points, number_points

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from couplevi._protocols import FindsTexts
    from couplevi._types import FloatArray

MISSING_COLOR = "lightgrey"
MOST_NAMES = 8
"""Groups up to which texts are beside them; of more, in a legend by number."""
WIDTH, N_LINES = 24, 3
"""Characters and lines of a text beside its group."""
LONGEST, FEWEST = 76, 16
"""Characters of a line of the legend, and of a text in it, at least."""
OF_GIVEN = 0.5
"""Part of the width of axes that were given that the legend may take."""
PER_COLUMN = 40
"""Lines in a column of the legend."""
MOST_OBSTACLES = 5_000
"""Cells that texts keep off."""
DARKER = 0.7
"""Brightness of a text beside that of its group."""


@fill_docs
def nearest_texts(
    adata: AnnData,
    model: FindsTexts,
    *,
    groupby: str | None = None,
    corpus: Sequence[str] | str | None = None,
    n_texts: int = 1,
    basis: str = "umap",
    key: str = "celltext",
    size: float | None = None,
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | os.PathLike[str] | bool | None = None,
    return_fig: bool = False,
) -> Figure | Axes | list[Axes] | None:
    """Cells in two dimensions, with what the texts nearest to each group of them say.

    Each text comes with the cosine of it and the mean of the group's cells. Texts of more than 8 groups, or that do not
    fit, are in a legend, with numbers where the groups are.

    Parameters
    ----------
    adata
        Cells with the features of the model, and with positions.
    model
        Fitted :class:`~couplevi.model.CellText`.
    groupby
        Column of ``adata.obs`` with clusters or types; None takes the labels that :func:`couplevi.tl.annotate` wrote.
        Cells without a label (missing, ``"unknown"``) are grey. Colours are those of ``uns["{groupby}_colors"]``.
    corpus
        Texts to choose from; None takes the labels of the model.
    n_texts
        Number of texts of each group, nearest first.
    basis
        Positions: ``adata.obsm[basis]`` or ``adata.obsm["X_{basis}"]``, of which the first two columns are shown.
    key
        The `key_added` of the model.
    %(size)s
    %(ax)s
    %(show)s

    Returns
    -------
    %(drawn)s

    Raises
    ------
    TypeError
        If `adata` is not an AnnData.
    KeyError
        If positions or the column are missing, or the cells lack what the model reads.
    ValueError
        If positions have fewer than two columns, or no cell of a group has one, no cell has a label, the column holds measurements, there are no
        texts, or one is repeated, or `n_texts` is not a positive whole number.
    RuntimeError
        If the model is not trained.

    Examples
    --------
    >>> import couplevi as cvi
    >>> mdata = cvi.data.count_clusters(n_obs=200)
    >>> adata = mdata["rna"].copy()
    >>> adata.obs["type"] = mdata.obs["cell_type"].astype(str)
    >>> quick = {"max_epochs": 5, "enable_progress_bar": False}
    >>> model = cvi.tl.celltext(adata, labels_key="type", seed=0, train_kwargs=quick)
    >>> ax = cvi.pl.nearest_texts(adata, model, groupby="type", basis="X_celltext", show=False)
    >>> ax.get_xlabel()
    'celltext 1'
    """
    check_count(n_texts, "n_texts")
    remedy = f"Run `cvi.tl.annotate(adata, model, labels=..., key_added={key!r})` first, or name a column in `groupby`."
    column = Key.obs.text_label(key) if groupby is None else groupby
    found = compared(adata, model, corpus, column, "" if groupby is not None else remedy)
    positions = _positions(adata, basis, key)
    groups = found.groups
    names = list(groups.cat.categories)
    centres = _centres(positions, groups)
    colors = category_colors(adata, column, names)
    table = cosines(adata, model, found)
    entries = {group: _nearest(table.loc[group], n_texts) for group in names}
    legend = [_entry(group, entries[group], LONGEST) for group in names]
    lines = [line for text in legend for line in text.split("\n")]
    n_columns = 1 + (len(lines) - 1) // PER_COLUMN
    beside = (0.5 + 0.075 * max(map(len, lines))) * n_columns
    many = len(names) > MOST_NAMES
    height = max(4.8, 0.2 * min(len(lines), PER_COLUMN) + 0.5)
    [axes] = make_axes(1, ax, width=5.6 + beside * many, height=height if many else 4.8)
    area = size or 15_000 / max(500, len(positions))
    points = partial(axes.scatter, s=area, linewidths=0, rasterized=True)
    missing = groups.isna().to_numpy()
    points(*positions[missing].T, color=MISSING_COLOR)
    order = np.random.default_rng(0).permutation(np.flatnonzero(~missing))  # no group lies on top
    points(*positions[order].T, c=[colors[group] for group in groups.iloc[order]])
    letters = basis.removeprefix("X_")
    title = letters.upper() if letters in ("umap", "pca") else letters
    axes.set(xlabel=f"{title} 1", ylabel=f"{title} 2", xticks=[], yticks=[])
    axes.margins(0.08)
    axes.set_title(f"{column}: {found.told}" + (" (grey)" if missing.any() else ""), fontsize="medium")
    if many or not _write_beside(axes, centres, entries, colors, positions):
        if ax is None and not many:
            _figure(axes).set_size_inches(5.6 + beside, height)
        elif ax is not None:
            room = int(OF_GIVEN * axes.get_window_extent().width / axes.figure.dpi / 0.075 / n_columns)
            legend = [_entry(group, entries[group], min(LONGEST, room)) for group in names]
        marks: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 6}
        handles = [
            Line2D([], [], color=colors[group], label=f"{i}  {text}", **marks)
            for i, (group, text) in enumerate(zip(names, legend, strict=True), start=1)
        ]
        legend_beside(axes, n_columns, handles)
        number_points(axes, centres, list(colors.values()))
    return finish([axes], show, save, return_fig, "nearest_texts")


def _positions(adata: AnnData, basis: str, key: str) -> FloatArray:
    """Two coordinates of each cell, shape ``(n_obs, 2)``."""
    slot = basis if basis in adata.obsm else f"X_{basis}"
    if slot not in adata.obsm:
        remedy = (
            f"Run `sc.pp.neighbors(adata, use_rep={Key.obsm.latent(key)!r}); sc.tl.umap(adata)` first, or name "
            "others in `basis`."
        )
        raise KeyError(expected(f"positions in `adata.obsm[{slot!r}]`", f"keys {list(adata.obsm)}", remedy))
    found = np.asarray(adata.obsm[slot], dtype=np.float64)
    if found.ndim != 2 or found.shape[1] < 2:
        raise ValueError(expected(f"two columns in `adata.obsm[{slot!r}]`", f"shape {found.shape}"))
    return found[:, :2]


def _centres(positions: FloatArray, groups: pd.Series) -> FloatArray:
    """Median position of each group, of cells that have one, shape ``(n_groups, 2)``."""
    finite = np.isfinite(positions).all(axis=1)
    own = {group: positions[finite & (groups == group).to_numpy()] for group in groups.cat.categories}
    if without := [group for group, part in own.items() if not len(part)]:
        raise ValueError(expected("a position of a cell of each group", f"none of {listing(without)}"))
    return np.stack([np.median(part, axis=0) for part in own.values()])


def _nearest(row: pd.Series, n: int) -> dict[str, float]:
    """The texts with the largest cosines, and these, in the order of both."""
    order = np.argsort(-row.to_numpy(), kind="stable")[:n]
    return {str(row.index[i]): float(row.iloc[i]) for i in order}


def _entry(group: str, texts: Mapping[str, float], longest: int) -> str:
    """A group and its text on a line of the legend, of several texts one below the other, cut where there is no room."""
    name = "" if group == next(iter(texts)) else f"{short(group, max(FEWEST, longest // 2))}:"
    taken = len(name) if len(texts) == 1 else 0
    room = max(FEWEST, longest - taken - len(" (0.00)"))
    told = [f"{short(text, room)} ({number(score)})" for text, score in texts.items()]
    return (" " if len(told) == 1 else "\n").join([*([name] if name else []), *told])


def _figure(ax: Axes) -> Figure:
    figure = ax.get_figure(root=True)
    assert figure is not None
    return figure


def _write_beside(
    ax: Axes,
    centres: FloatArray,
    entries: Mapping[str, Mapping[str, float]],
    colors: Mapping[str, Any],
    positions: FloatArray,
) -> bool:
    """Write texts beside the middles of their groups; whether all have found a place, else there are none."""
    names = []
    for group, texts in entries.items():
        lines = [wrapped(text, WIDTH, N_LINES) + f" ({number(score)})" for text, score in texts.items()]
        names.append("\n".join(lines if group == next(iter(texts)) else [f"{short(group, WIDTH)}:", *lines]))
    step = -(-len(positions) // MOST_OBSTACLES)
    obstacles = positions[np.isfinite(positions).all(axis=1)][::step]
    dark = [tuple(DARKER * np.array(to_rgb(colors[group]))) for group in entries]
    before = len(ax.texts)
    if len(name_points(ax, centres, names, colors=dark, avoid=obstacles)) == len(names):
        return True
    for text in list(ax.texts)[before:]:
        text.remove()
    return False
