from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb

from couplevi._paths import user_path
from couplevi._validate import expected

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

logger = logging.getLogger(__name__)

BLUE, ORANGE, GREEN, PURPLE, RED, SKY, YELLOW = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#cc79a7",
    "#d55e00",
    "#56b4e9",
    "#f0e442",
)
"""Colours that are told apart with any colour vision: those of Okabe and Ito without black, which texts have."""


def make_axes(
    n: int, ax: Axes | Sequence[Axes] | None, *, width: float = 4.0, height: float = 3.6, n_columns: int = 4
) -> list[Axes]:
    """`n` axes: the given ones, or new ones in rows of at most `n_columns`."""
    if n == 0:
        raise ValueError(expected("something to show", "an empty list"))
    if ax is not None:
        given = [ax] if isinstance(ax, Axes) else list(np.asarray(ax, dtype=object).ravel())
        if len(given) != n:
            raise ValueError(expected(f"{n} axes in `ax`", len(given)))
        return given
    n_columns = min(n, n_columns)
    n_rows = -(-n // n_columns)
    size = (width * n_columns, height * n_rows)
    _, grid = plt.subplots(n_rows, n_columns, figsize=size, squeeze=False, layout="constrained")
    for spare in grid.ravel()[n:]:
        spare.set_axis_off()
    return list(grid.ravel()[:n])


def finish(
    axes: Sequence[Axes], show: bool | None, save: str | os.PathLike[str] | bool | None, return_fig: bool, name: str
) -> Figure | Axes | list[Axes] | None:
    """Save, show or return the figure called `name` as scanpy does: one that is saved is closed.

    `show=None` shows unless `save` or `return_fig` is given; a backend without windows shows nothing.
    """
    figure = cast("Figure", axes[0].get_figure(root=True))
    path = _scanpys_path(name) if save is True else save
    if path is not None and path is not False:
        figure.savefig(user_path(path), dpi=150, bbox_inches="tight")
        if not show:
            plt.close(figure)  # what is drawn next is not drawn into it
    if return_fig:
        return figure
    if show is None:
        show = save is None or save is False
    if not show:
        return axes[0] if len(axes) == 1 else list(axes)
    if mpl.get_backend().lower() not in {"agg", "cairo", "pdf", "pgf", "ps", "svg", "template"}:
        plt.show()
    return None


def _scanpys_path(name: str) -> Path:
    """Where scanpy writes a figure that is only said to be saved; the folder is made."""
    import scanpy as sc  # takes seconds, and nothing else here needs it

    settings = sc.settings
    path = Path(settings.figdir) / f"{name}{settings.plot_suffix}.{settings.file_format_figs}"
    path.parent.mkdir(parents=True, exist_ok=True)
    logger.warning("Figure written to %s.", path)
    return path


def legend_beside(ax: Axes, n_columns: int = 1, handles: Sequence[Artist] | None = None) -> Legend:
    """Name `handles`, or what is labelled, to the right of the axes, where it hides nothing."""
    style: dict[str, Any] = {"frameon": False, "fontsize": "small", "ncols": n_columns}
    return ax.legend(handles=handles, loc="center left", bbox_to_anchor=(1, 0.5), **style)


def palette(categories: Sequence[str]) -> dict[str, str]:
    """A colour for each category, none grey: up to 7 for any colour vision, then those of scanpy, then a colour map."""
    n = len(categories)
    colors: Sequence[Any] = (BLUE, ORANGE, GREEN, PURPLE, RED, SKY, YELLOW)
    if n > len(colors):
        from scanpy.plotting import palettes  # takes seconds, and few categories do not need it

        longer = (palettes.default_20, [c for c in palettes.default_102 if _is_colorful(c)])
        colors = next((c for c in longer if n <= len(c)), list(mpl.colormaps["turbo"](np.linspace(0.02, 0.98, n))))
    return dict(zip(categories, map(to_hex, colors), strict=False))


def _is_colorful(color: str) -> bool:
    """Whether a colour is told from grey, and from a white background."""
    red, green, blue = to_rgb(color)
    return max(red, green, blue) - min(red, green, blue) > 0.15 and red + green + blue < 2.4
