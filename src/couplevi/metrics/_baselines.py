from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from sklearn.linear_model import RidgeCV
from sklearn.neighbors import KNeighborsRegressor

from couplevi._validate import expected

if TYPE_CHECKING:
    from couplevi._types import FloatArray

RIDGE_PENALTIES = np.logspace(-1, 6, 15)


def knn_imputation(source: ArrayLike, target: ArrayLike, query: ArrayLike, n_neighbors: int = 5) -> FloatArray:
    """Mean target profile of the nearest source cells, the baseline of the JAMIE paper.

    Parameters
    ----------
    source, target
        Both modalities of the cells to learn from, shapes ``(n, n_source)`` and ``(n, n_target)``; standardise the
        source first.
    query
        Source modality of the cells to predict, shape ``(n_query, n_source)``.
    n_neighbors
        Neighbours averaged, at least 1.

    Returns
    -------
    Predictions in the units of `target`, shape ``(n_query, n_target)``.

    Raises
    ------
    ValueError
        If there are fewer cells than neighbours.

    Examples
    --------
    >>> import couplevi as cvi
    >>> cvi.metrics.knn_imputation([[0.0], [1.0], [5.0]], [[1.0], [3.0], [9.0]], [[0.4]], n_neighbors=2)
    array([[2.]])
    """
    x, y = np.asarray(source), np.asarray(target)
    if not 1 <= n_neighbors <= len(x):
        raise ValueError(expected(f"`n_neighbors` between 1 and the {len(x)} cells to learn from", n_neighbors))
    return KNeighborsRegressor(n_neighbors).fit(x, y).predict(np.asarray(query)).reshape(-1, y.shape[1])


def ridge_imputation(source: ArrayLike, target: ArrayLike, query: ArrayLike) -> FloatArray:
    """Linear prediction with one penalty for all features, chosen by leave-one-out among 15 from 0.1 to a million.

    Parameters
    ----------
    source, target
        Both modalities of the cells to learn from, shapes ``(n, n_source)`` and ``(n, n_target)``; standardise both,
        since they share the penalty.
    query
        Source modality of the cells to predict, shape ``(n_query, n_source)``.

    Returns
    -------
    Predictions in the units of `target`, shape ``(n_query, n_target)``.

    Examples
    --------
    >>> import numpy as np
    >>> import couplevi as cvi
    >>> x = np.linspace(-1, 1, 50).reshape(-1, 1)
    >>> bool(np.allclose(cvi.metrics.ridge_imputation(x, 2 * x, [[0.5]]), 1.0, atol=0.01))
    True
    """
    y = np.asarray(target)
    return RidgeCV(RIDGE_PENALTIES).fit(np.asarray(source), y).predict(np.asarray(query)).reshape(-1, y.shape[1])
