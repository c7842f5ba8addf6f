"""Simulated data with known truth, and public data sets."""

from couplevi.data.datasets import patchseq_motor
from couplevi.data.screen import perturbation_screen
from couplevi.data.simulate import branching_manifold, count_clusters

__all__ = ["branching_manifold", "count_clusters", "patchseq_motor", "perturbation_screen"]
