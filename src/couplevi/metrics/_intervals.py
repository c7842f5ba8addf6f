"""Measures of predictive intervals."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm

from couplevi._validate import expected
from couplevi.metrics._finite import check_not_infinite, over_known_cells, same_shape
from couplevi.metrics._record import Metric

if TYPE_CHECKING:
    from couplevi._types import FloatArray


def interval_coverage(measured: ArrayLike, imputed: ArrayLike, sd: ArrayLike, level: float = 0.9) -> FloatArray:
    """Share of the measured values of each feature inside ``imputed +- z sd``.

    Parameters
    ----------
    measured, imputed, sd
        The same cells and features, shape ``(n_cells, n_features)``; `sd` may be of any shape that broadcasts to it,
        at least 0. A cell in which one of the three is NaN is left out of the feature.
    level
        Share that Gaussian intervals of that level hold, in (0, 1); 0.9 makes ``z`` 1.645.

    Returns
    -------
    Shape ``(n_features,)``, in [0, 1]; close to `level` is good. NaN where no cell is left.

    Raises
    ------
    ValueError
        If shapes differ, a value is infinite, a standard deviation is negative, or the level is not in (0, 1).

    Examples
    --------
    >>> import couplevi as cvi
    >>> cvi.metrics.interval_coverage([[0.0], [1.0], [5.0]], [[0.0], [0.0], [0.0]], 1.0)
    array([0.66666667])
    """
    inside = lambda y, low, high: ((y >= low) & (y <= high)).mean(axis=0)
    return over_known_cells(inside, *_interval(measured, imputed, sd, level))


COVERAGE = Metric(
    name="coverage_90",
    title="coverage",
    function=interval_coverage,
    meaning="share of measured values inside 90 % intervals, per feature",
    low=0,
    high=1,
    best=0.9,
    uninformed=None,
    needs="measured values of the imputed modality, standard deviations",
    reference="Gneiting and Raftery 2007",
)


def interval_score(measured: ArrayLike, imputed: ArrayLike, sd: ArrayLike, level: float = 0.9) -> FloatArray:
    """Mean interval score of each feature: width, plus a penalty for what lies outside. Smaller is better.

    Parameters
    ----------
    measured, imputed, sd
        The same cells and features, shape ``(n_cells, n_features)``; `sd` may be of any shape that broadcasts to it,
        at least 0. A cell in which one of the three is NaN is left out of the feature.
    level
        Share that Gaussian intervals of that level hold, in (0, 1); 0.9 makes ``z`` 1.645.

    Returns
    -------
    Shape ``(n_features,)``, at least 0, in the units of each feature; NaN where no cell is left.

    Raises
    ------
    ValueError
        As :func:`interval_coverage`.

    References
    ----------
    Gneiting and Raftery, Strictly proper scoring rules, prediction, and estimation, JASA 2007, equation 43.

    Examples
    --------
    >>> import couplevi as cvi
    >>> cvi.metrics.interval_score([[0.0], [4.0]], [[0.0], [0.0]], 1.0, level=0.6826894921370859).round(2)
    array([11.45])
    """
    outside = lambda y, low, high: np.maximum(low - y, 0) + np.maximum(y - high, 0)
    score = lambda y, low, high: (high - low + 2 / (1 - level) * outside(y, low, high)).mean(axis=0)
    return over_known_cells(score, *_interval(measured, imputed, sd, level))


INTERVAL_SCORE = Metric(
    name="interval_score_90",
    title="interval score",
    function=interval_score,
    meaning="width of 90 % intervals plus 20 times what lies outside, in units of the feature (of its standard "
    "deviation in `tl.evaluate`)",
    low=0,
    high=math.inf,
    best=0,
    uninformed=None,
    needs="measured values of the imputed modality, standard deviations",
    reference="Gneiting and Raftery 2007",
)


def _interval(
    measured: ArrayLike, imputed: ArrayLike, sd: ArrayLike, level: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    y, mean = same_shape(measured, imputed)
    scale = np.asarray(sd, dtype=np.float64)
    check_not_infinite(scale, "sd")
    if (scale < 0).any():
        raise ValueError(expected("standard deviations of at least 0", f"{np.nanmin(scale):g}"))
    if not 0 < level < 1:
        raise ValueError(expected("`level` to be above 0 and below 1", level))
    half = norm.ppf((1 + level) / 2) * np.broadcast_to(scale, y.shape)
    return y, mean - half, mean + half
