"""Which profiles of two modalities belong together: solvers on arrays, which know no AnnData."""

from couplevi._arrays import effective_matches
from couplevi.correspondence._anchored import Anchored
from couplevi.correspondence._gromov import GromovWasserstein
from couplevi.correspondence._record import BlockReport, Correspondence, sharpen
from couplevi.correspondence._solver import Problem, Solution, Solver
from couplevi.correspondence._unioncom import UnionCom

__all__ = [
    "Anchored",
    "BlockReport",
    "Correspondence",
    "GromovWasserstein",
    "Problem",
    "Solution",
    "Solver",
    "UnionCom",
    "effective_matches",
    "sharpen",
]
