from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from scipy.optimize import linear_sum_assignment

from couplevi._arrays import effective_matches
from couplevi._validate import expected

if TYPE_CHECKING:
    from couplevi._types import FloatArray, IntArray

MAX_ASSIGNMENT = 5_000
"""Cells of the smaller side up to which a one-to-one match is computed; its time grows with their cube."""

BISECTIONS = 40
LARGEST_POWER = 1e6
SCALINGS = 10
SMALLEST_CONFIDENCE = 1e-12


@dataclass(frozen=True, eq=False)
class BlockReport:
    """How a solver went on one group of cells, or on all of them.

    Attributes
    ----------
    group
        Label of the group; None where cells are not in groups.
    objective
        What the solver minimised, at the end.
    converged
        Whether it stopped by itself, its inner loops included: the objective has settled, and one more scaling of rows
        and columns would move at most a ten-thousandth of the mass. Turns of a refinement, whose number is a setting,
        do not count; :class:`~couplevi.correspondence.UnionCom` has limits of its own.
    history
        Objective after each iteration.
    restarts
        Objectives of all starts, the best first. Starts that end close to the best one with other matches mean that
        the data do not tell which is right.

    Examples
    --------
    >>> import numpy as np
    >>> from couplevi.correspondence import UnionCom
    >>> x, groups = np.random.default_rng(0).normal(size=(40, 3)), ["a", "b"] * 20
    >>> f = UnionCom(max_iter=100).solve(x, -2 * x, groups=(groups, groups))
    >>> [(report.group, report.objective == report.history[-1]) for report in f.blocks]
    [('a', True), ('b', True)]
    """

    group: object
    objective: float
    converged: bool
    history: tuple[float, ...]
    restarts: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Correspondence:
    """An inferred correspondence between the profiles of two modalities, and how it was found.

    Attributes
    ----------
    matrix
        Confidences F in (0, 1], float32 CSR of shape ``(n_a, n_b)``; rows sum to at most 1, and known links have the
        confidence that was given.
    solver
        Name of the solver.
    blocks
        One report per group of cells.
    coordinates
        Coordinates of both modalities in one space, shapes ``(n_a, d)`` and ``(n_b, d)``, if the solver has them.

    Examples
    --------
    >>> import numpy as np
    >>> from couplevi.correspondence import UnionCom
    >>> x = np.random.default_rng(0).normal(size=(40, 3))
    >>> f = UnionCom(max_iter=100).solve(x, -2 * x)
    >>> f.solver, f.matrix.shape, f.effective_matches.shape
    ('unioncom', (40, 40), (40,))
    """

    matrix: sp.csr_array
    solver: str
    blocks: tuple[BlockReport, ...]
    coordinates: tuple[FloatArray, FloatArray] | None = None

    def __post_init__(self) -> None:
        for array in (self.matrix.data, self.matrix.indices, self.matrix.indptr, *(self.coordinates or ())):
            array.flags.writeable = False

    @property
    def objective(self) -> float:
        """Sum of the objectives of all groups."""
        return float(sum(block.objective for block in self.blocks))

    @property
    def converged(self) -> bool:
        """Whether the solver stopped by itself on every group."""
        return all(block.converged for block in self.blocks)

    @cached_property
    def effective_matches(self) -> FloatArray:
        """Effective number of matches of each row, see :func:`effective_matches`, shape ``(n_a,)``."""
        matches = effective_matches(self.matrix)
        matches.flags.writeable = False
        return matches

    def one_to_one(self) -> IntArray:
        """Column matched to each row when every column is used at most once, shape ``(n_a,)``; -1 for none.

        The assignment of the largest product of confidences; a row gets none of the columns that its row of F leaves
        out.
        Needs 8 bytes for each of ``n_a * n_b`` pairs, and time that grows with the cube of the smaller side.

        Raises
        ------
        ValueError
            If both sides have more than 5,000 profiles.
        """
        if min(self.matrix.shape) > MAX_ASSIGNMENT:
            remedy = "Match within groups, or use the largest confidence of each row, `matrix.argmax(axis=1)`."
            raise ValueError(expected(f"at most {MAX_ASSIGNMENT} profiles on one side", str(self.matrix.shape), remedy))
        confidence = self.matrix.toarray().astype(np.float64)
        log = np.log(confidence, out=np.full(confidence.shape, -np.inf), where=confidence > 0)
        worst = log[np.isfinite(log)].min(initial=0.0)
        log[confidence == 0] = min(confidence.shape) * (worst - 1)  # so that no listed match is given up for it
        rows, columns = linear_sum_assignment(log, maximize=True)
        match = np.full(len(confidence), -1)
        match[rows] = np.where(confidence[rows, columns] > 0, columns, -1)
        return match


def sharpen(matrix: sp.csr_array, target: float) -> sp.csr_array:
    """Raise all confidences to one power such that rows have `target` effective matches on average.

    Sums of rows stay as they are, those of columns as far as the sharper rows allow. Ties are never broken, so rows of
    equal confidences stay above the target.

    Parameters
    ----------
    matrix
        Confidences without explicit zeros, CSR.
    target
        Mean number of effective matches over the rows that have any, at least 1.

    Returns
    -------
    Confidences of the same shape, CSR; `matrix` itself if it is that sharp already.

    Examples
    --------
    >>> import scipy.sparse as sp
    >>> from couplevi.correspondence import effective_matches, sharpen
    >>> f = sp.csr_array([[0.5, 0.3, 0.2], [0.2, 0.6, 0.2]])
    >>> round(float(effective_matches(sharpen(f, 1.5)).mean()), 2)
    1.5
    """
    if _mean_matches(matrix) <= target:
        return matrix
    row, column = matrix.tocoo().coords
    rows, columns = np.bincount(row, matrix.data, matrix.shape[0]), np.bincount(column, matrix.data, matrix.shape[1])
    log = np.log(matrix.data)
    for _ in range(SCALINGS):  # what depends on the row or the column alone says nothing about who matches whom
        for index, n in ((column, len(columns)), (row, len(rows))):
            log = log - (np.bincount(index, log, n) / np.bincount(index, minlength=n).clip(min=1))[index]
    top = np.full(len(rows), -np.inf)
    np.maximum.at(top, row, log)
    log -= top[row]

    def at(power: float) -> sp.csr_array:
        weight = np.exp(power * log)
        for _ in range(SCALINGS):
            weight *= (columns / np.bincount(column, weight, len(columns)).clip(min=1e-300))[column]
            weight *= (rows / np.bincount(row, weight, len(rows)).clip(min=1e-300))[row]
        return sp.csr_array((weight, (row, column)), shape=matrix.shape)

    low, high = 1.0, LARGEST_POWER
    for _ in range(BISECTIONS):
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if _mean_matches(at(middle)) > target else (low, middle)
    sharp = at(high)
    sharp.data[sharp.data < SMALLEST_CONFIDENCE] = 0
    sharp.eliminate_zeros()
    return sharp


def _mean_matches(matrix: sp.csr_array) -> float:
    matches = effective_matches(matrix)
    return float(matches[matches > 0].mean()) if matches.any() else 0.0
