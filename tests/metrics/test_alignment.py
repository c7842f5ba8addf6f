import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
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
    return ((distance < own[:, None]).sum() + (distance < own[None, :]).sum()) / (2 * n * n)


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
    assert foscttm(x, np.zeros_like(x)) == pytest.approx(0.25, abs=0.01)  # columns tie, rows are ordered by norm


def test_ties_do_not_count():
    assert foscttm(np.zeros((4, 2)), np.zeros((4, 2))) == 0


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
        closer += sum(np.square(a[i] - b[j]).sum() < own for j in range(n))
        closer += sum(np.square(a[j] - b[i]).sum() < own for j in range(n))
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
