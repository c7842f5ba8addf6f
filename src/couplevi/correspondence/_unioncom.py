from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from couplevi._docs import fill_docs
from couplevi._validate import check_count, check_number
from couplevi.correspondence._graph import geodesic_distances, neighbor_graph
from couplevi.correspondence._solver import Coordinates, Problem, Solution, Solver, refuse

if TYPE_CHECKING:
    from couplevi._types import FloatArray

MAX_PROFILES = 5_000
BETA_1, BETA_2, DELTA = 0.9, 0.999, 1e-7
REPORT_EVERY = 50
FEASIBLE = 0.02
"""Largest deviation of a row from its mass, and excess of a column, at which the solver counts as converged."""
STILL = 0.01
"""Largest relative change of the objective since the report before, likewise."""


@fill_docs
@dataclass(frozen=True, kw_only=True)
class UnionCom(Solver):
    """The published solver that JAMIE infers F with: matches distance matrices by a primal-dual iteration.

    Minimises ``||alpha Kx - F Ky F^T||^2`` over non-negative F whose rows sum to 1 and columns to at most 1, Kx and Ky
    being geodesic distances divided by the larger number of profiles and alpha a free scale. Its F is almost uniform;
    what it knows is in small differences, which the one-to-one match brings out. Kept for comparison:
    :class:`~couplevi.correspondence.GromovWasserstein` is faster and better on all data it was tried on.

    It stops after `max_iter` iterations, and has converged if no row misses its mass and no column exceeds it by more
    than 0.02, and the objective changed by at most 1 % over the last 50 iterations.

    Known links stay fixed; the others are optimised around them. Time is ``max_iter * n_a * n_b * (n_a + 4 n_b)`` and
    memory ``8 * (5 n_a n_b + n_a^2 + n_b^2)`` bytes, for up to 5,000 profiles per modality.

    Parameters
    ----------
    n_neighbors
        Neighbours in the graphs along which distances are measured.
    max_iter
        Iterations.
    step
        Share of each update that is taken, in (0, 1].
    damping
        Weight of violated sums, rho in the paper.
    %(inferred)s
    seed
        Not used: nothing is drawn.

    References
    ----------
    Cao et al., Unsupervised topological alignment for single-cell multi-omics integration, Bioinformatics 2020
    (section 2.2), with the masses of the smaller modality all matched and a gradient that includes both duals.

    Examples
    --------
    >>> import numpy as np
    >>> from couplevi.correspondence import UnionCom
    >>> x = np.random.default_rng(0).normal(size=(60, 3))
    >>> f = UnionCom(max_iter=500).solve(x, -2 * x)
    >>> f.matrix.shape, bool(f.effective_matches.mean() > 50)
    ((60, 60), True)
    """

    name: ClassVar[str] = "unioncom"

    n_neighbors: int = 5
    max_iter: int = 2_000
    step: float = 0.01
    damping: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count(self.n_neighbors, "n_neighbors")
        check_count(self.max_iter, "max_iter")
        check_number(self.step, "step", 1e-9, 1)
        check_number(self.damping, "damping")

    def solve_group(self, problem: Problem, coordinates: Coordinates | None) -> Solution:
        """See :meth:`couplevi.correspondence.Solver.solve_group`."""
        refuse(max(problem.known.shape), MAX_PROFILES, self.name, "Use `method='gw'` or match within groups.")
        kx, ky = (
            geodesic_distances(neighbor_graph(values, self.n_neighbors), np.arange(len(values)))
            / max(problem.known.shape)
            for values in (problem.x, problem.y)
        )
        return self._primal_dual(kx, ky, problem)

    def _primal_dual(self, kx: FloatArray, ky: FloatArray, problem: Problem) -> Solution:
        rows, columns = problem.targets()[0], problem.column_mass
        free = (rows[:, None] > 0) & (columns > 0)
        known = problem.known.toarray()
        f = np.zeros_like(known)
        first, second = np.zeros_like(f), np.zeros_like(f)
        mu, lam, slack = np.zeros(len(rows)), np.zeros(len(columns)), np.zeros(len(columns))
        alpha = np.sqrt(problem.y.shape[1] / problem.x.shape[1])
        history = []
        for t in range(1, self.max_iter + 1):
            gradient = distortion_gradient(f + known, kx, ky, alpha)
            missing_row, missing_column = f.sum(axis=1) - rows, f.sum(axis=0) - columns + slack
            gradient += (mu + self.damping * missing_row)[:, None] + lam + self.damping * missing_column
            first += (1 - BETA_1) * (gradient - first)
            second += (1 - BETA_2) * (np.square(gradient) - second)
            update = first / (1 - BETA_1**t) / (np.sqrt(second / (1 - BETA_2**t)) + DELTA)
            f += self.step * (np.maximum(f - update, 0) * free - f)
            target = np.maximum(slack - (lam + self.damping * (f.sum(axis=0) - columns + slack)), 0)
            slack += self.step * (target - slack)
            mu += self.step * (f.sum(axis=1) - rows)
            lam += self.step * (f.sum(axis=0) - columns + slack)
            moved = (f + known) @ ky @ (f + known).T
            alpha = float((kx * moved).sum() / max(np.square(kx).sum(), 1e-300))
            if t % REPORT_EVERY == 0 or t == self.max_iter:
                history.append(float(np.square(alpha * kx - moved).sum()))
        deviation = max(np.abs(f.sum(axis=1) - rows).max(), (f.sum(axis=0) - columns).max())
        still = len(history) > 1 and abs(history[-1] - history[-2]) <= STILL * history[-1]
        return Solution(f, history[-1], bool(deviation <= FEASIBLE and still), tuple(history), (history[-1],))


def distortion_gradient(f: FloatArray, kx: FloatArray, ky: FloatArray, alpha: float) -> FloatArray:
    """Gradient of ``||alpha Kx - F Ky F^T||^2`` with respect to F, for symmetric Kx and Ky, shape of F."""
    f_ky = f @ ky
    return 4 * (f_ky @ f.T @ f_ky - alpha * kx @ f_ky)
