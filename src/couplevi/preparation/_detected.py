from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from couplevi.preparation._rows import row_chunks

if TYPE_CHECKING:
    from couplevi._streamed import Matrix
    from couplevi._types import BoolArray, FloatArray


def log_detected(matrix: Matrix, features: BoolArray | None = None) -> FloatArray:
    """Logarithm of the share of a profile's features that are not 0, shape ``(n_obs,)``; of none as of one.

    How deeply a cell was sequenced shows in it, whether its values are counts or their logarithms. Where no value is
    0, as of currents or of principal components, it is 0 for all. Features that are not among `features`, shape
    ``(n_vars,)``, do not count; None counts all.
    """
    counted = slice(None) if features is None else features
    parts = [np.asarray((chunk[:, counted] != 0).sum(axis=1)).ravel() for _, chunk in row_chunks(matrix)]
    n_counted = matrix.shape[1] if features is None else int(features.sum())
    return np.log(np.maximum(np.concatenate(parts), 1) / n_counted)
