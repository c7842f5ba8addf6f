from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
import ot
from sklearn.cluster import KMeans
from sklearn.metrics import pairwise_distances

from couplevi._docs import fill_docs
from couplevi._validate import check_count, check_number, expected
from couplevi.correspondence._graph import geodesic_coordinates, geodesic_distances, landmarks, neighbor_graph
from couplevi.correspondence._plan import SETTLED, blur, canonical_maps, kernel, relaxed_plan
from couplevi.correspondence._solver import Coordinates, Problem, Solution, Solver, refuse

if TYPE_CHECKING:
    from couplevi._types import FloatArray, IntArray

MAX_ANCHORS = 300
"""Known links whose ends distances are compared to."""
CHECK_EVERY = 10
"""Iterations after which the distortion is looked at."""
RELATIVE_CHANGE = 1e-4
PROFILE_WIDTH = 0.05
"""Width of the first guess from distance distributions, relative to their mean difference."""
RANDOM_SPREAD = 4.0
TRIAL_ITERATIONS = 30
LEAST_MASS = 0.1
"""Mass below which a plan counts as vanished."""
DISTINCT = 0.2
"""Mass by which plans differ that count as different."""
N_PROFILE = 64
"""Quantiles of its distances that describe a profile at the start."""
N_COARSE = 60
"""Regions per modality among which starts are tried."""
N_TRIALS = 40
"""Random starts on the regions."""
EVEN = 0.1
"""Share of the even plan in a start, so that nothing is excluded."""
MAX_PROFILES = 200_000
VANISHED = "There is NaN in coupling"
"""What POT raises when all mass has vanished from an unbalanced plan."""
INNER_WARNINGS = ("Sinkhorn did not converge", "(Warning: n|N)umerical errors at iteration", "Solver failed to produce")
"""What POT warns of in its inner loops, and ``converged`` or an infinite distortion tells."""


