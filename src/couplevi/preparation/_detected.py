from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from couplevi.preparation._rows import row_chunks

if TYPE_CHECKING:
    from couplevi._streamed import Matrix
    from couplevi._types import FloatArray


def log_detected(matrix: Matrix) -> FloatArray:
    """Logarithm of the share of a profile's features that are not 0, shape ``(n_obs,)``; of none as of one.

    How deeply a cell was sequenced shows in it, whether its values are counts or their logarithms. Where no value is
    0, as of currents or of principal components, it is 0 for all.
    """
    detected = np.concatenate([np.asarray((chunk != 0).sum(axis=1)).ravel() for _, chunk in row_chunks(matrix)])
    return np.log(np.maximum(detected, 1) / matrix.shape[1])
