from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from couplevi._docs import fill_docs
from couplevi._validate import check_count, check_number, expected
from couplevi.correspondence._graph import geodesic_coordinates, geodesic_distances, leading_coordinates, neighbor_graph
from couplevi.correspondence._plan import canonical_maps, kernel, relaxed_plan
from couplevi.correspondence._solver import Coordinates, Problem, Solution, Solver

if TYPE_CHECKING:
    from couplevi._types import FloatArray

FEWEST_LINKS = 10


@fill_docs
@dataclass(frozen=True, kw_only=True)
class Anchored(Solver):
    """Matches by what some known links teach about the two modalities.

    Each profile is described by its own coordinates and by its geodesic distances to landmarks, which are profiles
    with a known partner and so mean the same in both modalities. Canonical correlation analysis of the linked profiles
    turns both descriptions into coordinates of one space, in which profiles are matched to their neighbours.

    Time and memory grow about linearly with the number of profiles: ``n_landmarks * n_neighbors * n log n`` operations
    and ``8 * n_landmarks * n`` bytes. Neighbours are exact up to 20,000 profiles, in quadratic time; above, about one in
    a hundred is missed.

    Parameters
    ----------
    n_neighbors
        Neighbours in the graphs along which distances are measured.
    n_landmarks
        Largest number of landmarks.
    n_coordinates
        Largest number of coordinates, and of components of the distances, that describe a profile.
    ridge
        Penalty of the canonical correlation analysis, in units of the mean variance: more for fewer links.
    power
        Squared distances weigh each canonical axis by its correlation to this power.
    temperature
        Width of the neighbourhoods that are matched, relative to the mean squared distance.
    give
        0 uses every profile as often as its modality's size allows; more lets profiles without a counterpart go
        unmatched.
    %(inferred)s
    seed
        Of the choice of landmarks.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp
    >>> from couplevi.correspondence import Anchored
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 3))
    >>> known = sp.diags_array((np.arange(200) < 40).astype(float)).tocsr()
    >>> f = Anchored().solve(x, -2 * x, known)
    >>> float((f.matrix.argmax(axis=1) == np.arange(200)).mean()) > 0.9
    True
    """

    name: ClassVar[str] = "anchored"

    n_neighbors: int = 15
    n_landmarks: int = 100
    n_coordinates: int = 20
    ridge: float = 0.3
    power: float = 3.0
    temperature: float = 0.03
    give: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("n_neighbors", "n_landmarks", "n_coordinates"):
            check_count(getattr(self, field), field)
        for field in ("ridge", "power", "give"):
            check_number(getattr(self, field), field)
        check_number(self.temperature, "temperature", 1e-6)

    def coordinates(self, problem: Problem) -> Coordinates:
        """Canonical coordinates of all profiles, from the known links of all groups."""
        links = problem.known.tocoo()
        rows, columns = links.coords
        if len(rows) < FEWEST_LINKS:
            remedy = "Use `method='gw'`, which needs none."
            raise ValueError(expected(f"at least {FEWEST_LINKS} known links for 'anchored'", len(rows), remedy))
        chosen = np.sort(np.random.default_rng(self.seed).permutation(len(rows))[: self.n_landmarks])
        x, y = self._description(problem.x, rows[chosen]), self._description(problem.y, columns[chosen])
        maps = canonical_maps(x, y, x[rows], y[columns], links.data, ridge=self.ridge, power=self.power)
        return maps.a, maps.b

    def _description(self, values: FloatArray, anchors: np.ndarray) -> FloatArray:
        n = min(self.n_coordinates, max(1, len(anchors) // 2))
        distances = geodesic_distances(neighbor_graph(values, self.n_neighbors), anchors)
        return np.hstack([leading_coordinates(values, self.n_coordinates), geodesic_coordinates(distances, n)])

    def solve_group(self, problem: Problem, coordinates: Coordinates | None) -> Solution:
        """See :meth:`couplevi.correspondence.Solver.solve_group`."""
        assert coordinates is not None
        weights = kernel(*coordinates, self.temperature)
        plan = relaxed_plan(weights, *problem.targets(), self.give)
        a, b = coordinates
        rows, columns = problem.known.tocoo().coords
        error = float(np.square(a[rows] - b[columns]).sum(axis=1).mean()) if len(rows) else 0.0
        return Solution(plan.matches, error, plan.converged, (error,), (error,))
