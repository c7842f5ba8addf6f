import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import CenteredNorm, Normalize

from couplevi.pl._matrix import draw_matrix


def draw(n_rows, n_columns, *, beside=True, ax=None, norm=None):
    values = np.arange(n_rows * n_columns, dtype=float).reshape(n_rows, n_columns) / (n_rows * n_columns)
    table = pd.DataFrame(values, [f"row {i}" for i in range(n_rows)], [f"column {j}" for j in range(n_columns)])
    return draw_matrix(
        table,
        cmap="RdBu_r",
        norm=norm or Normalize(0, 1),
        bar="what",
        numbers={place: f"{value:.2f}" for place, value in np.ndenumerate(values)},
        beside=[f"{i} cells" for i in range(n_rows)] if beside else (),
        ax=ax,
        title="title",
        xlabel="x",
        ylabel="y",
    )


def numbers(ax):
    return [text for text in ax.texts if not hasattr(text, "xyann")]


@pytest.mark.parametrize("beside", [True, False])
@pytest.mark.parametrize(("n_rows", "n_columns"), [(1, 1), (3, 5), (30, 4)])
def test_names_numbers_and_the_bar_have_their_places(n_rows, n_columns, beside, overlapping):
    ax = draw(n_rows, n_columns, beside=beside)
    assert [t.get_text() for t in ax.get_yticklabels()] == [f"row {i}" for i in range(n_rows)]
    assert [t.get_text() for t in ax.get_xticklabels()] == [f"column {j}" for j in range(n_columns)]
    assert (ax.get_title(), ax.get_xlabel(), ax.get_ylabel()) == ("title", "x", "y")
    [bar] = ax.child_axes
    assert bar.get_ylabel() == "what"
    notes = [text for text in ax.texts if hasattr(text, "xyann")]
    assert [(text.get_text(), text.xy[1]) for text in notes] == [(f"{i} cells", i) for i in range(n_rows)][: len(notes)]
    assert len(notes) == beside * n_rows
    assert not overlapping(*ax.get_yticklabels(), *notes, ax.title)
    edge = max([ax.get_window_extent().x1, *(text.get_window_extent().x1 for text in notes)])
    assert edge < bar.get_window_extent().x0


def test_a_number_is_on_its_cell_and_only_where_there_is_room():
    ax = draw(2, 3)
    assert {(t.get_position()[::-1], t.get_text()) for t in numbers(ax)} >= {((0, 1), "0.17"), ((1, 2), "0.83")}
    assert len(numbers(ax)) == 6
    assert numbers(draw(40, 40)) == []


def test_numbers_are_white_on_dark_cells_and_black_on_bright_ones():
    ax = draw(1, 10, norm=CenteredNorm(0.45, halfrange=0.45))
    assert [t.get_color() for t in numbers(ax)][0] == "white"
    assert [t.get_color() for t in numbers(ax)][4] == "black"
    assert [t.get_color() for t in numbers(ax)][9] == "white"


def test_given_axes_are_drawn_on_and_rows_without_a_name_have_no_note():
    _, given = plt.subplots(figsize=(3, 3), layout="constrained")
    ax = draw(60, 60, ax=given)
    assert ax is given
    shown = [text for text in ax.texts if hasattr(text, "xyann") and text.get_visible()]
    named = [round(y) for y in ax.get_yticks()]
    assert len(named) < 60
    assert [text.xy[1] for text in shown] == named
