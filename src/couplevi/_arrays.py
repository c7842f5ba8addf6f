"""Small helpers for matrices that may be sparse."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp


def dense(matrix: Any) -> np.ndarray:
    """A matrix as an array; the caller makes sure that it is small enough."""
    return matrix.toarray() if sp.issparse(matrix) else np.asarray(matrix)
