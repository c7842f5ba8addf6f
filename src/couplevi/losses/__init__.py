"""Terms of the objectives, one pure function each, and schedules of their weights."""

from couplevi.losses._consensus import (
    CONSENSUS_COORDINATES,
    aitchison_coordinates,
    consensus_distance,
    euclidean_coordinates,
    minimum_variance_coordinates,
)
from couplevi.losses._dispersion import overdispersion
from couplevi.losses._labels import smoothed_cross_entropy, uniform_cross_entropy
from couplevi.losses._links import alignment, combination, contrastive_alignment
from couplevi.losses._profiles import deviance, kl_divergence, reconstruction
from couplevi.losses._reduce import weighted_mean
from couplevi.losses._schedules import annealing, one_cycle

__all__ = [
    "CONSENSUS_COORDINATES",
    "aitchison_coordinates",
    "alignment",
    "annealing",
    "combination",
    "consensus_distance",
    "contrastive_alignment",
    "deviance",
    "euclidean_coordinates",
    "kl_divergence",
    "minimum_variance_coordinates",
    "one_cycle",
    "overdispersion",
    "reconstruction",
    "smoothed_cross_entropy",
    "uniform_cross_entropy",
    "weighted_mean",
]
