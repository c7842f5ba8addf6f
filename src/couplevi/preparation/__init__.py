"""Scaling and PCA of one modality: matrix in, frozen record out, in passes over row chunks."""

from couplevi.preparation._counts import COUNTS_PER_CELL, library_size, log_normalised, logarithms, presence
from couplevi.preparation._coupled import fit_coupled
from couplevi.preparation._detected import log_detected
from couplevi.preparation._fit import fit_preparation
from couplevi.preparation._record import Preparation
from couplevi.preparation._rows import FeatureRows, PreparedRows, fingerprints, prepared_rows, row_chunks

__all__ = [
    "COUNTS_PER_CELL",
    "FeatureRows",
    "Preparation",
    "PreparedRows",
    "fingerprints",
    "fit_coupled",
    "fit_preparation",
    "library_size",
    "log_detected",
    "log_normalised",
    "logarithms",
    "prepared_rows",
    "presence",
    "row_chunks",
]
