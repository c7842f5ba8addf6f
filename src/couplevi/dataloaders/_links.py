from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
import torch

from couplevi._types import LinkBatch

if TYPE_CHECKING:
    from couplevi._types import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Links:
    """Links between the profiles of two modalities.

    Attributes
    ----------
    matrix
        Confidences in (0, 1], CSR of shape ``(n_a, n_b)`` with sorted indices and no explicit zeros.
    """

    matrix: sp.csr_array

    @cached_property
    def row_excess(self) -> FloatArray:
        """Sum of each row where it exceeds 1, else 1, shape ``(n_a,)``."""
        return np.maximum(self.matrix.sum(axis=1), 1).astype(np.float32)

    @cached_property
    def col_excess(self) -> FloatArray:
        """Sum of each column where it exceeds 1, else 1, shape ``(n_b,)``."""
        return np.maximum(self.matrix.sum(axis=0), 1).astype(np.float32)

    @cached_property
    def row_known(self) -> BoolArray:
        """Whether each row has a link, shape ``(n_a,)``."""
        return np.diff(self.matrix.indptr) > 0

    @cached_property
    def col_known(self) -> BoolArray:
        """Whether each column has a link, shape ``(n_b,)``."""
        return np.bincount(self.matrix.indices, minlength=self.matrix.shape[1]) > 0

    def block(self, rows: IntArray, cols: IntArray) -> LinkBatch:
        """Links among some rows and columns, counted within them; time grows with the links of `rows` alone."""
        row, col, confidence = gather_rows(self.matrix, rows)
        order = np.argsort(cols, kind="stable")
        place = np.searchsorted(cols, col, sorter=order).clip(max=max(len(cols) - 1, 0))
        local = order[place] if len(cols) else place
        inside = cols[local] == col if len(cols) else np.zeros(len(col), dtype=bool)
        row, local, confidence = row[inside], local[inside], confidence[inside]
        return LinkBatch(
            row=torch.from_numpy(row),
            col=torch.from_numpy(local),
            confidence=torch.from_numpy(confidence),
            row_weight=torch.from_numpy(confidence / self.row_excess[rows[row]]),
            col_weight=torch.from_numpy(confidence / self.col_excess[cols[local]]),
            row_known=torch.from_numpy(self.row_known[rows]),
            col_known=torch.from_numpy(self.col_known[cols]),
        )

    def all(self) -> LinkBatch:
        """All links as one batch."""
        return self.block(np.arange(self.matrix.shape[0]), np.arange(self.matrix.shape[1]))

    def pairs(self) -> tuple[IntArray, IntArray]:
        """Rows and columns linked with confidence 1 to each other and with confidence 1 to nothing else."""
        certain = self.matrix.tocoo()
        row, col = (index[certain.data == 1] for index in certain.coords)
        once = (np.bincount(row, minlength=self.matrix.shape[0])[row] == 1) & (
            np.bincount(col, minlength=self.matrix.shape[1])[col] == 1
        )
        return row[once], col[once]


def gather_rows(matrix: sp.csr_array, rows: IntArray) -> tuple[IntArray, IntArray, FloatArray]:
    """Entries of some rows of a CSR matrix: place in `rows`, column, value."""
    start, count = matrix.indptr[rows].astype(np.int64), np.diff(matrix.indptr)[rows]
    row = np.repeat(np.arange(len(rows)), count)
    entry = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count) + np.repeat(start, count)
    return row, matrix.indices[entry].astype(np.int64), matrix.data[entry]