@fill_docs
@dataclass(frozen=True, kw_only=True)
class GromovWasserstein(Solver):
    """Matches by the shapes of the two modalities alone, through entropic Gromov-Wasserstein transport.

    Distances are square roots of geodesic distances along a graph of nearest neighbours. Transport starts from several
    places: from how far each profile is from all others, and from the best of 40 random matches of 60 regions per
    modality; the start with the smallest distortion is followed to the end. Then, in turns, canonical correlation
    analysis of the matched profiles finds coordinates in one space, and profiles are matched to their neighbours in it;
    this turns matches of regions into matches of places within them, as far as the two modalities vary together.

    Known links join the distortion as fixed parts of the plan (fused Gromov-Wasserstein); in groups, each group is
    matched on its own.

    Time is ``n^2 * (n_a + n_b)`` and memory ``8 * 6 * n_a * n_b`` bytes up to `max_exact` profiles per modality. Above,
    transport is between `n_landmarks` profiles, each standing for its neighbourhood; the steps that follow use all
    profiles and are linear in them. Up to 200,000 profiles.

    Parameters
    ----------
    n_neighbors
        Neighbours in the graphs along which distances are measured.
    epsilon
        Entropic regularisation, distances being at most 1.
    max_iter
        Iterations of the transport.
    n_starts
        Starts that are followed on all profiles, the best of them to the end.
    unbalanced
        Weight, above 0, of the divergence of the plan's masses from the given ones: small values, around `epsilon`,
        let profiles without a counterpart go unmatched. None keeps the masses.
    n_refinements
        Turns of the refinement; 0 returns the transport plan itself.
    n_coordinates
        Largest number of components of the geodesic distances that describe a profile in the refinement.
    ridge
        Penalty of its canonical correlation analysis, in units of the mean variance.
    power
        Squared distances weigh each canonical axis by its correlation to this power.
    temperature
        Width of the neighbourhoods that are matched in the refinement, relative to the mean squared distance.
    max_exact
        Profiles per modality up to which all of them are transported.
    n_landmarks
        Profiles that are transported above that, the centres of k-means.
    %(inferred)s
    seed
        Of random starts and of the choice of landmarks.

    References
    ----------
    Peyre, Cuturi and Solomon, Gromov-Wasserstein averaging of kernel and distance matrices, ICML 2016; Vayer et al.,
    Optimal transport for structured data, ICML 2019; Demetci et al., SCOT, Journal of Computational Biology 2022;
    Memoli, Gromov-Wasserstein distances and the metric approach to object matching, 2011 (the start from distance
    distributions).

    Examples
    --------
    >>> import numpy as np
    >>> from couplevi.correspondence import GromovWasserstein
    >>> x = np.random.default_rng(0).normal(size=(40, 3))
    >>> f = GromovWasserstein().solve(x, x[::-1] * [1, -1, 1])
    >>> float((f.one_to_one() == np.arange(40)[::-1]).mean()) > 0.95
    True
    """

    name: ClassVar[str] = "gw"

    n_neighbors: int = 10
    epsilon: float = 5e-3
    max_iter: int = 100
    n_starts: int = 3
    unbalanced: float | None = None
    n_refinements: int = 8
    n_coordinates: int = 20
    ridge: float = 0.1
    power: float = 8.0
    temperature: float = 0.2
    max_exact: int = 2_000
    n_landmarks: int = 1_000

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("n_neighbors", "max_iter", "n_starts", "n_coordinates", "max_exact"):
            check_count(getattr(self, field), field)
        check_count(self.n_landmarks, "n_landmarks", minimum=3)
        check_count(self.n_refinements, "n_refinements", minimum=0)
        for field in ("ridge", "power"):
            check_number(getattr(self, field), field)
        for field in ("epsilon", "temperature"):
            check_number(getattr(self, field), field, 1e-6)
        if self.unbalanced is not None:
            check_number(self.unbalanced, "unbalanced", 1e-6)

    @property
    def _give(self) -> float:
        """How far the refinement may leave the masses, as far as the transport may."""
        return 0.0 if self.unbalanced is None else self.epsilon / self.unbalanced

    def solve_group(self, problem: Problem, coordinates: Coordinates | None) -> Solution:
        """See :meth:`couplevi.correspondence.Solver.solve_group`."""
        refuse(max(problem.known.shape), MAX_PROFILES, self.name, "Match within groups, `group_key=`.")
        links = problem.known.tocoo()
        anchors = np.random.default_rng(self.seed).permutation(links.nnz)[:MAX_ANCHORS]
        a, b = (
            self._side(values, mass, ends[anchors])
            for values, mass, ends in zip(problem[:2], problem[3:], links.coords, strict=True)
        )
        share_known = links.data.sum() / (links.data.sum() + min(problem.row_mass.sum(), problem.column_mass.sum()))
        transport = Transport(a, b, links.data[anchors], float(share_known), self.epsilon, self.unbalanced)
        found, history, restarts, converged = self._transport(transport)
        plan = found.plan
        if not self.n_refinements:
            limit = self.max_exact
            refuse(max(problem.known.shape), limit, f"{self.name}, n_refinements=0", "Refine, or raise `max_exact`.")
            return Solution(_of_all(plan, a, b, problem), history[-1], converged, history, restarts)
        x, y = (geodesic_coordinates(side.distances, self.n_coordinates) for side in (a, b))
        weights = None
        for _ in range(self.n_refinements):
            matched_x, matched_y, weight = _barycentric_pairs(plan, x[a.profiles], y[b.profiles])
            linked = (matched_x, matched_y, weight * (1 - share_known) / weight.sum())
            known = (x[links.coords[0]], y[links.coords[1]], links.data * share_known / max(links.data.sum(), 1e-12))
            pairs = [np.concatenate(parts) for parts in zip(linked, known, strict=True)]
            maps = canonical_maps(x, y, *pairs, ridge=self.ridge, power=self.power)
            temperature = self.temperature * blur(maps.a[a.profiles], maps.b[b.profiles])
            weights = kernel(maps.a[a.profiles], maps.b[b.profiles], temperature)
            refined = relaxed_plan(weights, a.mass, b.mass, self._give)
            plan = refined.matches
        weights = kernel(maps.a, maps.b, temperature)
        everything = relaxed_plan(weights, *problem.targets(), self._give)
        converged &= refined.converged and everything.converged
        return Solution(everything.matches, history[-1], converged, history, restarts, (maps.a, maps.b))

    def _side(self, values: FloatArray, mass: FloatArray, anchors: IntArray) -> Side:
        free = np.flatnonzero(mass > 0)
        exact = len(free) <= self.max_exact
        chosen, share = landmarks(values[free], len(free) if exact else self.n_landmarks, self.seed)
        share = mass[free] / mass.sum() if exact else share
        index = free[chosen]
        distances = geodesic_distances(neighbor_graph(values, self.n_neighbors), np.concatenate([index, anchors]))
        return Side(index, share, distances[: len(index)], np.sqrt(distances[len(index) :, index]))

    def _transport(self, transport: Transport) -> tuple[Run, tuple[float, ...], tuple[float, ...], bool]:
        """The plan of least distortion, its distortion by iterations, that of all starts, and whether it converged."""
        starts = transport.starts(self.n_starts, self.seed)
        followed = sorted((transport.run(start) for start in starts), key=lambda run: run.distortion)
        if not np.isfinite(followed[0].distortion):
            what = "`epsilon` and `unbalanced` that leave a plan"
            found = f"{self.epsilon:g} and {self.unbalanced}, with which all mass vanishes"
            raise ValueError(expected(what, found, "Choose a larger `epsilon`, or a larger `unbalanced`."))
        restarts = tuple(run.distortion for run in followed)
        best = followed[0]
        history = [best.distortion]
        for _ in range(self.max_iter // CHECK_EVERY):
            new = transport.run(best.plan)
            if not np.isfinite(new.distortion):
                break
            best = new
            history.append(best.distortion)
            if abs(history[-2] - history[-1]) <= RELATIVE_CHANGE * abs(history[-1]):
                return best, tuple(history), restarts, best.settled
        return best, tuple(history), restarts, False


class Side(NamedTuple):
    """One modality: the profiles that are transported and their distances to all."""

    profiles: IntArray
    """Profiles that are transported, shape ``(m,)``."""
    mass: FloatArray
    """Their shares, summing to 1."""
    distances: FloatArray
    """Geodesic distances to all profiles, shape ``(m, n)``."""
    to_anchors: FloatArray
    """Roots of the distances of profiles with a known partner to the transported ones, shape ``(n_anchors, m)``."""

    @property
    def cost(self) -> FloatArray:
        """Roots of the distances among the transported profiles."""
        return np.sqrt(self.distances[:, self.profiles])


class Run(NamedTuple):
    """Some iterations of the transport."""

    plan: FloatArray
    distortion: float
    """Infinite if all mass has vanished."""
    settled: bool
    """Whether one more iteration of the inner loop would move at most a ten-thousandth of the mass."""


class Transport:
    """Fused Gromov-Wasserstein problem between two sides; known links are a fixed part of the plan.

    With a share f of the mass in known links, the distortion of the whole plan is ``(1 - f)^2`` times that among the
    free profiles plus ``2 f (1 - f)`` times the mean over links of how the distances to their ends differ.
    """

    def __init__(
        self, a: Side, b: Side, confidence: FloatArray, known: float, epsilon: float, unbalanced: float | None
    ) -> None:
        self.a, self.b, self.epsilon, self.unbalanced = a, b, epsilon, unbalanced
        self.costs = (a.cost, b.cost)
        self.alpha = (1 - known) / (1 + known)
        self.linear = np.zeros((len(a.mass), len(b.mass)))
        if len(confidence):
            weight = (confidence / confidence.sum())[:, None]
            to_a, to_b = a.to_anchors, b.to_anchors
            mean_a, mean_b = ((weight * np.square(to)).sum(axis=0) for to in (to_a, to_b))
            self.linear = mean_a[:, None] + mean_b - 2 * (weight * to_a).T @ to_b

    def run(self, start: FloatArray) -> Run:
        """Some iterations from a plan."""
        try:
            with _silent_inner_loops():
                run = self._iterate(start)
        except ValueError as error:
            if VANISHED not in str(error):
                raise
            return Run(start, np.inf, False)
        vanished = not np.isfinite(run.plan).all() or run.plan.sum() <= LEAST_MASS
        return Run(run.plan, np.inf, False) if vanished else run

    def _iterate(self, start: FloatArray) -> Run:
        masses = self.a.mass, self.b.mass
        if self.unbalanced is None:
            return self._balanced(self.costs, masses, self.linear, start, CHECK_EVERY)
        plan, _, log = ot.gromov.fused_unbalanced_gromov_wasserstein(
            *self.costs, *masses, reg_marginals=self.unbalanced, epsilon=self.epsilon, alpha=(1 - self.alpha) / self.alpha,
            M=self.linear, init_pi=start, max_iter=CHECK_EVERY, unbalanced_solver="sinkhorn", log=True,
        )  # fmt: skip
        # POT does not tell whether its inner loops stopped by themselves: they go on from where the last one ended, so
        # that a loop that stops at its limit shows as a plan that still changes
        return Run(plan, float(log["fugw_cost"]), bool(log["error"][-1] <= SETTLED * plan.sum()))

    def _balanced(
        self, costs: tuple[FloatArray, FloatArray], masses: tuple[FloatArray, FloatArray], linear: FloatArray,
        start: FloatArray, max_iter: int,
    ) -> Run:  # fmt: skip
        plan, log = ot.gromov.entropic_fused_gromov_wasserstein(
            linear, *costs, *masses, epsilon=self.epsilon, alpha=self.alpha, G0=start, max_iter=max_iter, tol=0.0,
            symmetric=True, log=True, numItermax=100, stopThr=1e-7,
        )  # fmt: skip
        misplaced = max(np.abs(plan.sum(axis=axis) - mass).sum() for axis, mass in zip((1, 0), masses, strict=True))
        return Run(plan, float(log["fgw_dist"]), bool(misplaced <= SETTLED))

    def starts(self, n: int, seed: int) -> list[FloatArray]:
        """Plans to start from: distances' distributions, then the best matches of regions."""
        even = np.outer(self.a.mass, self.b.mass)
        described = [np.quantile(cost, np.linspace(0, 1, N_PROFILE), axis=1).T for cost in self.costs]
        difference = pairwise_distances(*described, "sqeuclidean") / N_PROFILE + self.linear
        weights = np.exp(-difference / (PROFILE_WIDTH * difference.mean() or 1.0))
        plans = [relaxed_plan(weights, self.a.mass, self.b.mass, 0.0).matches, *self._regional_starts(n - 1, seed)]
        return [(1 - EVEN) * plan + EVEN * even for plan in plans]

    def _regional_starts(self, n: int, seed: int) -> list[FloatArray]:
        """The best random matches of regions of both sides, spread over their profiles."""
        if n < 1:
            return []
        regions = [_regions(side, cost, seed) for side, cost in zip((self.a, self.b), self.costs, strict=True)]
        first, second = (s.T @ cost @ s for s, cost in zip(regions, self.costs, strict=True))
        mass_a, mass_b = ((s > 0).T @ side.mass for s, side in zip(regions, (self.a, self.b), strict=True))
        linear = regions[0].T @ self.linear @ regions[1]
        rng = np.random.default_rng(seed)
        found: list[Run] = []
        for _ in range(N_TRIALS):
            rough = relaxed_plan(np.exp(RANDOM_SPREAD * rng.standard_normal(linear.shape)), mass_a, mass_b, 0.0)
            with _silent_inner_loops():
                run = self._balanced((first, second), (mass_a, mass_b), linear, rough.matches, TRIAL_ITERATIONS)
            if np.isfinite(run.plan).all():
                found.append(run)
        distinct: list[FloatArray] = []
        for plan, *_ in sorted(found, key=lambda run: run.distortion):
            if all(np.abs(plan - other).sum() > DISTINCT for other in distinct):
                distinct.append(plan)
        within = [s * side.mass[:, None] for s, side in zip(regions, (self.a, self.b), strict=True)]
        within = [w / np.maximum(w.sum(axis=0), 1e-300) for w in within]
        return [within[0] @ plan @ within[1].T for plan in distinct[:n]]


@contextmanager
def _silent_inner_loops() -> Iterator[None]:
    """Without what POT and numpy say of plans that vanish and of loops that stop at their limit."""
    with warnings.catch_warnings(), np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        for message in INNER_WARNINGS:
            warnings.filterwarnings("ignore", message, UserWarning)
        yield


def _regions(side: Side, cost: FloatArray, seed: int) -> FloatArray:
    """Membership of profiles in regions by k-means, columns divided by their sums, shape ``(m, n_regions)``."""
    places = geodesic_coordinates(side.distances[:, side.profiles], 10)
    n = min(N_COARSE, max(2, len(cost) // 5), len(np.unique(places.round(6), axis=0)))
    label = KMeans(n, n_init=1, random_state=seed).fit_predict(places)
    _, label = np.unique(label, return_inverse=True)
    member = np.eye(label.max() + 1)[label]
    return member / member.sum(axis=0)


def _barycentric_pairs(plan: FloatArray, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Each profile and the mean of its matches, in both directions, with its share of the plan."""
    rows, columns = plan.sum(axis=1), plan.sum(axis=0)
    matched_x = plan.T @ x / np.maximum(columns, 1e-300)[:, None]
    matched_y = plan @ y / np.maximum(rows, 1e-300)[:, None]
    return np.vstack([x, matched_x]), np.vstack([matched_y, y]), np.concatenate([rows, columns])


def _of_all(plan: FloatArray, a: Side, b: Side, problem: Problem) -> FloatArray:
    """A plan between the transported profiles as one between all of a problem, with its masses."""
    whole = np.zeros(problem.known.shape)
    whole[np.ix_(a.profiles, b.profiles)] = plan * problem.targets()[0].sum()
    return whole
