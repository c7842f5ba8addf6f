from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from sklearn.linear_model import RidgeCV
from sklearn.neighbors import NearestNeighbors

from couplevi._validate import expected
from couplevi.metrics._finite import check_finite_rows

if TYPE_CHECKING:
    from couplevi._types import FloatArray

INCOMPLETE = "Leave these cells out first: of `source`, `target` and `confidence`, or of `query`."
RIDGE_PENALTIES = np.logspace(-1, 6, 15)


def knn_imputation(
    source: ArrayLike,
    target: ArrayLike,
    query: ArrayLike,
    n_neighbors: int = 5,
    confidence: ArrayLike | None = None,
) -> FloatArray:
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
    confidence
        Weight above 0 of each cell to learn from, shape ``(n,)``; None weights them equally.

    Returns
    -------
    Predictions in the units of `target`, shape ``(n_query, n_target)``.

    Raises
    ------
    ValueError
        If there are fewer cells than neighbours, or values or confidences that are not finite, or not above 0.

    Examples
    --------
    >>> import couplevi as cvi
    >>> cvi.metrics.knn_imputation([[0.0], [1.0], [5.0]], [[1.0], [3.0], [9.0]], [[0.4]], n_neighbors=2)
    array([[2.]])
    """
    x, y = np.asarray(source), np.asarray(target)
    if not 1 <= n_neighbors <= len(x):
        raise ValueError(expected(f"`n_neighbors` between 1 and the {len(x)} cells to learn from", n_neighbors))
    _check(x, y, query, confidence)
    nearest = NearestNeighbors(n_neighbors=n_neighbors).fit(x).kneighbors(np.asarray(query), return_distance=False)
    weight = np.ones(len(x)) if confidence is None else np.asarray(confidence, dtype=np.float64)
    weight = weight[nearest] / weight[nearest].sum(axis=1, keepdims=True)
    return np.einsum("qk,qkf->qf", weight, y[nearest])


def ridge_imputation(
    source: ArrayLike, target: ArrayLike, query: ArrayLike, confidence: ArrayLike | None = None
) -> FloatArray:
    """Linear prediction with one penalty for all features, chosen by leave-one-out among 15 from 0.1 to a million.

    Parameters
    ----------
    source, target
        Both modalities of the cells to learn from, shapes ``(n, n_source)`` and ``(n, n_target)``; standardise both,
        since they share the penalty.
    query
        Source modality of the cells to predict, shape ``(n_query, n_source)``.
    confidence
        Weight above 0 of each cell to learn from, shape ``(n,)``; None weights them equally.

    Returns
    -------
    Predictions in the units of `target`, shape ``(n_query, n_target)``.

    Raises
    ------
    ValueError
        If there is no cell to learn from, or values or confidences that are not finite, or not above 0.

    Examples
    --------
    >>> import numpy as np
    >>> import couplevi as cvi
    >>> x = np.linspace(-1, 1, 50).reshape(-1, 1)
    >>> bool(np.allclose(cvi.metrics.ridge_imputation(x, 2 * x, [[0.5]]), 1.0, atol=0.01))
    True
    """
    x, y = np.asarray(source), np.asarray(target)
    if len(x) == 0:
        raise ValueError(expected("at least one cell to learn from", "none"))
    _check(x, y, query, confidence)
    fit = RidgeCV(RIDGE_PENALTIES).fit(x, y, sample_weight=confidence)
    return fit.predict(np.asarray(query)).reshape(-1, y.shape[1])


def _check(source: np.ndarray, target: np.ndarray, query: ArrayLike, confidence: ArrayLike | None) -> None:
    """Raise ValueError for a cell with NaN or infinite values, or without a confidence above 0."""
    for name, values in (("source", source), ("target", target), ("query", np.asarray(query))):
        check_finite_rows(values, name, INCOMPLETE)
    weight = np.ones(len(source)) if confidence is None else np.asarray(confidence, dtype=np.float64)
    bad = int((~np.isfinite(weight) | (weight <= 0)).sum())
    if bad:
        raise ValueError(expected("finite confidences above 0", f"{bad} that are not", INCOMPLETE))
