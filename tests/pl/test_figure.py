"""What all figures have in common."""

import inspect
import re
from itertools import combinations
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from matplotlib.colors import to_rgb

import couplevi as cvi
from couplevi._docs import TEXTS
from couplevi.pl._figure import finish, legend_beside, make_axes, palette

ROOT = Path(__file__).parents[2]
LAST = ["ax", "show", "save", "return_fig"]


@pytest.mark.parametrize("name", cvi.pl.__all__)
def test_figures_end_with_the_same_arguments_in_the_same_words(name):
    figure, first = getattr(cvi.pl, name), cvi.pl.latent
    found, same = inspect.signature(figure), inspect.signature(first)
    assert list(found.parameters)[-4:] == LAST
    assert [found.parameters[n] for n in LAST[1:]] == [same.parameters[n] for n in LAST[1:]]
    assert found.return_annotation == same.return_annotation
    panels = found.parameters["ax"].annotation == same.parameters["ax"].annotation
    assert panels or found.parameters["ax"].annotation == "Axes | None"
    assert f"{TEXTS['panels' if panels else 'ax']}\n{TEXTS['show']}\n" in figure.__doc__
    assert f"Returns\n-------\n{TEXTS['drawn']}\n\n" in figure.__doc__


def test_figures_are_saved_and_take_axes(placed, imputed, tmp_path):
    cvi.pl.latent(placed, save=tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 1000
    _, ax = plt.subplots()
    assert cvi.pl.imputation(imputed, source="rna", target="ephys", features=["ephys0"], ax=ax, show=False) is ax
    before = len(plt.get_fignums())

    class Model:
        history = {"train_loss": pd.DataFrame({"train_loss": [1.0]})}

    cvi.pl.losses(Model(), terms=["loss"], ax=ax, show=False)
    assert len(plt.get_fignums()) == before


def test_nothing_is_shown_without_a_window(placed):
    assert cvi.pl.latent(placed) is None


@pytest.mark.parametrize(
    ("show", "save", "return_fig", "is_shown", "given"),
    [
        (None, False, False, True, "nothing"),
        (None, True, False, False, "axes"),
        (None, False, True, False, "figure"),
        (True, True, False, True, "nothing"),
        (False, False, False, False, "axes"),
        (False, True, True, False, "figure"),
    ],
)
def test_a_figure_is_shown_unless_saved_or_returned(monkeypatch, tmp_path, show, save, return_fig, is_shown, given):
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(True))
    monkeypatch.setattr(mpl, "get_backend", lambda: "QtAgg")
    figure, ax = plt.subplots()
    path = tmp_path / "x.png" if save else None
    result = finish([ax], show, path, return_fig, "x")
    assert result is {"nothing": None, "axes": ax, "figure": figure}[given]
    assert bool(shown) == is_shown
    assert (tmp_path / "x.png").exists() == save


@pytest.fixture
def figures(tmp_path):
    """Folder where scanpy is told to write figures, as SVG."""
    before = sc.settings.figdir, sc.settings.file_format_figs
    sc.settings.figdir, sc.settings.file_format_figs = tmp_path / "new" / "figures", "svg"
    yield sc.settings.figdir
    sc.settings.figdir, sc.settings.file_format_figs = before


def test_what_is_only_said_to_be_saved_goes_where_scanpy_puts_it(figures, placed, caplog):
    cvi.pl.latent(placed, save=True)
    frame = pd.DataFrame({"method": ["a"], "foscttm": [0.1], "lta": [0.9]})
    cvi.pl.accuracy(frame, save=True)
    written = sorted(figures.iterdir())
    assert [path.name for path in written] == ["accuracy.svg", "latent.svg"]
    assert all(path.read_text().startswith("<?xml") for path in written)
    assert caplog.messages == [f"Figure written to {path}." for path in written[::-1]]


def test_save_false_writes_nothing(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(True))
    monkeypatch.setattr(mpl, "get_backend", lambda: "QtAgg")
    assert finish([plt.subplots()[1]], None, False, False, "x") is None
    assert shown == [True]
    assert not list(tmp_path.iterdir())


def test_several_axes_are_given_as_a_list_and_belong_to_the_whole_figure():
    figure = plt.figure()
    part, _ = figure.subfigures(1, 2)
    axes = part.subplots(1, 2)
    assert finish(axes, False, None, False, "x") == list(axes)
    assert finish(axes, None, None, True, "x") is figure


