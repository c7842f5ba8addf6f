import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import shortest_path
from scipy.stats import ortho_group

from couplevi import _neighbors
from couplevi.correspondence._graph import geodesic_distances, neighbor_graph

few = settings(max_examples=40, deadline=None)
seeds = st.integers(0, 10**6)


@few
@given(seed=seeds, n=st.integers(2, 20), k=st.integers(1, 6))
def test_geodesic_distances_are_a_metric_that_sees_neither_order_nor_rotation(seed, n, k):
    rng = np.random.default_rng(seed)
    x, order, rotation = rng.normal(size=(n, 3)), rng.permutation(n), ortho_group.rvs(3, random_state=seed)
    graph = neighbor_graph(x, k)
    assert abs(graph - graph.T).max() == 0
    assert (graph.diagonal() == 0).all()
    straight = np.linalg.norm(x[:, None] - x, axis=2)
    row, column = graph.tocoo().coords
    np.testing.assert_allclose(graph.data, straight[row, column])
    nearest = np.argsort(straight + np.diag(np.full(n, np.inf)), axis=1)[:, : min(k, n - 1)]
    assert (graph.toarray()[np.arange(n)[:, None], nearest] > 0).all()
    distance = geodesic_distances(graph, np.arange(n))
    reference = shortest_path(graph, method="FW", directed=False)
    reference[np.isinf(reference)] = 2 * reference[np.isfinite(reference)].max()
    np.testing.assert_allclose(distance, reference / reference.max(), atol=1e-12)
    np.testing.assert_allclose(distance, distance.T, atol=1e-12)
    assert (distance[:, :, None] <= distance[:, None, :] + distance[None] + 1e-9).all()
    other = geodesic_distances(neighbor_graph(4 * (x @ rotation)[order] - 1, k), np.arange(n))
    np.testing.assert_allclose(other, distance[np.ix_(order, order)], atol=1e-9)


def test_disconnected_parts_are_far_from_each_other():
    x = np.vstack([np.random.default_rng(0).normal(size=(20, 2)), 100 + np.random.default_rng(1).normal(size=(20, 2))])
    distance = geodesic_distances(neighbor_graph(x, 4), np.arange(40))
    within = distance[:20, :20].max()
    assert np.isfinite(distance).all()
    assert (distance[:20, 20:] == 1).all()
    assert within <= 0.5


def test_cells_at_the_same_place_stay_connected():
    x = np.repeat(np.random.default_rng(0).normal(size=(10, 2)), 3, axis=0)
    distance = geodesic_distances(neighbor_graph(x, 5), np.arange(30))
    assert distance[0, 1] < 1e-6


def test_geodesics_follow_a_circle():
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    circle = np.column_stack([np.cos(angle), np.sin(angle)])
    distance = geodesic_distances(neighbor_graph(circle, 2), np.array([0]))[0]
    np.testing.assert_allclose(distance, np.minimum(angle, 2 * np.pi - angle) / np.pi, atol=1e-3)


def test_geodesics_along_neighbours_of_many_are_almost_those_of_all(monkeypatch):
    x = np.random.default_rng(0).normal(size=(2_000, 3))
    sources = np.arange(20)
    exact = geodesic_distances(neighbor_graph(x, 10), sources)
    for name, value in (("EXACT_PAIRS", 1_000), ("ROWS_PER_CELL", 30)):
        monkeypatch.setattr(_neighbors, name, value)
    found = geodesic_distances(neighbor_graph(x, 10), sources)
    assert 0 < np.abs(found - exact).max() < 0.05
    assert (found[sources, sources] == 0).all()


def test_one_cell_has_no_distance():
    np.testing.assert_array_equal(geodesic_distances(neighbor_graph(np.zeros((1, 2)), 3), np.array([0])), [[0.0]])
