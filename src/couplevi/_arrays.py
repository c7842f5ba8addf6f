"""Small helpers for matrices that may be sparse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from scipy.special import entr

if TYPE_CHECKING:
    from couplevi._types import FloatArray


def dense(matrix: Any) -> np.ndarray:
    """A matrix as an array; the caller makes sure that it is small enough."""
    return matrix.toarray() if sp.issparse(matrix) else np.asarray(matrix)


def full_precision(array: np.ndarray) -> np.ndarray:
    """Half precision as single, in which sums do not overflow."""
    return array.astype(np.float32) if array.dtype == np.float16 else array


def effective_matches(matrix: sp.csr_array) -> FloatArray:
    """Exponential of the entropy of each row divided by its sum: 1 for a single match, k for k equal ones, 0 for none.

    Parameters
    ----------
    matrix
        Confidences without explicit zeros, CSR.

    Returns
    -------
    Shape ``(n_rows,)``, 0 or at least 1.

    Examples
    --------
    >>> import scipy.sparse as sp
    >>> from couplevi.correspondence import effective_matches
    >>> effective_matches(sp.csr_array([[0.5, 0.5, 0.0], [0.0, 0.0, 0.2], [0.0, 0.0, 0.0]])).round(3)
    array([2., 1., 0.])
    """
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    total = np.bincount(row, matrix.data, matrix.shape[0])
    share = np.divide(matrix.data, total[row], out=np.zeros(len(row)), where=total[row] > 0)
    entropy = np.bincount(row, entr(share), matrix.shape[0])
    return np.where(total > 0, np.exp(entropy), 0.0)