def test_axes_come_in_rows_of_at_most_four():
    axes = make_axes(6, None, width=1.0, height=2.0)
    figure = axes[0].figure
    assert len(axes) == 6
    assert axes[0].get_gridspec().get_geometry() == (2, 4)
    np.testing.assert_allclose(figure.get_size_inches(), (4, 4))
    assert [ax.axison for ax in figure.axes] == [True] * 6 + [False] * 2
    assert make_axes(3, None)[0].get_gridspec().get_geometry() == (1, 3)
    assert make_axes(6, None, n_columns=3)[0].get_gridspec().get_geometry() == (2, 3)


def test_given_axes_are_taken_in_their_order():
    _, grid = plt.subplots(2, 2)
    assert make_axes(4, grid) == [grid[0, 0], grid[0, 1], grid[1, 0], grid[1, 1]]
    assert make_axes(1, grid[1, 0]) == [grid[1, 0]]
    with pytest.raises(ValueError, match="3 axes in `ax`, found 4"):
        make_axes(3, grid)
    with pytest.raises(ValueError, match="something to show, found an empty list"):
        make_axes(0, None)


def test_a_legend_beside_the_axes_hides_nothing():
    figure, ax = plt.subplots(layout="constrained")
    for k in range(12):
        ax.plot([0, 1], [0, k], label=f"a long name of line {k}")
    legend_beside(ax, 2)
    figure.draw_without_rendering()
    box, frame = ax.get_legend().get_window_extent(), ax.get_window_extent()
    assert box.x0 >= frame.x1
    assert box.x1 <= figure.bbox.x1  # and is not cut off
    heights = {round(text.get_window_extent().y0) for text in ax.get_legend().get_texts()}
    assert len(heights) == 6


@pytest.mark.parametrize("n", [1, 7, 8, 20, 21, 79, 80])
def test_categories_have_colours_of_their_own_and_none_is_grey_or_white(n):
    colors = palette([str(k) for k in range(n)])
    assert list(colors) == [str(k) for k in range(n)]
    assert len(set(colors.values())) == n
    for red, green, blue in map(to_rgb, colors.values()):
        assert max(red, green, blue) - min(red, green, blue) > 0.1
        assert red + green + blue < 2.6


DEUTERANOPIA = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
PROTANOPIA = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
"""Machado, Oliveira and Fernandes 2009, of linear RGB."""
XYZ = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]


def least_difference(colors, vision):
    """Smallest distance of two colours in CIELAB; about 2 is just noticed."""
    rgb = np.array([to_rgb(color) for color in colors])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(vision).T, 0, 1)
    x, y, z = np.cbrt((seen @ np.array(XYZ).T) / np.sum(XYZ, axis=1)).clip(6 / 29).T
    lab = np.column_stack([116 * y - 16, 500 * (x - y), 200 * (y - z)])
    return min(np.linalg.norm(a - b) for a, b in combinations(lab, 2))


@pytest.mark.parametrize("vision", [np.eye(3), DEUTERANOPIA, PROTANOPIA])
def test_up_to_seven_colours_are_told_apart_with_any_colour_vision(vision):
    ours = palette([str(k) for k in range(7)]).values()
    assert least_difference(ours, vision) > 10
    if vision is not DEUTERANOPIA:
        return
    assert least_difference(mpl.colormaps["tab10"].colors[:7], vision) < 10  # matplotlib's are not


@pytest.mark.parametrize("name", cvi.pl.__all__)
def test_the_gallery_has_each_figure(name):
    page = (ROOT / "docs" / "gallery.md").read_text()
    assert f"{{func}}`~couplevi.pl.{name}`" in page
    assert f"cvi.pl.{name}(" in (ROOT / "demo" / "gallery.py").read_text()
    assert re.search(rf"\(_static/gallery/{name}(_\w+)?\.png\)", page)


def test_figures_of_the_gallery_are_there_and_small():
    shown = re.findall(r"\(_static/(gallery/\w+\.png)\)", (ROOT / "docs" / "gallery.md").read_text())
    files = sorted((ROOT / "docs" / "_static" / "gallery").iterdir())
    assert sorted(ROOT / "docs" / "_static" / path for path in shown) == files
    assert sum(path.stat().st_size for path in files) < 400_000
