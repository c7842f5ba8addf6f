from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeAlias

import numpy as np
import scipy.sparse as sp

from couplevi._labels import label_texts
from couplevi._validate import check_confidences, check_count, check_finite, check_number, expected, listing
from couplevi.correspondence._record import BlockReport, Correspondence, sharpen

if TYPE_CHECKING:
    from couplevi._types import FloatArray, IntArray

Coordinates: TypeAlias = "tuple[FloatArray, FloatArray]"

COVERAGE = 0.99
"""Share of a row's matches that is kept; the rest are too many to be worth their place."""

SMALLEST_SHAPE = 3
"""Cells below which a group has no shape to be matched by: its cells are matched evenly."""


class Problem(NamedTuple):
    """Profiles of two modalities to match: all of them, or those of one group.

    Attributes
    ----------
    x, y
        Profiles by coordinates, shapes ``(n_a, p)`` and ``(n_b, q)``, finite, the largest absolute value of each
        modality being 1.
    known
        Known links, CSR of shape ``(n_a, n_b)``, with rows and columns that sum to at most 1.
    row_mass, column_mass
        What known links leave to be matched of each profile, in [0, 1], shapes ``(n_a,)`` and ``(n_b,)``.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp
    >>> from couplevi.correspondence import Problem
    >>> problem = Problem(np.eye(3), np.eye(2), sp.csr_array((3, 2)), np.ones(3), np.ones(2))
    >>> rows, columns = problem.targets()
    >>> rows.round(2).tolist(), columns.tolist()
    ([0.67, 0.67, 0.67], [1.0, 1.0])
    """

    x: FloatArray
    y: FloatArray
    known: sp.csr_array
    row_mass: FloatArray
    column_mass: FloatArray

    def restricted(self, rows: IntArray, columns: IntArray) -> Problem:
        """Some rows and columns."""
        known = self.known[rows][:, columns]
        return Problem(self.x[rows], self.y[columns], known, self.row_mass[rows], self.column_mass[columns])

    def transposed(self) -> Problem:
        """The modalities exchanged."""
        return Problem(self.y, self.x, sp.csr_array(self.known.T), self.column_mass, self.row_mass)

    def targets(self) -> tuple[FloatArray, FloatArray]:
        """Masses of rows and columns, the larger side lowered to the total of the smaller one."""
        rows, columns = self.row_mass.sum(), self.column_mass.sum()
        return self.row_mass * min(1.0, columns / rows), self.column_mass * min(1.0, rows / columns)


class Solution(NamedTuple):
    """What a solver finds for a problem.

    Attributes
    ----------
    plan
        Matches in addition to known ones, shape ``(n_a, n_b)``, at least 0. Rows and columns that exceed the masses of
        the problem are lowered to them afterwards.
    objective
        What the solver minimised, at the end.
    converged
        Whether it stopped by itself, its inner loops included.
    history
        Objective after each iteration.
    restarts
        Objectives of all starts, the best first.
    coordinates
        Of both modalities in one space, shapes ``(n_a, d)`` and ``(n_b, d)``; None if the solver has none.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp
    >>> from couplevi.correspondence import Problem, UnionCom
    >>> x = np.random.default_rng(0).normal(size=(20, 3))
    >>> problem = Problem(x, -2 * x, sp.csr_array((20, 20)), np.ones(20), np.ones(20))
    >>> solution = UnionCom(max_iter=100).solve_group(problem, None)
    >>> solution.plan.shape, solution.objective == solution.restarts[0], solution.coordinates
    ((20, 20), True, None)
    """

    plan: FloatArray | sp.csr_array
    objective: float
    converged: bool
    history: tuple[float, ...]
    restarts: tuple[float, ...]
    coordinates: Coordinates | None = None


