"""What holds for any profiles, overlaps, known links and masses."""

from itertools import permutations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import shortest_path
from scipy.stats import entropy, ortho_group

from couplevi.correspondence import (
    Anchored,
    Correspondence,
    GromovWasserstein,
    UnionCom,
    effective_matches,
    sharpen,
)
from couplevi.correspondence._graph import geodesic_distances, neighbor_graph
from couplevi.correspondence._plan import kernel, relaxed_plan
from couplevi.correspondence._solver import _capped, _largest

few = settings(max_examples=40, deadline=None)
fewer = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 10**6)
sides = st.integers(1, 9)
solvers = pytest.mark.parametrize(
    "solver",
    [Anchored(), UnionCom(max_iter=20), GromovWasserstein(n_starts=1, max_iter=20, n_refinements=1)],
    ids=lambda s: s.name,
)


def sparse_matrix(seed, n_rows, n_columns, share=0.6, highest=1.0):
    rng = np.random.default_rng(seed)
    dense = rng.uniform(0.01, highest, (n_rows, n_columns)) * (rng.random((n_rows, n_columns)) < share)
    return sp.csr_array(dense)


@st.composite
def problems(draw):
    """Profiles of two modalities, of which some cells are linked, most of them with certainty."""
    n, m = draw(st.integers(14, 24)), draw(st.integers(14, 24))
    n_known, rng = draw(st.integers(10, min(n, m))), np.random.default_rng(draw(seeds))
    x, y = rng.normal(size=(n, 3)), rng.normal(size=(m, 4))
    confidence = rng.choice([1, 1, 1, 0.5, 0.125], n_known)
    where = (rng.permutation(n)[:n_known], rng.permutation(m)[:n_known])
    return x, y, sp.csr_array((confidence, where), shape=(n, m))


@few
@given(seed=seeds, n=sides, m=sides, scale=st.floats(0.01, 100))
def test_effective_matches_are_the_exponential_of_the_entropy(seed, n, m, scale):
    f = sparse_matrix(seed, n, m)
    matches = effective_matches(f)
    for row, count, value in zip(f.toarray(), np.diff(f.indptr), matches, strict=True):
        assert value == pytest.approx(np.exp(entropy(row)) if count else 0)
        assert min(count, 1) - 1e-9 <= value <= count + 1e-9
    np.testing.assert_allclose(effective_matches(scale * f), matches)


@few
@given(seed=seeds, n=st.integers(4, 12), m=st.integers(4, 12), target=st.floats(1.5, 6))
def test_sharpening_keeps_rows_and_their_order_and_invents_no_match(seed, n, m, target):
    f = sparse_matrix(seed, n, m)
    sharp = sharpen(f, target)
    before, after = (effective_matches(g)[np.diff(f.indptr) > 0] for g in (f, sharp))
    if len(before) == 0 or before.mean() <= target:
        assert sharp is f
        return
    assert after.mean() <= target * (1 + 1e-6)
    np.testing.assert_allclose(sharp.sum(axis=1), f.sum(axis=1), rtol=1e-6, atol=1e-9)
    assert (sharp.toarray() > 0)[f.toarray() == 0].sum() == 0
    order = np.random.default_rng(seed).permutation(n)
    np.testing.assert_allclose(sharpen(f[order], target).toarray(), sharp.toarray()[order], atol=1e-6)


@few
@given(seed=seeds, n=st.integers(1, 5), m=st.integers(1, 5), share=st.floats(0.2, 1))
def test_one_to_one_is_the_largest_product_of_the_most_matches(seed, n, m, share):
    f = sparse_matrix(seed, n, m, share)
    dense = f.toarray()
    match = Correspondence(f, "any", ()).one_to_one()
    rows = np.flatnonzero(match >= 0)
    assert len(set(match[rows])) == len(rows)
    assert (dense[rows, match[rows]] > 0).all()
    wide, best = dense if n <= m else dense.T, (0, 0.0)
    for columns in permutations(range(wide.shape[1]), wide.shape[0]):
        values = wide[np.arange(wide.shape[0]), columns]
        best = max(best, ((values > 0).sum(), np.log(values[values > 0]).sum()))
    assert len(rows) == best[0]
    assert np.log(dense[rows, match[rows]]).sum() == pytest.approx(best[1])


