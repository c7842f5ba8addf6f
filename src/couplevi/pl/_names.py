from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.patheffects import withStroke

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation, Text

    from couplevi._types import BoolArray, FloatArray

DISTANCES = (4.0, 9.0, 15.0, 22.0, 30.0, 45.0, 65.0, 90.0)
"""Between a point and the nearest side of its name, in points; from the third on a line leads to it."""
N_DIRECTIONS = 16
PADDING = 1.5
"""Around a name, in points."""
PER_COVERED = 10.0
"""How much further a name may go, in points, to cover one thing less."""
PER_CROSSED = 300.0
"""The same for its line to cross one name less."""
ALONG = np.linspace(0, 1, 16)[1:]
"""Where a line is looked at, from its point to its name."""

BADGE = 14.0
"""Distance of two numbers in points, at least."""
N_STEPS = 200

LARGEST, SMALLEST = 8.5, 5.0
"""Size of the names of rows and columns in points; where there is no room for the smallest, only some are named."""
SHARE = 0.85
"""Of the height of a row that its name may take."""


def name_points(
    ax: Axes, xy: FloatArray, names: Sequence[str], *, colors: Sequence[Any] | None = None, avoid: FloatArray
) -> list[Annotation]:
    """Write names beside points, within the axes and none over another; call it last, when all else is drawn.

    Parameters
    ----------
    xy
        Points in the units of the axes, shape ``(n, 2)``; names of the first have the first choice.
    names
        A text for each; one that finds no place is left out.
    colors
        Of the names; None writes them in black.
    avoid
        What had better not be covered, in the units of the axes, shape ``(k, 2)``.

    Returns
    -------
    The texts that found a place.
    """
    figure = ax.get_figure(root=True)
    assert figure is not None
    ax.set(xlim=ax.get_xlim(), ylim=ax.get_ylim())  # names do not move what they name
    figure.draw_without_rendering()  # where anything is, is known once the layout is
    unit = figure.dpi / 72
    frame = np.asarray(ax.get_window_extent().extents) / unit
    centres, obstacles = (ax.transData.transform(np.asarray(p, dtype=float)) / unit for p in (xy, avoid))
    taken = np.empty((0, 4))
    written = []
    for i, (name, centre) in enumerate(zip(names, centres, strict=True)):
        color = "black" if colors is None else colors[i]
        style: dict[str, Any] = {"fontsize": "small", "ha": "center", "va": "center", "color": color}
        text = ax.annotate(name, xy[i], (0, 0), textcoords="offset points", **style)
        text.set_path_effects([withStroke(linewidth=2, foreground="white")])
        text.set_in_layout(False)
        box = text.get_window_extent()
        size = np.array([box.width, box.height]) / unit
        found = _place(centre, size, frame, taken, obstacles)
        if found is None:
            text.remove()
            continue
        offset, is_far = found
        text.set_position(tuple(offset))
        if is_far:
            line = {"arrowstyle": "-", "linewidth": 0.6, "color": color, "shrinkA": 0, "shrinkB": 2}
            edge = offset - np.clip(offset, -size / 2, size / 2)  # the nearest point of the name
            obstacles = np.vstack([obstacles, centre + ALONG[:, None] * edge])
            leader = ax.annotate("", xy[i], tuple(edge), textcoords="offset points", arrowprops=line)
            leader.set_in_layout(False)
        taken = np.vstack([taken, _boxes(centre + offset[None], size)])
        written.append(text)
    return written


def _boxes(middles: FloatArray, size: FloatArray) -> FloatArray:
    """Left, lower, right and upper side of names around their middles, with padding, shape ``(n, 4)``."""
    half = size / 2 + PADDING
    return np.hstack([middles - half, middles + half])


