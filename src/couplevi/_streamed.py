"""Matrices that stay on disk, or are computed when read: they are sliced by rows, and never held as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import scipy.sparse as sp

from couplevi._arrays import dense, full_precision
from couplevi._validate import check_single, expected

if TYPE_CHECKING:
    from couplevi._types import FloatArray, IntArray, MemoryMatrix


class StreamedMatrix:
    """Rows of an HDF5, zarr or dask matrix, read on demand; rows that are read are checked to be finite.

    Parameters
    ----------
    source
        ``X`` of a backed AnnData, a sparse dataset of anndata, an HDF5 or zarr array, or a dask array of either kind.
    where
        Place of the values, for messages.
    columns
        Columns to read, in this order; None reads all.

    Raises
    ------
    ValueError
        If `source` is stored by columns.
    """

    def __init__(self, source: Any, where: str, columns: IntArray | None = None) -> None:
        if getattr(source, "format", "csr") != "csr":
            remedy = "Write it by rows: `adata.X = adata.X.tocsr()` before saving."
            raise ValueError(expected(f"{where} to be stored by rows (CSR) to be read in parts", source.format, remedy))
        self.source = source
        self.where = where
        self.columns = columns

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and of columns."""
        n_rows, n_columns = self.source.shape
        return n_rows, n_columns if self.columns is None else len(self.columns)

    @property
    def ndim(self) -> int:
        """Two."""
        return 2

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | IntArray) -> FloatArray | sp.csr_array:
        if isinstance(rows, slice):
            values = self._read(rows)
        else:
            # stores read increasing rows, each once
            wanted, place = np.unique(np.asarray(rows), return_inverse=True)
            values = self._read(wanted)[place]
        if self.columns is not None:
            values = values[:, self.columns]
        check_single(values, self.where)
        return values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(dense(self[:]), dtype=dtype)

    def _read(self, rows: slice | IntArray) -> FloatArray | sp.csr_array:
        values = self.source[rows]
        if hasattr(values, "compute"):
            values = values.compute()
        return sp.csr_array(values) if sp.issparse(values) else full_precision(np.asarray(values))

    def of_columns(self, columns: IntArray) -> StreamedMatrix:
        """The same rows, other columns."""
        return StreamedMatrix(self.source, self.where, columns)


Matrix: TypeAlias = "MemoryMatrix | StreamedMatrix"
"""Cells by features: a two-dimensional array, any scipy sparse matrix, or one that is read in parts."""


def loaded(matrix: Matrix) -> MemoryMatrix:
    """A matrix in memory; the caller makes sure that it is small enough."""
    return matrix[:] if isinstance(matrix, StreamedMatrix) else matrix


def in_memory(values: Any) -> bool:
    """Whether values are an array or sparse matrix, and not something to be read in parts."""
    return isinstance(values, np.ndarray) or sp.issparse(values)