@few
@given(seed=seeds, n=sides, m=sides, highest=st.floats(0.05, 4))
def test_a_capped_plan_exceeds_no_mass_and_stays_as_it_is_where_it_fits(seed, n, m, highest):
    plan, rng = sparse_matrix(seed, n, m, highest=highest), np.random.default_rng(seed + 1)
    rows, columns = (rng.uniform(0, 1, k) * (rng.random(k) < 0.8) for k in (n, m))
    capped = _capped(plan, rows, columns)
    assert (capped.sum(axis=1) <= rows + 1e-9).all()
    assert (capped.sum(axis=0) <= columns + 1e-9).all()
    assert (capped.toarray() <= plan.toarray() + 1e-12).all()
    np.testing.assert_allclose(_capped(capped, rows, columns).toarray(), capped.toarray(), atol=1e-12)
    np.testing.assert_allclose(_capped(plan.toarray(), rows, columns).toarray(), capped.toarray(), rtol=1e-12)
    np.testing.assert_allclose(_capped(sp.csr_array(plan.T), columns, rows).toarray(), capped.toarray().T, rtol=1e-12)
    if (plan.sum(axis=1) <= rows).all() and (plan.sum(axis=0) <= columns).all():
        np.testing.assert_array_equal(capped.toarray(), plan.toarray())


@few
@given(seed=seeds, n=sides, m=st.integers(1, 20), limit=st.integers(1, 20))
def test_the_entries_that_are_kept_are_the_largest_and_hold_the_row(seed, n, m, limit):
    f = sparse_matrix(seed, n, m)
    kept = _largest(f, limit)
    np.testing.assert_allclose(kept.sum(axis=1), f.sum(axis=1))
    for before, after in zip(f.toarray(), kept.toarray(), strict=True):
        by_size, stays = np.sort(before[before > 0])[::-1], (after > 0).sum()
        enough = np.searchsorted(np.cumsum(by_size), 0.99 * by_size.sum()) + 1 if len(by_size) else 0
        assert stays == min(limit, enough)
        assert set(before[after > 0]) == set(by_size[:stays])
        if stays:
            np.testing.assert_allclose(after[after > 0] / before[after > 0], before.sum() / by_size[:stays].sum())


@few
@given(seed=seeds, n=st.integers(2, 9), m=st.integers(2, 9), give=st.sampled_from([0.0, 0.3, 2.0]))
def test_the_plan_of_exchanged_sides_is_transposed_and_meets_the_masses(seed, n, m, give):
    rng = np.random.default_rng(seed)
    weights, rows, columns = rng.uniform(0.1, 1, (n, m)), rng.uniform(0.1, 1, n), rng.uniform(0.1, 1, m)
    columns *= rows.sum() / columns.sum()
    plan = relaxed_plan(weights, rows, columns, give)
    assert (plan >= 0).all()
    np.testing.assert_allclose(relaxed_plan(weights.T, columns, rows, give), plan.T, rtol=1e-5)
    np.testing.assert_allclose(relaxed_plan(sp.csr_array(weights), rows, columns, give).toarray(), plan, rtol=1e-9)
    if not give:
        np.testing.assert_allclose(plan.sum(axis=1), rows, rtol=1e-6)
        np.testing.assert_allclose(plan.sum(axis=0), columns, rtol=1e-6)


@few
@given(seed=seeds, n=sides, m=sides, d=st.integers(2, 4), temperature=st.floats(0.01, 3))
def test_a_kernel_sees_neither_rotation_nor_units_and_is_transposed_with_its_sides(seed, n, m, d, temperature):
    rng = np.random.default_rng(seed)
    a, b, rotation = rng.normal(size=(n, d)), rng.normal(size=(m, d)), ortho_group.rvs(d, random_state=seed)
    weights = kernel(a, b, temperature)
    assert ((weights >= 0) & (weights <= 1)).all()
    assert (weights.max(axis=1) > 0).all()
    np.testing.assert_allclose(kernel(b, a, temperature), weights.T, rtol=1e-6)
    np.testing.assert_allclose(kernel(8 * a @ rotation + 1, 8 * b @ rotation + 1, temperature), weights, rtol=1e-6)


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


