"""Terms of the objectives, one pure function each, and schedules of their weights."""

from couplevi.losses._links import alignment, combination, contrastive_alignment
from couplevi.losses._profiles import kl_divergence, reconstruction
from couplevi.losses._reduce import weighted_mean
from couplevi.losses._schedules import annealing, one_cycle

__all__ = [
    "alignment",
    "annealing",
    "combination",
    "contrastive_alignment",
    "kl_divergence",
    "one_cycle",
    "reconstruction",
    "weighted_mean",
]
