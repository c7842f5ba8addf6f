from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from couplevi._types import FloatArray, IntArray, Matrix
    from couplevi.preparation._record import Preparation

CHUNK_VALUES = 2**23
"""Values of a chunk of rows if it were dense: 64 MB of float64."""


def row_chunks(matrix: Matrix) -> Iterator[tuple[slice, Matrix]]:
    """Consecutive chunks of rows, and where they lie."""
    step = max(1, CHUNK_VALUES // max(1, matrix.shape[1]))
    for start in range(0, matrix.shape[0], step):
        rows = slice(start, min(start + step, matrix.shape[0]))
        yield rows, matrix[rows]


def fingerprints(matrix: Matrix) -> FloatArray:
    """One number per row that depends on its values alone, shape ``(n,)``, float64.

    Profiles sorted by it come in the same order however a file orders or names its cells.
    """
    weights = np.random.default_rng(0).standard_normal(matrix.shape[1])
    return np.concatenate([np.asarray(chunk @ weights, dtype=np.float64).ravel() for _, chunk in row_chunks(matrix)])


@dataclass(frozen=True, eq=False)
class PreparedRows:
    """Rows of a sparse matrix that are prepared when they are read, so that it is never dense as a whole."""

    matrix: sp.csr_array
    preparation: Preparation

    def __len__(self) -> int:
        return self.matrix.shape[0]

    def __getitem__(self, rows: IntArray) -> FloatArray:
        return self.preparation.transform(self.matrix[rows])


def prepared_rows(matrix: Matrix, preparation: Preparation, order: IntArray) -> FloatArray | PreparedRows:
    """Rows ``order`` of `matrix`, prepared: at once, or on reading where that would make sparse data dense."""
    if sp.issparse(matrix) and preparation.components is None:
        return PreparedRows(sp.csr_array(matrix)[order], preparation)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    out = np.empty((len(order), preparation.n_prepared), dtype=np.float32)
    for rows, chunk in row_chunks(matrix):
        out[place[rows]] = preparation.transform(chunk)
    return out
