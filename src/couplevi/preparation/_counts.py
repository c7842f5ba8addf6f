"""Counts, as arrays, sparse matrices or tensors: their library size, and their logarithm per 10,000."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

import numpy as np
import scipy.sparse as sp
import torch

from couplevi._streamed import StreamedMatrix
from couplevi._validate import check_counts

if TYPE_CHECKING:
    from couplevi._streamed import Matrix
    from couplevi._types import FloatArray, IntArray, MemoryMatrix

COUNTS_PER_CELL = 1e4


@overload
def library_size(counts: torch.Tensor) -> torch.Tensor: ...
@overload
def library_size(counts: MemoryMatrix) -> FloatArray: ...
def library_size(counts: Any) -> Any:
    """Sum of each row, at least 1, shape ``(n,)``."""
    if isinstance(counts, torch.Tensor):
        return counts.sum(dim=1).clamp(min=1.0)
    return np.maximum(np.asarray(counts.sum(axis=1), dtype=np.float64).ravel(), 1.0)


@overload
def log_normalised(counts: torch.Tensor, *, scaled: bool = True) -> torch.Tensor: ...
@overload
def log_normalised(counts: MemoryMatrix, *, scaled: bool = True) -> MemoryMatrix: ...
def log_normalised(counts: Any, *, scaled: bool = True) -> Any:
    """Logarithm of 1 plus counts, `scaled` to 10,000 in each row; a sparse matrix stays sparse."""
    gain = COUNTS_PER_CELL / library_size(counts) if scaled else 0 * library_size(counts) + 1
    if isinstance(counts, torch.Tensor):
        return torch.log1p(counts * gain[:, None])
    if sp.issparse(counts):
        return sp.csr_array(sp.diags_array(gain.astype(np.float32)) @ sp.csr_array(counts)).log1p()
    return np.log1p(np.asarray(counts, dtype=np.float32) * gain.astype(np.float32)[:, None])


@overload
def presence(counts: torch.Tensor) -> torch.Tensor: ...
@overload
def presence(counts: MemoryMatrix) -> MemoryMatrix: ...
def presence(counts: Any) -> Any:
    """1 where there are counts, float32; a sparse matrix stays sparse."""
    found = counts > 0
    return found.to(counts.dtype) if isinstance(counts, torch.Tensor) else found.astype(np.float32)


class LogNormalised(StreamedMatrix):
    """Logarithms of counts that are read in parts; rows that are read are checked to be counts."""

    def __init__(
        self, source: Any, where: str, columns: IntArray | None = None, *, binary: bool = False, scaled: bool = True
    ) -> None:
        super().__init__(source, where, columns)
        self.binary, self.scaled = binary, scaled

    def __getitem__(self, rows: slice | IntArray) -> FloatArray | sp.csr_array:
        counts = super().__getitem__(rows)
        check_counts(counts, self.where)
        return log_normalised(presence(counts) if self.binary else counts, scaled=self.scaled)


def logarithms(matrix: Matrix, where: str, *, binary: bool = False, scaled: bool = True) -> Matrix:
    """Logarithm of 1 plus counts; a matrix that is read in parts stays one.

    Parameters
    ----------
    matrix, where
        Counts, and where they are, for messages.
    binary
        Take counts for 1 where there are any.
    scaled
        Take them per 10,000 of a row.

    Raises
    ------
    ValueError
        If values are no counts; in parts, when these are read.
    """
    if isinstance(matrix, StreamedMatrix):
        return LogNormalised(matrix.source, matrix.where, matrix.columns, binary=binary, scaled=scaled)
    check_counts(matrix, where)
    return log_normalised(presence(matrix) if binary else matrix, scaled=scaled)