def _place(
    centre: FloatArray, size: FloatArray, frame: FloatArray, taken: FloatArray, obstacles: FloatArray
) -> tuple[FloatArray, bool] | None:
    """Where the middle of a name goes, from its point, and whether that is far; None if there is no free place."""
    angles = 2 * np.pi * np.arange(N_DIRECTIONS) / N_DIRECTIONS
    directions = np.column_stack([np.cos(angles), np.sin(angles)])
    distance = np.repeat(DISTANCES, N_DIRECTIONS)
    offsets = np.tile(directions, (len(DISTANCES), 1)) * (size / 2 + distance[:, None])
    boxes = _boxes(centre + offsets, size)
    inside = (boxes[:, :2] >= frame[:2]).all(axis=1) & (boxes[:, 2:] <= frame[2:]).all(axis=1)
    apart = (boxes[:, None, :2] >= taken[None, :, 2:]) | (boxes[:, None, 2:] <= taken[None, :, :2])
    free = inside & np.all(np.any(apart, axis=2), axis=1)
    if not free.any():
        return None
    covers = [_within(obstacles, box).sum() for box in boxes]
    edges = offsets - np.clip(offsets, -size / 2, size / 2)
    crosses = [sum(_within(centre + ALONG[:, None] * edge, box).any() for box in taken) for edge in edges]
    cost = distance + PER_COVERED * np.asarray(covers) + PER_CROSSED * np.asarray(crosses)
    best = int(np.argmin(np.where(free, cost, np.inf)))
    return offsets[best], bool(distance[best] >= DISTANCES[2])


def _within(points: FloatArray, box: FloatArray) -> BoolArray:
    """Which points lie in a box, shape ``(n,)``."""
    return np.logical_and.reduce((points >= box[:2]) & (points <= box[2:]), axis=1)


def number_points(
    ax: Axes, xy: FloatArray, colors: Sequence[Any], *, numbers: Sequence[int] | None = None
) -> list[Text]:
    """Number points in circles, as far apart as is needed to read the numbers; call it last, when all else is drawn.

    Parameters
    ----------
    xy
        Points in the units of the axes, shape ``(n, 2)``.
    colors
        Of the circles.
    numbers
        None counts from 1.
    """
    figure = ax.get_figure(root=True)
    assert figure is not None
    ax.set(xlim=ax.get_xlim(), ylim=ax.get_ylim())
    figure.draw_without_rendering()  # where anything is, is known once the layout is
    unit = figure.dpi / 72
    places = ax.transData.inverted().transform(_apart(ax.transData.transform(xy) / unit) * unit)
    written = []
    for number, place, color in zip(numbers or range(1, len(xy) + 1), places, colors, strict=True):
        circle = {"boxstyle": "circle,pad=0.2", "facecolor": "white", "edgecolor": color, "linewidth": 1.2}
        written.append(ax.text(place[0], place[1], str(number), ha="center", va="center", fontsize=6.5, bbox=circle))
    return written


def _apart(points: FloatArray) -> FloatArray:
    """Move points that are nearer than `BADGE` away from each other, step by step."""
    found = points + 1e-3 * np.random.default_rng(0).standard_normal(
        points.shape
    )  # those at one place have a direction
    for _ in range(N_STEPS):
        between = found[:, None] - found[None]
        distance = np.linalg.norm(between, axis=2)
        np.fill_diagonal(distance, np.inf)
        if distance.min(initial=np.inf) >= BADGE:
            break
        push = np.maximum(0, BADGE * 1.02 - distance) / 2 / distance
        found = found + (between * push[:, :, None]).sum(axis=1)
    return found


def name_cells(ax: Axes, rows: Sequence[str], columns: Sequence[str]) -> float:
    """Name the rows and columns of a matrix of square cells as large as they have room for, or some of them.

    Returns
    -------
    The side of a cell in points; call it when what takes room beside the axes is drawn.
    """
    figure = ax.get_figure(root=True)
    assert figure is not None

    def write(step: int, size: float) -> None:
        shown = {axis: range(0, len(names), step) for axis, names in (("x", columns), ("y", rows))}
        ax.set_xticks(shown["x"], [columns[i] for i in shown["x"]], rotation=90, fontsize=size)
        ax.set_yticks(shown["y"], [rows[i] for i in shown["y"]], fontsize=size)

    write(1, SMALLEST)
    figure.draw_without_rendering()  # how high a row is, is known once the layout is
    side = ax.get_window_extent().height / figure.dpi * 72 / len(rows)
    room = SHARE * side
    write(max(1, int(np.ceil(SMALLEST / room))), float(np.clip(room, SMALLEST, LARGEST)))
    return side
