import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.text import Text

from couplevi.pl._names import name_cells, name_points, number_points

NOTHING = np.empty((0, 2))


def box(text):
    return Text.get_window_extent(text)


def axes():
    _, ax = plt.subplots(figsize=(4, 4))
    ax.set(xlim=(0, 1), ylim=(0, 1))
    return ax


def test_names_of_one_crowd_do_not_overlap_and_stay_within_the_axes(overlapping):
    ax = axes()
    xy = np.random.default_rng(0).normal(0.5, 0.02, (15, 2))
    names = [f"a longer name {i}" for i in range(15)]
    written = name_points(ax, xy, names, avoid=xy)
    assert [text.get_text() for text in written] == names
    assert not overlapping(*written)
    frame = ax.get_window_extent()
    assert all(frame.x0 <= box(t).x0 and box(t).x1 <= frame.x1 for t in written)
    assert all(frame.y0 <= box(t).y0 and box(t).y1 <= frame.y1 for t in written)


def test_a_point_at_the_edge_is_named_inwards():
    ax = axes()
    [right, left] = name_points(ax, np.array([[0.99, 0.5], [0.01, 0.5]]), ["right", "left"], avoid=NOTHING)
    at, frame = ax.transData.transform([(0.99, 0.5), (0.01, 0.5)])[:, 0], ax.get_window_extent()
    assert box(right).x0 + box(right).width / 2 < at[0]
    assert box(right).x1 <= frame.x1
    assert box(left).x0 + box(left).width / 2 > at[1]
    assert box(left).x0 >= frame.x0
    assert ax.get_xlim() == (0, 1)


def test_what_is_to_be_avoided_is_not_covered():
    ax = axes()
    right = np.column_stack([np.linspace(0.5, 1, 200), np.full(200, 0.5)])
    around = np.vstack([right, np.random.default_rng(0).uniform([0, 0], [1, 0.5], (2_000, 2))])
    [text] = name_points(ax, np.array([[0.5, 0.5]]), ["name"], avoid=around)
    points = ax.transData.transform(around)
    assert not any(box(text).contains(*p) for p in points)
    assert box(text).y0 > ax.transData.transform((0.5, 0.5))[1]


@pytest.mark.parametrize(("n", "has_lines"), [(1, False), (12, True)])
def test_only_a_name_that_is_far_gets_a_line(n, has_lines):
    ax = axes()
    xy = np.full((n, 2), 0.5)
    name_points(ax, xy, ["name"] * n, avoid=NOTHING, colors=["red"] * n)
    lines = [child for child in ax.texts if not child.get_text()]
    assert bool(lines) == has_lines
    assert len(lines) < n
    assert {text.get_color() for text in ax.texts if text.get_text()} == {"red"}


def test_a_name_without_a_place_is_left_out():
    ax = axes()
    written = name_points(ax, np.full((2, 2), 0.5), ["x" * 200, "short"], avoid=NOTHING)
    assert [text.get_text() for text in written] == ["short"]
    assert len(ax.texts) == 1


@pytest.mark.parametrize(("shape", "n_named"), [((3, 5), (3, 5)), ((30, 12), (30, 12)), ((120, 60), (None, None))])
def test_rows_and_columns_are_named_where_they_have_room(shape, n_named, overlapping):
    _, ax = plt.subplots(figsize=(6, 6), layout="constrained")
    ax.imshow(np.zeros(shape))
    names = [[f"{kind}{i}" for i in range(n)] for kind, n in zip(("row", "column"), shape, strict=True)]
    side = name_cells(ax, *names)
    drawn = [[text.get_text() for text in found] for found in (ax.get_yticklabels(), ax.get_xticklabels())]
    for named, whole, n in zip(drawn, names, n_named, strict=True):
        assert named == whole[:: -(-len(whole) // len(named))]
        assert len(named) == n or (n is None and len(named) < len(whole))
    assert not overlapping(*ax.get_yticklabels())
    assert not overlapping(*ax.get_xticklabels())
    assert 5 <= ax.get_yticklabels()[0].get_fontsize() <= 8.5
    (_, high), (_, low) = ax.transData.transform([(0, 0), (0, 1)])
    assert side == pytest.approx((high - low) / ax.figure.dpi * 72, rel=0.1)


def test_numbers_stay_near_their_points_and_off_each_other():
    ax = axes()
    xy = np.array([[0.5, 0.5]] * 6 + [[0.1, 0.1], [0.9, 0.2]])
    texts = number_points(ax, xy, ["red"] * 6 + ["blue"] * 2, numbers=[*range(11, 19)])
    assert [text.get_text() for text in texts] == [str(i) for i in range(11, 19)]
    ax.figure.draw_without_rendering()
    boxes = [box(text) for text in texts]
    assert not any(boxes[i].overlaps(boxes[j]) for i in range(8) for j in range(i))
    np.testing.assert_allclose(texts[6].get_position(), [0.1, 0.1], atol=1e-3)  # nobody is near
    away = [np.linalg.norm(np.subtract(text.get_position(), point)) for text, point in zip(texts, xy, strict=True)]
    assert max(away) < 0.2
    assert [text.get_text() for text in number_points(axes(), xy[6:], ["red", "red"])] == ["1", "2"]
