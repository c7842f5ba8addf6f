"""Simulated data with known truth, public data sets, and the fields that read a MuData."""

from couplevi.data._bipartite import links_by_name, registered_links, rows_in_obs
from couplevi.data._fields import MuDataObspField
from couplevi.data._values import column_names, stored, value_places
from couplevi.data.datasets import patchseq_motor
from couplevi.data.simulate import branching_manifold, count_clusters

__all__ = ["branching_manifold", "count_clusters", "patchseq_motor"]
