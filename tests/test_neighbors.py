import numpy as np
import pytest

from couplevi import _neighbors


@pytest.fixture
def approximate(monkeypatch):
    for name, value in (("EXACT_PAIRS", 1_000), ("DOUBLE_PRECISION", 100), ("ROWS_PER_CELL", 20)):
        monkeypatch.setattr(_neighbors, name, value)


def share_found(x, queries, k):
    """Share of the nearest that are found; what is found has its distance, in order and once."""
    distance, index = _neighbors.nearest(x, queries, k)
    d = np.linalg.norm(queries[:, None] - x[None], axis=2)
    np.testing.assert_allclose(distance, np.take_along_axis(d, index, axis=1), rtol=1e-4, atol=1e-5)
    assert (np.diff(distance, axis=1) >= 0).all()
    assert all(len(set(row)) == k for row in index)
    expected = np.argsort(d, axis=1)[:, :k]
    return np.mean([np.isin(a, b).mean() for a, b in zip(index, expected, strict=True)])


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(1_000, 4))


def test_the_nearest_are_those_of_all_distances(x):
    assert share_found(x, x[:50] + 0.01, 5) == 1


def test_of_many_almost_all_are_found(approximate, x):
    assert share_found(x, x[:300] + 0.01, 5) > 0.99
    assert share_found(x, x[:1] + 0.01, 5) == 1  # few pairs are all compared


def test_the_same_are_found_again(approximate, x):
    first, again = (_neighbors.nearest(x, x, 5) for _ in range(2))
    np.testing.assert_array_equal(first[1], again[1])


def test_only_cells_around_a_query_are_searched(approximate, monkeypatch, x):
    monkeypatch.setattr(_neighbors, "N_PROBES", 1)
    assert share_found(x, x, 5) < 0.9


@pytest.mark.parametrize("k", [3, 60])
def test_equal_rows_and_single_ones_have_neighbours(approximate, k):
    x = np.vstack([np.ones((300, 3)), 100 * np.random.default_rng(0).normal(size=(100, 3))])
    distance, index = _neighbors.nearest(x, x, k)
    assert (distance[:300] == 0).all() and (index[:300] < 300).all()
    assert all(len(set(row)) == k for row in index)
    assert np.isfinite(distance).all()


def test_rows_that_are_all_equal_have_neighbours(approximate):
    distance, index = _neighbors.nearest(np.ones((400, 3)), np.zeros((10, 3)), 5)
    np.testing.assert_allclose(distance, np.sqrt(3))
    assert index.shape == (10, 5)


def test_many_queries_may_ask_few_rows(approximate):
    x = np.random.default_rng(0).normal(size=(15, 3))
    assert share_found(x, np.random.default_rng(1).normal(size=(100, 3)), 4) == 1