@dataclass(frozen=True, kw_only=True)
class Solver(ABC):
    """What all solvers share: known links, groups, and the way from a plan to a sparse F.

    A solver of your own is a frozen, keyword-only dataclass that subclasses this one, has a `name`, and implements
    :meth:`solve_group`; one that brings both modalities into one space before groups are matched also overrides
    :meth:`coordinates`. Everything else is taken care of in :meth:`solve`, which is called and not overridden.

    Attributes
    ----------
    name
        Of the solver, as ``method`` of :func:`couplevi.tl.match`.
    n_entries
        Largest number of matches kept of a profile.
    effective_matches
        Mean number of effective matches that F is sharpened to; None leaves it as it is.
    seed
        Of all random draws.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> import numpy as np
    >>> from sklearn.metrics import pairwise_distances
    >>> from couplevi.correspondence import Solution, Solver
    >>> @dataclass(frozen=True, kw_only=True)
    ... class Nearest(Solver):
    ...     name = "nearest"
    ...
    ...     def solve_group(self, problem, coordinates):
    ...         distance = pairwise_distances(problem.x, problem.y)
    ...         plan = np.eye(len(problem.y))[distance.argmin(axis=1)]
    ...         return Solution(plan, float(distance.min(axis=1).mean()), True, (), ())
    >>> x = np.array([[0.0], [1.0], [3.0]])
    >>> Nearest().solve(x, x[::-1]).one_to_one()
    array([2, 1, 0])
    """

    name: ClassVar[str]

    n_entries: int = 500
    effective_matches: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_count(self.n_entries, "n_entries")
        check_count(self.seed, "seed", minimum=0)
        if self.effective_matches is not None:
            check_number(self.effective_matches, "effective_matches", 1)

    def solve(
        self,
        x: FloatArray,
        y: FloatArray,
        known: sp.csr_array | None = None,
        groups: tuple[Sequence[Any], Sequence[Any]] | None = None,
    ) -> Correspondence:
        """Match the rows of two arrays.

        Parameters
        ----------
        x, y
            Profiles by coordinates, shapes ``(n_a, p)`` and ``(n_b, q)``, in which Euclidean distances mean something.
        known
            Confidences of known links in [0, 1], shape ``(n_a, n_b)``. They come out as they are (divided by the sum
            of their row or column where it exceeds 1), and only what they leave of a profile is matched.
        groups
            Labels of the rows of `x` and of `y`: only profiles with the same label are matched, and those of a label
            that the other modality lacks are left unmatched. Missing labels form a group of their own.

        Returns
        -------
        An immutable record. Exchanging the modalities transposes F, but for the choice of the `n_entries` per row.

        Raises
        ------
        ValueError
            For NaN or infinite coordinates, shapes that do not fit, more profiles than the solver can take, or too
            few known links for a solver that needs them.
        """
        problem = _problem(x, y, known)
        labels = _labels(groups, problem)
        # Always solved in the same orientation, so that exchanging the modalities transposes the plan exactly.
        swapped = _order(problem.y) < _order(problem.x)
        oriented, sides = (problem.transposed(), labels[::-1]) if swapped else (problem, labels)
        shared = self.coordinates(oriented)
        inferred, reports = [problem.known.astype(np.float64)], []
        for group, rows, columns in _blocks(sides, oriented):
            part = oriented.restricted(rows, columns)
            within = None if shared is None else (shared[0][rows], shared[1][columns])
            free = min((part.row_mass > 0).sum(), (part.column_mass > 0).sum())
            solution = _evenly(part) if free < SMALLEST_SHAPE else self.solve_group(part, within)
            reports.append(BlockReport(group, *solution[1:5]))
            if len(rows) == len(oriented.x) and len(columns) == len(oriented.y):
                shared = solution.coordinates or shared
            plan, target = _without(solution.plan, part.known), (part.row_mass, part.column_mass)
            if swapped:
                plan, target, rows, columns = plan.T, target[::-1], columns, rows
            kept = _largest(_capped(plan, *target), self.n_entries).tocoo()
            where = (rows[kept.coords[0]], columns[kept.coords[1]])
            inferred.append(sp.csr_array((kept.data, where), shape=problem.known.shape))
        free = sum(inferred[1:], sp.csr_array(problem.known.shape, dtype=np.float64))
        if self.effective_matches is not None:
            free = sharpen(free, self.effective_matches)
        matrix = sp.csr_array(free + inferred[0]).astype(np.float32)
        matrix.eliminate_zeros()
        matrix.sort_indices()
        shared = shared and (shared[::-1] if swapped else shared)
        return Correspondence(matrix, self.name, tuple(reports), shared)

    def coordinates(self, problem: Problem) -> Coordinates | None:
        """Place both modalities in one space, if that can be done before groups are matched.

        Parameters
        ----------
        problem
            All profiles and all known links.

        Returns
        -------
        Coordinates of all profiles, shapes ``(n_a, d)`` and ``(n_b, d)``; None if there are none yet.
        """
        return None

    @abstractmethod
    def solve_group(self, problem: Problem, coordinates: Coordinates | None) -> Solution:
        """Match the profiles of one group, or all if there are no groups.

        Parameters
        ----------
        problem
            The profiles and known links of the group; at least 3 profiles of each modality have mass left.
        coordinates
            Rows of what :meth:`coordinates` gave that belong to the group.

        Returns
        -------
        The plan, and how it was found: `converged` is True only if every loop stopped by itself.
        """


def _without(plan: FloatArray | sp.csr_array, known: sp.csr_array) -> sp.csr_array:
    """The plan without the pairs whose link is known: it has its confidence already."""
    plan = sp.csr_array(plan)
    return sp.csr_array(plan - plan.multiply(known > 0))


