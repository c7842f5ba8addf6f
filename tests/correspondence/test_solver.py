"""What holds for all solvers, and for any profiles, overlaps, known links and masses."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import pairwise_distances

from couplevi.correspondence import Anchored, GromovWasserstein, Solution, Solver, UnionCom
from couplevi.correspondence._solver import _capped, _largest

few = settings(max_examples=40, deadline=None)
fewer = settings(max_examples=15, deadline=None)
seeds = st.integers(0, 10**6)
sides = st.integers(1, 9)
solvers = pytest.mark.parametrize(
    "solver",
    [Anchored(), UnionCom(max_iter=20), GromovWasserstein(n_starts=1, max_iter=20, n_refinements=1)],
    ids=lambda s: s.name,
)
ALL = [GromovWasserstein(n_starts=1), UnionCom(max_iter=800), Anchored()]
UNAIDED = [GromovWasserstein(), UnionCom()]
x3, y3 = np.random.default_rng(0).normal(size=(2, 12, 3))


def diagonal(known):
    return sp.diags_array(np.asarray(known, dtype=float)).tocsr()


@st.composite
def problems(draw):
    """Profiles of two modalities, of which some cells are linked, most of them with certainty."""
    n, m = draw(st.integers(14, 24)), draw(st.integers(14, 24))
    n_known, rng = draw(st.integers(10, min(n, m))), np.random.default_rng(draw(seeds))
    x, y = rng.normal(size=(n, 3)), rng.normal(size=(m, 4))
    confidence = rng.choice([1, 1, 1, 0.5, 0.125], n_known)
    where = (rng.permutation(n)[:n_known], rng.permutation(m)[:n_known])
    return x, y, sp.csr_array((confidence, where), shape=(n, m))


@pytest.mark.parametrize("solver", UNAIDED, ids=lambda s: s.name)
@pytest.mark.parametrize("dim", [3, 10])
def test_rotated_copies_are_matched_one_to_one(solver, dim, rotated_copy):
    x, y, truth = rotated_copy(150, dim)
    assert (solver.solve(x, y).one_to_one() == truth).mean() >= 0.95


@pytest.mark.parametrize("solver", UNAIDED, ids=lambda s: s.name)
def test_identical_data_give_the_identity(solver):
    x = np.random.default_rng(0).normal(size=(80, 4))
    assert (solver.solve(x, x).one_to_one() == np.arange(80)).all()


@pytest.mark.parametrize("solver", ALL, ids=lambda s: s.name)
def test_complete_links_are_returned_as_they_are(solver):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 3)), rng.normal(size=(40, 5))
    links = sp.csr_array(np.eye(40)[rng.permutation(40)])
    assert abs(solver.solve(x, y, links).matrix - links).max() == 0


@pytest.mark.parametrize("solver", ALL, ids=lambda s: s.name)
def test_known_links_come_out_unchanged_and_use_up_their_profiles(solver, rotated_copy):
    x, y, truth = rotated_copy(60, 3)
    known = sp.csr_array((np.full(20, 1.0), (np.arange(20), truth[:20])), shape=(60, 60)).tolil()
    known[20, truth[20]] = 0.5
    matrix = solver.solve(x, y, sp.csr_array(known)).matrix
    hard = matrix[:20].toarray()
    np.testing.assert_array_equal(hard, sp.csr_array(known)[:20].toarray())
    assert matrix[:, truth[:20]].sum() == pytest.approx(20)
    assert matrix[20, truth[20]] >= 0.5
    assert matrix.sum(axis=1).max() <= 1 + 1e-5


@pytest.mark.parametrize("solver", ALL, ids=lambda s: s.name)
@pytest.mark.parametrize("sizes", [(50, 50), (40, 60)])
def test_exchanging_the_modalities_transposes_the_plan(solver, sizes, monkeypatch):
    monkeypatch.setattr("couplevi.correspondence._solver.COVERAGE", 2.0)  # entries are chosen by rows, after the plan
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(sizes[0], 3)), rng.normal(size=(sizes[1], 4))
    known = sp.csr_array((np.ones(12), (np.arange(12), np.arange(12))), shape=sizes)
    there, back = solver.solve(x, y, known).matrix, solver.solve(y, x, sp.csr_array(known.T)).matrix
    assert abs(there - back.T).max() <= 1e-6


@pytest.mark.parametrize("solver", ALL, ids=lambda s: s.name)
@pytest.mark.parametrize("sizes", [(40, 60), (60, 40)])
def test_sides_of_different_size(solver, sizes):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(sizes[0], 3)), rng.normal(size=(sizes[1], 4))
    known = sp.csr_array((np.ones(12), (np.arange(12), np.arange(12))), shape=sizes)
    matrix = solver.solve(x, y, known).matrix
    assert matrix.shape == sizes
    assert matrix.sum(axis=1).max() <= 1 + 1e-5
    assert matrix.sum(axis=0).max() <= 1.02  # the smallest entries of a row go to its others
    assert np.isfinite(matrix.data).all()


@pytest.mark.parametrize("solver", ALL, ids=lambda s: s.name)
def test_groups_are_not_mixed(solver):
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(60, 3)), rng.normal(size=(66, 3))
    a = np.array(["p", "q", None], dtype=object)[np.arange(60) % 3]
    b = np.array(["p", "q", None, "only b"], dtype=object)[np.arange(66) % 4]
    pairs = [(i, j) for i in range(0, 60, 3) for j in range(0, 66, 4)][::18]
    row, column = np.array(pairs).T
    known = sp.csr_array((np.ones(len(pairs)), (row, column)), shape=(60, 66))
    known = None if len(np.unique(row)) < len(row) or solver.name != "anchored" else known
    if solver.name == "anchored":
        known = sp.csr_array((np.ones(12), (np.arange(0, 36, 3), np.arange(0, 48, 4))), shape=(60, 66))
    result = solver.solve(x, y, known, (a, b))
    row, column = result.matrix.tocoo().coords
    same = np.array([a[i] == b[j] or (a[i] is None and b[j] is None) for i, j in zip(row, column, strict=True)])
    assert same.all()
    assert {block.group for block in result.blocks} == {"p", "q", ""}
    assert result.matrix[:, b == "only b"].nnz == 0


def test_a_group_of_one_is_matched_evenly():
    x, y = np.random.default_rng(0).normal(size=(2, 21, 3))
    groups = np.array(["single"] + ["rest"] * 20)
    matrix = GromovWasserstein(n_starts=1).solve(x, y, groups=(groups, groups)).matrix
    assert matrix[0, 0] == 1


def test_entries_are_the_largest_of_each_row():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 3)), rng.normal(size=(60, 4))
    few, many = (GromovWasserstein(n_entries=n, n_starts=1).solve(x, y).matrix for n in (5, 60))
    assert np.diff(few.indptr).max() <= 5
    assert (few.toarray().argmax(axis=1) == many.toarray().argmax(axis=1)).all()
    np.testing.assert_allclose(few.sum(axis=1), many.sum(axis=1), rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: GromovWasserstein().solve(x3[0], y3), "`x` to be profiles by coordinates"),
        (lambda: GromovWasserstein().solve(x3, np.where(y3 > 1, np.nan, y3)), "finite values in `y`"),
        (lambda: GromovWasserstein().solve(x3, y3, sp.csr_array((3, 3))), r"`known` of shape \(12, 12\)"),
        (lambda: GromovWasserstein().solve(x3, y3, 2.0 * diagonal(np.ones(12))), "between 0 and 1 in `known`"),
        (lambda: GromovWasserstein().solve(x3, y3, groups=(["a"] * 12, ["a"])), "12 rows of `y`"),
        (lambda: Anchored().solve(x3, y3), "at least 10 known links"),
        (lambda: Anchored().solve(x3, y3, diagonal(np.arange(12) < 3)), "at least 10 known links"),
        (lambda: GromovWasserstein(n_entries=0), "n_entries"),
        (lambda: GromovWasserstein(effective_matches=0.5), "effective_matches"),
        (lambda: GromovWasserstein(epsilon=0), "epsilon"),
        (lambda: GromovWasserstein(unbalanced=0), "unbalanced"),
        (lambda: GromovWasserstein(seed=-1), "seed"),
        (lambda: GromovWasserstein(n_landmarks=1), "n_landmarks"),
        (lambda: UnionCom(step=2), "step"),
        (lambda: Anchored(temperature=0), "temperature"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("module", "solver"), [("_unioncom", UnionCom()), ("_gromov", GromovWasserstein())], ids=["unioncom", "gw"]
)
def test_too_many_profiles_are_refused_with_an_alternative(monkeypatch, module, solver):
    monkeypatch.setattr(f"couplevi.correspondence.{module}.MAX_PROFILES", 10)
    with pytest.raises(ValueError, match="at most 10 profiles.*(method|group_key)"):
        solver.solve(x3, y3)


@pytest.mark.parametrize("solver", ALL, ids=lambda s: s.name)
def test_partial_confidences_come_out_as_given(solver):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3))
    known = 0.3 * diagonal(np.arange(40) < 20)
    matrix = solver.solve(x, x @ rng.normal(size=(3, 4)), known).matrix
    np.testing.assert_allclose(matrix.diagonal()[:20], 0.3, rtol=1e-6)


def test_labels_of_whole_numbers_agree_with_floats():
    x, y = np.random.default_rng(0).normal(size=(2, 30, 3))
    groups = ([1] * 15 + [2] * 15, [1.0] * 15 + [2.0] * 14 + [np.nan])
    assert {block.group for block in GromovWasserstein().solve(x, y, groups=groups).blocks} == {"1", "2"}


def test_groups_without_a_common_label_are_refused():
    with pytest.raises(ValueError, match="groups with profiles of both modalities"):
        GromovWasserstein().solve(x3, y3, groups=(["a"] * 12, ["b"] * 12))


@pytest.mark.parametrize("solver", [GromovWasserstein(), UnionCom(max_iter=50)], ids=lambda s: s.name)
def test_repeated_cells_and_huge_values(solver):
    x = 1e200 * np.repeat(np.random.default_rng(0).integers(0, 2, size=(30, 4)), 2, axis=0).astype(float)
    matrix = solver.solve(x, x).matrix
    assert np.isfinite(matrix.data).all()
    assert matrix.sum(axis=1).max() <= 1 + 1e-5


@few
@given(seed=seeds, n=sides, m=sides, highest=st.floats(0.05, 4))
def test_a_capped_plan_exceeds_no_mass_and_stays_as_it_is_where_it_fits(seed, n, m, highest, sparse_matrix):
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
def test_the_entries_that_are_kept_are_the_largest_and_hold_the_row(seed, n, m, limit, sparse_matrix):
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


@dataclass(frozen=True, kw_only=True)
class Nearest(Solver):
    """A solver from outside: each profile is matched to the nearest one of its group, in shared coordinates."""

    name: ClassVar[str] = "nearest"
    scale: float = 1.0

    def coordinates(self, problem):
        return self.scale * problem.x, self.scale * problem.y

    def solve_group(self, problem, coordinates):
        distance = pairwise_distances(*coordinates)
        plan = np.eye(len(problem.y))[distance.argmin(axis=1)]
        return Solution(plan, float(distance.min(axis=1).mean()), bool(distance.min(axis=1).max() < 1), (), ())


def test_a_solver_from_outside_needs_public_names_alone():
    rng = np.random.default_rng(0)
    order, groups = rng.permutation(20), np.repeat(["p", "q"], 10)
    x = rng.normal(size=(20, 3))
    known = sp.csr_array((np.ones(2), ([0, 1], np.argsort(order)[:2])), shape=(20, 20))
    result = Nearest(scale=2.0).solve(x, x[order], known, (groups, groups[order]))
    np.testing.assert_array_equal(result.one_to_one(), np.argsort(order))
    assert result.solver == "nearest"
    assert result.converged
    assert {block.group for block in result.blocks} == {"p", "q"}
    np.testing.assert_allclose(result.coordinates[0], 2 * x / np.abs(x).max())
    with pytest.raises(ValueError, match="finite values in `x`"):
        Nearest().solve(np.where(x > 1, np.nan, x), x)


def test_one_group_that_has_not_converged_is_enough():
    x, groups = np.arange(12.0)[:, None], np.repeat(["near", "far"], 6)
    y = np.where(x < 6, x, 11)
    result = Nearest(scale=11.0).solve(x, y, groups=(groups, groups))
    assert {block.group: block.converged for block in result.blocks} == {"near": True, "far": False}
    assert not result.converged


def test_missing_labels_of_any_type_are_one_group_and_unknown_is_another():
    x = np.random.default_rng(0).normal(size=(15, 2))
    first = ["unknown"] * 3 + [None, np.nan, pd.NA] + [True] * 3 + [1, 1.0, "1"] + [2.5] * 3
    second = pd.Series(["unknown"] * 3 + [None] * 3 + [True] * 3 + [1] * 3 + [2.5] * 3, dtype=object)
    result = Nearest().solve(x, x, groups=(first, second))
    assert {block.group for block in result.blocks} == {"unknown", "", "True", "1", "2.5"}
    np.testing.assert_array_equal(result.one_to_one(), np.arange(15))
