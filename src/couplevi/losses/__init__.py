"""Terms of the objectives, one pure function each, and schedules of their weights."""

from couplevi.losses._consensus import (
    CONSENSUS_DISTANCES,
    aitchison_distance,
    euclidean_distance,
    minimum_variance_distance,
)
from couplevi.losses._links import alignment, combination, contrastive_alignment
from couplevi.losses._profiles import kl_divergence, reconstruction
from couplevi.losses._reduce import weighted_mean
from couplevi.losses._schedules import annealing, one_cycle

__all__ = [
    "CONSENSUS_DISTANCES",
    "aitchison_distance",
    "alignment",
    "annealing",
    "combination",
    "contrastive_alignment",
    "euclidean_distance",
    "kl_divergence",
    "minimum_variance_distance",
    "one_cycle",
    "reconstruction",
    "weighted_mean",
]
