"""Simulated data with known truth, public data sets, and ontologies of cell types."""

from couplevi.data.datasets import patchseq_motor
from couplevi.data.ontology import read_ontology
from couplevi.data.screen import perturbation_screen
from couplevi.data.simulate import branching_manifold, count_clusters

__all__ = ["branching_manifold", "count_clusters", "patchseq_motor", "perturbation_screen", "read_ontology"]
