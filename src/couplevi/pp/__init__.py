"""Prepare what scanpy and muon do not: links between profiles, the cell cycle of cells, and texts of their labels."""

from couplevi.pp._cell_cycle import score_cell_cycle
from couplevi.pp._describe_labels import describe_labels
from couplevi.pp._link import link

__all__ = ["describe_labels", "link", "score_cell_cycle"]
