"""CellText: cells and words in one space."""

from couplevi.model.celltext.model import CellText
from couplevi.model.celltext.settings import CellTextSettings

__all__ = ["CellText", "CellTextSettings"]
