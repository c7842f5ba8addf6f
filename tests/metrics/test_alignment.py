import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import KNeighborsClassifier

from couplevi.metrics import foscttm, label_transfer_accuracy


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
