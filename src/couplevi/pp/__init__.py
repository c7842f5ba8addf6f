"""Prepare what scanpy and muon do not: links between profiles."""

from couplevi.pp._link import link

__all__ = ["link"]
