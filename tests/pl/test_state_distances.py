import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import pdist, squareform

import couplevi as cvi


def frame_of(values, names=None):
    names = [f"s{i}" for i in range(len(values))] if names is None else names
    return pd.DataFrame(values, index=names, columns=names)


def on_a_line(n, order=None, names=None):
    """Distances of states on a line, in some order."""
    at = np.arange(n) ** 1.2 if order is None else np.asarray(order, dtype=float)
    return frame_of(squareform(pdist(at[:, None])), names)


def ticks(axis):
    return [tick.get_text() for tick in axis.get_ticklabels()]


def test_similar_states_are_neighbours_and_values_move_with_them():
    at = np.random.default_rng(0).permutation(12)
    frame = on_a_line(12, at)
    ax = cvi.pl.state_distances(frame, show=False)
    rows = ticks(ax.yaxis)
    assert rows == ticks(ax.xaxis)
    place = [at[int(name[1:])] for name in rows]
    assert place in (sorted(place), sorted(place)[::-1])
    np.testing.assert_allclose(ax.images[0].get_array(), frame.loc[rows, rows])


def test_colours_span_the_distances_between_states_and_the_diagonal_is_white():
    ax = cvi.pl.state_distances(on_a_line(5, [0, 1, 3, 7, 20]), show=False)
    image = ax.images[0]
    assert image.get_clim() == (1, 20)
    shown = image.to_rgba(image.get_array())
    np.testing.assert_allclose(shown[np.arange(5), np.arange(5)], 1)
    assert (shown[~np.eye(5, dtype=bool)][:, :3] < 1).any(axis=1).all()
    assert ax.figure.axes[1].get_ylabel() == "distance, in the units of the values"


def test_missing_distances_are_grey_and_their_states_apart():
    frame = on_a_line(6, [0, 1, 2, 10, 11, 12])
    frame.loc["s0", "s5"] = frame.loc["s5", "s0"] = np.nan
    before = frame.copy()
    ax = cvi.pl.state_distances(frame, show=False)
    rows = ticks(ax.yaxis)
    image = ax.images[0]
    shown = image.to_rgba(image.get_array())
    grey = (np.abs(shown[..., :3] - 0.8) < 1e-6).all(axis=2)
    expected = frame.loc[rows, rows].isna().to_numpy()
    np.testing.assert_array_equal(grey, expected)
    assert {frozenset(rows[:3]), frozenset(rows[3:])} == {frozenset(["s0", "s1", "s2"]), frozenset(["s3", "s4", "s5"])}
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize(("n", "n_named"), [(2, 2), (40, 40), (60, 60), (150, 75)])
def test_names_have_room(n, n_named, overlapping):
    names = [f"GENE{i}+ANOTHER{i}" for i in range(n)]
    ax = cvi.pl.state_distances(on_a_line(n, names=names), show=False)
    assert n_named <= len(ticks(ax.yaxis)) <= n
    assert 5 <= ax.yaxis.get_ticklabels()[0].get_fontsize() <= 8.5
    assert not overlapping(*ax.get_yticklabels())
    assert not overlapping(*ax.get_xticklabels())
    assert not overlapping(ax.get_yticklabels()[-1], ax.get_xticklabels()[0], ax.figure.axes[1].yaxis.label)
    label = ax.figure.axes[1].yaxis.label.get_window_extent()
    assert 0 <= label.y0 < label.y1 <= ax.figure.bbox.height


def test_some_are_named_on_small_axes(overlapping):
    import matplotlib.pyplot as plt

    _, given = plt.subplots(figsize=(3, 3), layout="constrained")
    ax = cvi.pl.state_distances(on_a_line(60), ax=given, show=False)
    assert ax is given
    assert 5 < len(ticks(ax.yaxis)) < 60
    assert not overlapping(*ax.get_yticklabels())
    whole = [f"s{i}" for i in range(60)]
    shown, step = ticks(ax.yaxis), -(-60 // len(ticks(ax.yaxis)))
    assert shown in (whole[::step], whole[::-1][::step])


def test_two_states_and_states_of_no_distance():
    ax = cvi.pl.state_distances(frame_of([[0.0, 3.0], [3.0, 0.0]]), show=False)
    assert ax.images[0].get_clim() == (0, 3)
    assert cvi.pl.state_distances(frame_of(np.zeros((3, 3))), show=False).images[0].get_clim() == (0, 1)


def test_the_frame_of_a_model(screened):
    model, _ = screened
    ax = cvi.pl.state_distances(model.distances(), show=False)
    assert sorted(ticks(ax.yaxis)) == model.states_


@pytest.mark.parametrize(
    ("frame", "error", "message"),
    [
        (np.zeros((3, 3)), TypeError, "a frame of distances, found ndarray"),
        (frame_of([[0.0]]), ValueError, "two or more states, found 1 rows"),
        (on_a_line(3).iloc[:2], ValueError, "same two or more states, found 2 rows and 3 columns"),
        (on_a_line(3).iloc[::-1], ValueError, "same two or more states"),
        (frame_of([[0, 1.0], [2.0, 0]]), ValueError, "symmetric"),
        (frame_of([[0, -1.0], [-1.0, 0]]), ValueError, "at least 0, found -1 to 0"),
        (frame_of([[0, np.inf], [np.inf, 0]]), ValueError, "finite distances"),
        (frame_of([[0, np.nan], [np.nan, 0]]), ValueError, "a distance between two states"),
    ],
)
def test_bad_input(frame, error, message):
    with pytest.raises(error, match=message):
        cvi.pl.state_distances(frame)
