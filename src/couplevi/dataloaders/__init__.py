"""From prepared profiles and their links to minibatches."""

from couplevi.dataloaders._cells import CellDataset
from couplevi.dataloaders._dataset import CoupledDataset, Draw, ProfileDraw, Rows
from couplevi.dataloaders._links import Links
from couplevi.dataloaders._sampler import UnitSampler
from couplevi.dataloaders._splitter import CoupledDataSplitter, set_sizes
from couplevi.dataloaders._units import make_units

__all__ = [
    "CellDataset",
    "CoupledDataSplitter",
    "CoupledDataset",
    "Draw",
    "Links",
    "ProfileDraw",
    "Rows",
    "UnitSampler",
    "make_units",
    "set_sizes",
]