@solvers
@fewer
@given(problem=problems())
def test_any_solution_keeps_the_known_links_and_gives_no_profile_away_twice(solver, problem):
    x, y, known = problem
    matrix = solver.solve(x, y, known).matrix
    assert matrix.shape == known.shape
    assert matrix.dtype == np.float32
    assert matrix.has_sorted_indices
    assert ((matrix.data > 0) & (matrix.data <= 1 + 1e-6)).all()
    row, column = known.tocoo().coords
    np.testing.assert_allclose(matrix[row, column], known[row, column], rtol=1e-6)
    certain = known.max(axis=1).toarray() == 1, known.max(axis=0).toarray() == 1
    assert (np.diff(matrix.indptr)[certain[0]] == 1).all()
    assert (np.diff(matrix.tocsc().indptr)[certain[1]] == 1).all()
    assert matrix.sum(axis=1).max() <= 1 + 1e-5


@solvers
@fewer
@given(problem=problems())
def test_exchanging_the_modalities_transposes_any_solution(solver, problem):
    x, y, known = problem
    with pytest.MonkeyPatch.context() as context:
        context.setattr("couplevi.correspondence._solver.COVERAGE", 2.0)  # entries are chosen by rows, after the plan
        there, back = solver.solve(x, y, known), solver.solve(y, x, sp.csr_array(known.T))
    assert abs(there.matrix - back.matrix.T).max() <= 1e-6
    assert there.objective == pytest.approx(back.objective, rel=1e-6, abs=1e-9)


@solvers
@fewer
@given(
    problem=problems(),
    dtype=st.sampled_from([np.float32, np.float64]),
    kind=st.sampled_from([sp.csr_matrix, sp.csc_array, sp.coo_array, sp.lil_array, np.asarray]),
)
def test_units_number_types_and_formats_do_not_matter(solver, problem, dtype, kind):
    x, y, known = problem
    x, y = x.astype(np.float32), y.astype(np.float32)
    reference = solver.solve(x, y, known).matrix
    links = kind(known.toarray().astype(dtype))
    matrix = solver.solve(4 * x.astype(dtype), 0.5 * y.astype(dtype), links).matrix
    np.testing.assert_allclose(matrix.toarray(), reference.toarray(), atol=1e-6)


@solvers
@fewer
@given(problem=problems(), seed=seeds)
def test_profiles_of_different_groups_are_never_matched(solver, problem, seed):
    x, y, known = problem
    rng = np.random.default_rng(seed)
    a, b = (rng.choice(["p", "q", "r"], size=len(values)) for values in (x, y))
    row, column = known.tocoo().coords
    b[column] = a[row]
    a[-1] = b[-1] = "s"
    free = solver.solve(x, y, known, (a, b)).matrix - known
    row, column = free.tocoo().coords
    same = (a[row] == b[column]) | (abs(free.tocoo().data) < 1e-6)
    assert same.all()


@fewer
@given(problem=problems(), seed=seeds)
def test_the_order_of_profiles_does_not_matter_to_anchored_matches(problem, seed):
    x, y, known = problem
    rng = np.random.default_rng(seed)
    rows, columns = rng.permutation(len(x)), rng.permutation(len(y))
    with pytest.MonkeyPatch.context() as context:
        context.setattr("couplevi.correspondence._solver.COVERAGE", 2.0)
        matrix = Anchored().solve(x, y, known).matrix
        other = Anchored().solve(x[rows], y[columns], known[rows][:, columns]).matrix
    np.testing.assert_allclose(other.toarray(), matrix.toarray()[np.ix_(rows, columns)], atol=1e-4)
