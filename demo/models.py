"""Draw docs/_static/models.png: what each model takes and gives, readable at a width of 400 pixels."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Ellipse, FancyArrowPatch, Rectangle
from PIL import Image

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#E69F00", "#009E73", "#BBBBBB"  # Okabe and Ito: also for the colour-blind
KINDS = ((BLUE, "o"), (ORANGE, "s"), (GREEN, "^"))  # told apart by their shapes, too
CENTERS = np.array([[0.32, 0.37], [0.82, 0.18], [1.3, 0.38]])
TEXTS = {
    "JAMIE": ("cells measured in parts", "one space, and what was\nnot measured"),
    "CplMixVAE": ("cells without labels", "types, and states\nwithin each type"),
    "JAE": ("several donors, labels of one", "one space, labels for all"),
    "OTGM": ("a perturbation screen", "each state a Gaussian,\ncells moved between them"),
    "CellText": ("cells, and texts on cell types", "one space of cells and texts:\nnames for types never seen"),
}
LEFT, RIGHT, ROW = 0.1, 2.35, 1.12
"""Where drawings begin, and the height of a row, in inches."""


def cloud(kind: int, n: int = 9, shift: tuple[float, float] = (0, 0)) -> np.ndarray:
    """Places of the cells of a kind."""
    return CENTERS[kind] + shift + np.random.default_rng(kind).normal(scale=(0.11, 0.07), size=(n, 2))


def dots(ax: Axes, x: float, y: float, places: np.ndarray, kind: int | None, marker: str = "o", **kwargs: str) -> None:
    """Cells of a kind, or grey ones."""
    color, marker = (GREY, marker) if kind is None else KINDS[kind]
    ax.scatter(*(places + (x, y)).T, s=11, marker=marker, linewidths=0.6, **{"color": color, **kwargs})


def jamie(ax: Axes, x: float, y: float, done: bool) -> None:
    """Cells in rows, two modalities, some rows missing or predicted."""
    for left, width, color, missing in ((0.1, 0.8, BLUE, (0, 1)), (1.0, 0.45, ORANGE, (4, 5))):
        for row in range(6):
            place = (x + left, y + 0.09 * row)
            if row not in missing:
                ax.add_patch(Rectangle(place, width, 0.07, fc=color))
            elif done:
                ax.add_patch(Rectangle(place, width, 0.07, fc="white", ec=color, hatch="//////", lw=0.8))
            else:
                ax.add_patch(Rectangle(place, width, 0.07, fc="white", ec=GREY, ls=":", lw=0.8))


def cplmixvae(ax: Axes, x: float, y: float, done: bool) -> None:
    """Cells without labels, and types with an arrow along the states of each."""
    for kind, center in enumerate(CENTERS):
        dots(ax, x, y, cloud(kind), kind if done else None)
        if done:
            arrow(ax, center + (x - 0.22, y), center + (x + 0.26, y), lw=1.1, size=7)


def jae(ax: Axes, x: float, y: float, done: bool) -> None:
    """Cells of two donors, the second hollow."""
    for kind, (color, marker) in enumerate(KINDS):
        dots(ax, x, y, cloud(kind, 6), kind)
        there = cloud(kind, 12, (0, 0) if done else (0.16, 0.15))[6:]
        dots(ax, x, y, there, None, marker if done else "o", facecolor="white", edgecolor=color if done else "0.45")


def otgm(ax: Axes, x: float, y: float, done: bool) -> None:
    """Cells of three states, and the Gaussians of these."""
    for kind, center in enumerate(CENTERS):
        dots(ax, x, y, cloud(kind), kind)
        if done:
            ax.add_patch(Ellipse(center + (x, y), 0.46, 0.3, fc="none", ec=KINDS[kind][0], lw=1.3))
    if done:
        for kind in (0, 2):
            towards = CENTERS[kind] - CENTERS[1]
            arrow(ax, CENTERS[1] + (x, y), CENTERS[1] + 0.72 * towards + (x, y), lw=1.1, size=7)


def celltext(ax: Axes, x: float, y: float, done: bool) -> None:
    """Cells of known types and of one without a label, and a text for each type."""
    for kind in range(3):
        dots(ax, x, y, cloud(kind), kind if done or kind < 2 else None)
    for kind, word in enumerate(("T cell", "B cell", "mast cell")):
        here = CENTERS[kind] + (-0.02, 0.19) if done else ((0.85, 1.24, 1.72)[kind], 0.66)
        style = {"boxstyle": "round,pad=0.15", "fc": "white", "ec": KINDS[kind][0], "lw": 0.8}
        ax.text(x + here[0], y + here[1], word, fontsize=7, ha="center", va="center", bbox=style)


def arrow(ax: Axes, start: np.ndarray, end: np.ndarray, lw: float, size: float) -> None:
    """Draw an arrow."""
    style = {"arrowstyle": "-|>", "mutation_scale": size, "color": "0.15", "lw": lw, "shrinkA": 0, "shrinkB": 0}
    ax.add_patch(FancyArrowPatch(start, end, **style))


def draw(path: Path) -> None:
    """Draw the figure into a file."""
    size = (4.0, ROW * len(TEXTS))
    figure = plt.figure(figsize=size)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, size[0]), ylim=(0, size[1]))
    ax.set_axis_off()
    for row, (name, texts) in enumerate(TEXTS.items()):
        y = size[1] - ROW * (row + 1)
        if row:
            ax.axhline(y + ROW, color="0.8", lw=0.8)
        ax.text(LEFT, y + ROW - 0.14, name, weight="bold", fontsize=9.5, va="center")
        for x, text, done in zip((LEFT, RIGHT), texts, (False, True), strict=True):
            PICTURES[name](ax, x, y + 0.32, done)
            ax.text(x, y + 0.28, text, fontsize=8, va="top", linespacing=1.0)
        arrow(ax, np.array([1.78, y + 0.6]), np.array([2.22, y + 0.6]), lw=2, size=14)
    figure.savefig(path, dpi=200)
    plt.close(figure)
    Image.open(path).convert("RGB").quantize(64).save(path, optimize=True)


PICTURES = {"JAMIE": jamie, "CplMixVAE": cplmixvae, "JAE": jae, "OTGM": otgm, "CellText": celltext}

if __name__ == "__main__":
    draw(Path(__file__).parents[1] / "docs" / "_static" / "models.png")
