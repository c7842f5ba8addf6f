import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.stats import ortho_group
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import KNeighborsClassifier

from couplevi.metrics import foscttm, label_transfer_accuracy

few = settings(max_examples=40, deadline=None)
seeds = st.integers(0, 10**6)
cells = st.integers(1, 30)
features = st.integers(1, 4)
dtypes = st.sampled_from(["int8", "uint8", "int64", "float16", "float32", "float64"])


def grid(seed, *shape, high=4):
    """Whole numbers, so few that many distances and values tie."""
    return np.random.default_rng(seed).integers(0, high, size=shape)


def continuous(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def foscttm_by_definition(a, b):
    distance = pairwise_distances(a, b)
    n, own = len(a), np.diag(distance)
    closer = sum((distance < limit).sum() + 0.5 * (distance == limit).sum() for limit in (own[:, None], own))
    return (closer - n) / (2 * n * n)  # each cell ties with itself twice


@given(n=st.integers(1, 150), d=st.integers(1, 12), seed=st.integers(0, 1000))
def test_foscttm_equals_its_definition(n, d, seed):
    a, b = np.random.default_rng(seed).normal(size=(2, n, d))
    assert foscttm(a, b) == pytest.approx(foscttm_by_definition(a, b))


def test_foscttm_does_not_depend_on_blocks(monkeypatch):
    a, b = np.random.default_rng(0).normal(size=(2, 100, 5))
    whole = foscttm(a, b)
    monkeypatch.setattr("couplevi.metrics._alignment.BLOCK_BYTES", 8 * 100 * 7)
    assert foscttm(a, b) == whole


def test_foscttm_limits():
    x = np.random.default_rng(0).normal(size=(200, 20))
    assert foscttm(x, x) == 0
    assert foscttm(x, x[::-1]) == pytest.approx(0.5, abs=0.02)  # unrelated
    assert foscttm(x, np.zeros_like(x)) == pytest.approx(0.5, abs=0.01)  # rows tie, columns are ordered by norm
    assert foscttm(x, -x) > 0.5


def test_latents_that_are_the_same_for_all_cells_score_as_chance_does():
    """A tie is half a closer cell; the cell itself is none."""
    assert foscttm(np.zeros((4, 2)), np.zeros((4, 2))) == 3 / 8
    assert foscttm(np.ones((1, 2)), np.ones((1, 2))) == 0
    # two places with 20 cells each, told apart: of the 19 cells at the own place each is half closer
    place = np.repeat([[0.0], [1.0]], 20, axis=0)
    assert foscttm(place, place) == pytest.approx(0.5 * 19 / 40)


def test_ties_change_nothing_where_there_are_none():
    """The published definition, which counts strictly closer cells, gives the same to the last digit."""
    for n, d in ((5, 1), (64, 3), (131, 10), (1000, 32)):
        a, b = np.random.default_rng(n).normal(size=(2, n, d)).astype(np.float32).astype(float)
        distance = cdist(a, b)
        own = np.diag(distance)
        closer = (distance < own[:, None]).sum() + (distance < own).sum()
        assert foscttm(a, b) == closer / (2 * n * n)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_cells_without_a_latent_are_refused_and_counted(bad):
    """Left in, they would make unrelated clouds look close: no distance is below NaN."""
    a, b = np.random.default_rng(0).normal(size=(2, 60, 5))
    a[::2, 3] = bad
    with pytest.raises(ValueError, match="finite values in `a`, found 30 of 60 rows with NaN or inf.* Leave these"):
        foscttm(a, b)
    with pytest.raises(ValueError, match="finite values in `b`, found 30 of 60 rows"):
        foscttm(b, a)
    labels = np.repeat(["p", "q"], 30)
    with pytest.raises(ValueError, match="finite values in `reference`, found 30 of 60 rows"):
        label_transfer_accuracy(a, labels, b, labels)
    with pytest.raises(ValueError, match="finite values in `query`, found 30 of 60 rows"):
        label_transfer_accuracy(b, labels, a, labels)
    keep = np.isfinite(a).all(axis=1)
    assert foscttm(a[keep], b[keep]) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [(np.zeros((3, 2)), np.zeros((4, 2)), "equal shapes"), (np.zeros((0, 2)), np.zeros((0, 2)), "at least one cell")],
)
def test_foscttm_refuses(a, b, message):
    with pytest.raises(ValueError, match=message):
        foscttm(a, b)


