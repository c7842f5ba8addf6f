from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from couplevi._arrays import dense
from couplevi._streamed import StreamedMatrix
from couplevi.preparation._counts import presence

if TYPE_CHECKING:
    from collections.abc import Iterator

    from couplevi._streamed import Matrix
    from couplevi._types import FloatArray, IntArray, MemoryMatrix
    from couplevi.preparation._record import Preparation

CHUNK_VALUES = 2**23
"""Values of a chunk of rows if it were dense: 64 MB of float64."""


def row_chunks(matrix: Matrix) -> Iterator[tuple[slice, MemoryMatrix]]:
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
    """Rows of a matrix, in some order, that are prepared when they are read, so that it is never dense as a whole."""

    matrix: sp.csr_array | StreamedMatrix
    preparation: Preparation
    order: IntArray

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, rows: IntArray) -> FloatArray:
        return self.preparation.transform(self.matrix[self.order[rows]])


@dataclass(frozen=True, eq=False)
class FeatureRows:
    """Rows of a matrix, in some order, dense float32 when they are read; if `binary`, 1 where they are above 0."""

    matrix: Matrix
    order: IntArray
    binary: bool = False

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, rows: IntArray) -> FloatArray:
        values = self.matrix[self.order[rows]]
        return np.asarray(dense(presence(values) if self.binary else values), dtype=np.float32)


def prepared_rows(matrix: Matrix, preparation: Preparation, order: IntArray) -> FloatArray | PreparedRows:
    """Rows ``order`` of `matrix`, prepared: at once, or on reading where that could take more memory than the data."""
    if preparation.components is None and not isinstance(matrix, np.ndarray):
        rows = matrix if isinstance(matrix, StreamedMatrix) else sp.csr_array(matrix)
        return PreparedRows(rows, preparation, order)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    out = np.empty((len(order), preparation.n_prepared), dtype=np.float32)
    for part, chunk in row_chunks(matrix):
        out[place[part]] = preparation.transform(chunk)
    return out
