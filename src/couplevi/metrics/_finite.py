"""What is not finite: refused in what must be complete, left out of scores per feature where it is missing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from couplevi._validate import expected

if TYPE_CHECKING:
    from couplevi._types import FloatArray, IntArray


def check_finite_rows(values: np.ndarray, name: str, remedy: str) -> None:
    """Raise ValueError if a row holds NaN or infinite values."""
    bad = int((~np.isfinite(values).reshape(len(values), -1).all(axis=1)).sum())
    if bad:
        found = f"{bad} of {len(values)} rows with NaN or infinite values"
        raise ValueError(expected(f"finite values in `{name}`", found, remedy))


def same_shape(measured: ArrayLike, imputed: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Both as numbers; raise ValueError unless they are of one shape and free of infinite values."""
    x, y = np.asarray(measured, dtype=np.float64), np.asarray(imputed, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 2 or len(x) == 0:
        raise ValueError(expected("two matrices of the same cells and features", f"shapes {x.shape} and {y.shape}"))
    check_not_infinite(x, "measured")
    check_not_infinite(y, "imputed")
    return x, y


def check_not_infinite(values: FloatArray, name: str) -> None:
    """Raise ValueError if a value is infinite: it was computed, and is no missing one."""
    bad = int(np.isinf(values).sum())
    if bad:
        remedy = "Find out where they come from; only NaN, a value that is missing, is left out."
        raise ValueError(expected(f"finite values or NaN in `{name}`", f"{bad} infinite values", remedy))


def over_known_cells(score: Callable[..., FloatArray], *arrays: FloatArray) -> FloatArray:
    """Score of each feature over the cells in which no array is NaN; NaN for a feature without any.

    Parameters
    ----------
    score
        Takes arrays of cells by features, gives one number per feature.
    arrays
        Of one shape, ``(n_cells, n_features)``.
    """
    known = ~np.any([np.isnan(values) for values in arrays], axis=0)
    if known.all():
        return score(*arrays)
    scores = np.full(known.shape[1], np.nan)
    patterns, pattern = np.unique(known, axis=1, return_inverse=True)
    for index, cells in enumerate(patterns.T):  # features that lack the same cells are scored together
        features = np.ravel(pattern) == index
        if cells.any():
            scores[features] = score(*(values[cells][:, features] for values in arrays))
    return scores


def scored_cells_per_feature(measured: ArrayLike, imputed: ArrayLike) -> IntArray:
    """Number of cells that a score per feature is over: those with a measured and an imputed value.

    Parameters
    ----------
    measured, imputed
        The same cells and features, shape ``(n_cells, n_features)``; NaN where a value is missing.

    Returns
    -------
    Shape ``(n_features,)``.

    Raises
    ------
    ValueError
        If the shapes differ, or a value is infinite.

    Examples
    --------
    >>> import numpy as np
    >>> import couplevi as cvi
    >>> cvi.metrics.scored_cells_per_feature([[1.0, np.nan], [2.0, 3.0]], [[1.0, 2.0], [np.nan, 4.0]])
    array([1, 1])
    """
    x, y = same_shape(measured, imputed)
    return (~(np.isnan(x) | np.isnan(y))).sum(axis=0)
