"""States as Gaussians with few components and noise: transport between them, shrinkage, shifts and exact samplers."""

from couplevi.gaussians._conditional import conditional_shift
from couplevi.gaussians._gaussian import Gaussian
from couplevi.gaussians._samplers import Couplings, sample_couplings, sample_level_set
from couplevi.gaussians._shrinkage import choose_share, shrink
from couplevi.gaussians._transport import (
    MixturePlan,
    Transport,
    bures_distance2,
    bures_map,
    geodesic,
    mixture_plan,
    pairwise_distances2,
    transport,
)

__all__ = [
    "Couplings",
    "Gaussian",
    "MixturePlan",
    "Transport",
    "bures_distance2",
    "bures_map",
    "choose_share",
    "conditional_shift",
    "geodesic",
    "mixture_plan",
    "pairwise_distances2",
    "sample_couplings",
    "sample_level_set",
    "shrink",
    "transport",
]