def test_labels_go_from_reference_to_query():
    rng = np.random.default_rng(0)
    reference, query = rng.normal(size=(60, 3)), rng.normal(size=(50, 3))
    labels, query_labels = rng.integers(3, size=60), rng.integers(3, size=50)
    expected = KNeighborsClassifier(7).fit(reference, labels).score(query, query_labels)
    assert label_transfer_accuracy(reference, labels, query, query_labels, 7) == expected
    assert label_transfer_accuracy(query, query_labels, reference, labels, 7) != expected


@pytest.mark.parametrize(("n_neighbors", "message"), [(0, "between 1 and the 3"), (4, "between 1 and the 3")])
def test_label_transfer_refuses_neighbours(n_neighbors, message):
    with pytest.raises(ValueError, match=message):
        label_transfer_accuracy(np.zeros((3, 1)), [0, 0, 1], np.zeros((2, 1)), [0, 1], n_neighbors)


UNLABELLED = [
    ["p", None, "q"],
    ["p", np.nan, "q"],
    ["p", pd.NA, "q"],
    np.array(["p", "", "q"]),
    np.array(["p", "unknown", "q"]),
    [1, None, 2],
    [1.0, np.nan, 2.0],
    [1, pd.NA, "q"],
    [True, None, False],
    pd.array([1, None, 2], dtype="Int64"),
    pd.array(["p", None, "q"], dtype="string"),
    pd.array([True, None, False], dtype="boolean"),
    pd.Categorical(["p", None, "q"]),
    pd.Series([1, None, 2], index=[7, 8, 9]),
    pd.Series(["p", None, "q"], dtype="category"),
]


@pytest.mark.parametrize("labels", UNLABELLED, ids=lambda labels: f"{type(labels).__name__} {list(labels)}")
def test_cells_without_a_label_neither_vote_nor_count_whatever_stands_for_it(labels):
    """The cell without one lies on both queries and has no latent; the labels lie further away."""
    take = np.array([0, 0, 1, 1, 2, 2])
    several = labels.iloc[take] if isinstance(labels, pd.Series) else pd.Series(labels, dtype=object)[take]
    reference = np.array([[-1.0], [-1.0], [0.0], [0.0], [1.0], [1.0]])
    query = np.array([[-0.6], [-0.6], [0.0], [0.0], [0.6], [-0.6]])
    for chosen in (several, several.to_numpy(), several.tolist(), several.astype("category")):
        assert label_transfer_accuracy(reference, chosen, query, chosen, 1) == 3 / 4
    reference[2:4], query[2:4] = np.nan, np.nan
    assert label_transfer_accuracy(reference, several, query, several, 2) == 3 / 4


def test_whole_numbers_and_their_text_are_the_same_labels():
    x = np.arange(4.0)[:, None]
    assert label_transfer_accuracy(x, [1, 2, 10, None], x, ["1", "2", "10", "1"], 1) == 3 / 4
    assert label_transfer_accuracy(x, [1.0, 2.0, 10.0, np.nan], x, pd.Categorical([1, 2, 10, None]), 1) == 1


def test_votes_that_tie_go_to_the_smaller_label_as_in_scikit_learn():
    """To the smaller number, not to the text that comes first."""
    x, query = np.array([[-1.0], [1.0]]), np.zeros((1, 1))
    assert KNeighborsClassifier(2).fit(x, [10, 2]).predict(query) == 2
    assert label_transfer_accuracy(x, [10, 2], query, [2], 2) == 1
    assert label_transfer_accuracy(x, ["10", "2"], query, ["10"], 2) == 1


def test_label_transfer_without_labels_is_refused():
    x = np.zeros((3, 1))
    with pytest.raises(ValueError, match="at least one query cell with a label, found none"):
        label_transfer_accuracy(x, [0, 0, 1], x, [None, np.nan, "unknown"], 1)
    with pytest.raises(ValueError, match="between 1 and the 1 labelled reference cells, found 2"):
        label_transfer_accuracy(x, [0, None, pd.NA], x, [0, 0, 1], 2)
    with pytest.raises(ValueError, match=r"one label per cell, found an array of shape \(3, 1\)"):
        label_transfer_accuracy(x, np.zeros((3, 1)), x, [0, 0, 1], 2)


