"""Prepare what scanpy and muon do not: links between profiles, and the cell cycle of cells of a MuData."""

from couplevi.pp._cell_cycle import score_cell_cycle
from couplevi.pp._link import link

__all__ = ["link", "score_cell_cycle"]