def refuse(n: int, limit: int, solver: str, remedy: str) -> None:
    """Raise ValueError if a group is larger than a solver can take."""
    if n > limit:
        raise ValueError(expected(f"at most {limit} profiles per modality and group for {solver!r}", n, remedy))


def _problem(x: FloatArray, y: FloatArray, known: sp.csr_array | None) -> Problem:
    x, y = (np.array(values, dtype=np.float64) for values in (x, y))
    for name, values in (("x", x), ("y", y)):
        if values.ndim != 2 or 0 in values.shape:
            raise ValueError(expected(f"`{name}` to be profiles by coordinates", f"shape {values.shape}"))
        check_finite(values, f"`{name}`")
        values /= np.abs(values).max() or 1.0
    shape = (len(x), len(y))
    links = sp.csr_array(shape, dtype=np.float32) if known is None else check_confidences(known, "`known`")
    if links.shape != shape:
        raise ValueError(expected(f"`known` of shape {shape}", f"{links.shape}"))
    links = _capped(links.astype(np.float64), np.ones(shape[0]), np.ones(shape[1]))
    row_mass, column_mass = (np.clip(1 - np.asarray(links.sum(axis=axis)).ravel(), 0, 1) for axis in (1, 0))
    row_mass[row_mass < 1e-6], column_mass[column_mass < 1e-6] = 0, 0
    return Problem(x, y, links, row_mass, column_mass)


def _labels(groups: tuple[Sequence[Any], Sequence[Any]] | None, problem: Problem) -> tuple[FloatArray, FloatArray]:
    if groups is None:
        return np.zeros(len(problem.x)), np.zeros(len(problem.y))
    labels = []
    for name, given, n in zip("xy", groups, problem.known.shape, strict=True):
        if len(given) != n:
            raise ValueError(expected(f"a group for each of the {n} rows of `{name}`", f"{len(given)} groups"))
        texts = label_texts(given, missing=frozenset())
        labels.append(np.where(texts == texts, texts, "").astype(str))  # NaN is not itself
    if not len(np.intersect1d(labels[0], labels[1])):
        found = " and ".join(listing(np.unique(side), 3) for side in labels)
        raise ValueError(expected("groups with profiles of both modalities", found))
    return labels[0], labels[1]


def _blocks(labels: tuple[Any, Any], problem: Problem) -> Iterator[tuple[object, IntArray, IntArray]]:
    """Label, rows and columns of each group in which both sides have something left to match."""
    for label in np.intersect1d(*labels):
        rows, columns = (np.flatnonzero(side == label) for side in labels)
        if problem.row_mass[rows].any() and problem.column_mass[columns].any():
            yield (None if isinstance(label, float) else str(label)), rows, columns


def _order(values: FloatArray) -> tuple[float, ...]:
    return len(values), values.shape[1], float(np.abs(values).sum()), float(values.sum()), *values[0]


def _evenly(problem: Problem) -> Solution:
    rows, columns = problem.targets()
    return Solution(np.outer(rows, columns) / rows.sum(), 0.0, True, (), ())


def _capped(plan: Any, rows: FloatArray, columns: FloatArray) -> sp.csr_array:
    """The plan with each entry divided by the excess of its row or column over its mass, whichever is larger."""
    excess = [
        np.divide(total, mass, out=np.ones(len(mass)), where=mass > 0).clip(min=1)
        for total, mass in (
            (np.asarray(plan.sum(axis=1)).ravel(), rows),
            (np.asarray(plan.sum(axis=0)).ravel(), columns),
        )
    ]
    coo = sp.coo_array(plan)
    row, column = coo.coords
    allowed = (rows[row] > 0) & (columns[column] > 0)
    data = coo.data / np.maximum(excess[0][row], excess[1][column]) * allowed
    matrix = sp.csr_array((data, (row, column)), shape=coo.shape)
    matrix.eliminate_zeros()
    return matrix


def _largest(matrix: sp.csr_array, n: int) -> sp.csr_array:
    """The fewest entries that hold 99 % of each row, at most `n`, the sum of each row being kept."""
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = np.lexsort((-matrix.data, row))
    rank = np.arange(len(row)) - matrix.indptr[row]
    total = np.bincount(row, matrix.data, matrix.shape[0])
    before = np.cumsum(matrix.data[order]) - matrix.data[order]
    before -= np.repeat(np.concatenate([[0], np.cumsum(total)[:-1]]), np.diff(matrix.indptr))
    keep = order[(rank < n) & (before < COVERAGE * total[row])]
    kept = np.bincount(row[keep], matrix.data[keep], matrix.shape[0])
    data = matrix.data[keep] * (total / np.where(kept > 0, kept, 1))[row[keep]]
    return sp.csr_array((data, (row[keep], matrix.indices[keep])), shape=matrix.shape)