def test_label_transfer_refuses_lengths():
    with pytest.raises(ValueError, match="one label per row"):
        label_transfer_accuracy(np.zeros((3, 1)), [0, 0], np.zeros((2, 1)), [0, 1], 1)


@few
@given(seed=seeds, n=cells, d=features, dtype=dtypes)
def test_foscttm_is_its_definition_by_loops(seed, n, d, dtype):
    a, b = grid(seed, 2, n, d)
    closer = 0
    for i in range(n):
        own = np.square(a[i] - b[i]).sum()
        for j in set(range(n)) - {i}:
            there, back = np.square(a[i] - b[j]).sum(), np.square(a[j] - b[i]).sum()
            closer += (there < own) + 0.5 * (there == own) + (back < own) + 0.5 * (back == own)
    value = foscttm(a.astype(dtype), b.astype(dtype))
    assert value == pytest.approx(closer / (2 * n * n), abs=1e-12)
    assert 0 <= value <= 1


@few
@given(seed=seeds, n=cells, d=features)
def test_foscttm_sees_neither_side_nor_order_nor_the_axes_of_the_space(seed, n, d):
    a, b = grid(seed, 2, n, d)
    rng = np.random.default_rng(seed)
    value, cell, axis, sign = foscttm(a, b), rng.permutation(n), rng.permutation(d), rng.choice([-1, 1], size=d)
    assert foscttm(b, a) == value
    assert foscttm(a[cell], b[cell]) == value
    assert foscttm(a[:, axis] * sign + 7, b[:, axis] * sign + 7) == value
    assert foscttm(0.25 * a, 0.25 * b) == value


@few
@given(seed=seeds, n=st.integers(2, 30), d=st.integers(2, 5))
def test_foscttm_does_not_change_by_rotation_and_shift_of_both(seed, n, d):
    a, b = continuous(seed, 2, n, d)
    rotation, shift = ortho_group.rvs(d, random_state=seed), continuous(seed + 1, d)
    assert foscttm(a @ rotation + shift, b @ rotation + shift) == pytest.approx(foscttm(a, b), abs=1e-12)


@few
@given(seed=seeds, n=cells, n_query=cells, d=features, k=st.integers(1, 30), names=st.booleans())
def test_label_transfer_is_the_accuracy_of_scikit_learn(seed, n, n_query, d, k, names):
    x, y = grid(seed, n, d).astype(float), grid(seed + 1, n_query, d).astype(float)
    label_x, label_y = (grid(seed + 2 + i, len(values), high=3) for i, values in enumerate((x, y)))
    if names:
        label_x, label_y = (np.array(["L2/3", "Sst", "Vip"])[labels] for labels in (label_x, label_y))
    k = min(k, n)
    expected = KNeighborsClassifier(k).fit(x, label_x).score(y, label_y)
    accuracy = label_transfer_accuracy(x, label_x, y, label_y, k)
    assert accuracy == expected
    assert round(accuracy * n_query, 6).is_integer()


@few
@given(seed=seeds, n=cells, n_query=cells, d=features)
def test_label_transfer_from_one_neighbour_is_its_definition_and_does_not_see_rotation(seed, n, n_query, d):
    x, y = continuous(seed, n, d), continuous(seed + 1, n_query, d)
    label_x, label_y = grid(seed + 2, n, high=3), grid(seed + 3, n_query, high=3)
    expected = np.mean(
        [label_x[np.square(x - q).sum(axis=1).argmin()] == own for q, own in zip(y, label_y, strict=True)]
    )
    assert label_transfer_accuracy(x, label_x, y, label_y, 1) == pytest.approx(expected, abs=1e-12)
    rotation = ortho_group.rvs(d, random_state=seed) if d > 1 else -np.eye(1)
    assert label_transfer_accuracy(x @ rotation, label_x, y @ rotation, label_y, 1) == pytest.approx(
        expected, abs=1e-12
    )
