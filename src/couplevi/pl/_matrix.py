"""A matrix of square cells with names, numbers and a colour bar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.transforms import ScaledTranslation

from couplevi.pl._figure import make_axes
from couplevi.pl._names import SMALLEST, name_cells

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from matplotlib.image import AxesImage
    from matplotlib.text import Annotation

LEAST, MOST, WHOLE = 0.19, 0.55, 5.5
"""Side of a cell in inches, of many rows or columns and of few, and that of the matrix between."""
MOST_CELLS = 60
"""Rows or columns up to which the figure grows."""
BAR = (0.14, 2.0)
"""Width and largest height of the colour bar in inches."""
NUMBER = (5.0, 8.0)
"""Smallest and largest size of numbers in points; without room for the smallest there are none."""
CHARACTER = 0.64
"""Width of a digit in its size."""
LUMINANCE = (0.2126, 0.7152, 0.0722)
"""Share of red, green and blue in the brightness of a colour."""


def draw_matrix(
    table: pd.DataFrame,
    *,
    cmap: str,
    norm: Normalize,
    bar: str,
    numbers: Mapping[tuple[int, int], str],
    beside: Sequence[str] = (),
    ax: Axes | None,
    **texts: str,
) -> Axes:
    """Draw a table; call it last, when nothing else takes room beside the axes.

    Parameters
    ----------
    table
        Values; names of its rows and columns are written, as large as there is room for.
    cmap, norm
        Colours of the values.
    bar
        What the colours mean.
    numbers
        Texts for cells by row and column, written if they have room.
    beside
        A text to the right of each row.
    ax
        Axes to draw on; None makes a figure.
    **texts
        `title`, `xlabel` and `ylabel`.
    """
    rows, columns = ([str(name) for name in axis] for axis in (table.index, table.columns))
    n_rows, n_columns = (min(n, MOST_CELLS) for n in table.shape)
    side = float(np.clip(WHOLE / max(n_rows, n_columns), LEAST, MOST))
    left, below = (0.4 + 0.075 * max(map(len, names)) for names in (rows, columns))
    [axes] = make_axes(1, ax, width=side * n_columns + left + 1.5, height=side * n_rows + below + 0.7)
    image = axes.imshow(table.to_numpy(), cmap=cmap, norm=norm)
    axes.set(xlabel=texts.get("xlabel", ""), ylabel=texts.get("ylabel", ""))
    axes.set_title(texts.get("title", ""), fontsize="medium")
    axes.set_xticks(np.arange(len(columns) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(rows) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="0.9", linewidth=0.4)
    axes.tick_params(which="both", length=0)
    sizes = [_beside(axes, len(columns) - 0.5, i, text) for i, text in enumerate(beside)]
    room = 0.15 + 0.07 * max(map(len, beside), default=0)
    place = axes.transAxes + ScaledTranslation(room, 0, axes.figure.dpi_scale_trans)  # right of these texts
    height = min(1, BAR[1] / (side * n_rows))
    inset = axes.inset_axes((1, 1 - height, BAR[0] / (side * n_columns), height), transform=place)
    axes.figure.colorbar(image, cax=inset, label=bar)
    length = name_cells(axes, rows, columns)
    named = {round(y): t.get_fontsize() for y, t in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)}
    for i, text in enumerate(sizes):
        text.set(visible=i in named, fontsize=named.get(i, SMALLEST))
    _write_numbers(axes, image, numbers, length)
    return axes


def _beside(ax: Axes, x: float, y: float, text: str) -> Annotation:
    """A text to the right of a row."""
    style: dict[str, Any] = {"ha": "left", "va": "center_baseline", "color": "0.35", "fontsize": SMALLEST}
    return ax.annotate(text, (x, y), (3, 0), textcoords="offset points", annotation_clip=False, **style)


def _write_numbers(ax: Axes, image: AxesImage, numbers: Mapping[tuple[int, int], str], side: float) -> None:
    """Write numbers into cells of this side in points, in black or white, if these have room."""
    size = min(NUMBER[1], 0.85 * side / (CHARACTER * max(map(len, numbers.values()), default=1)), 0.7 * side)
    if size < NUMBER[0]:
        return
    values = np.asarray(image.get_array())
    for (i, j), text in numbers.items():
        brightness = float(np.dot(LUMINANCE, np.power(image.to_rgba(values[i, j])[:3], 2.2)))
        color = "black" if brightness > 0.18 else "white"  # where the contrast of both is the same
        ax.text(j, i, text, ha="center", va="center_baseline", fontsize=size, color=color)
