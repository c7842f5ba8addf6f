from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import rel_entr
from scipy.stats import binomtest, rankdata

from couplevi._labels import label_codes
from couplevi._validate import check_count, expected
from couplevi.metrics._finite import over_known_cells, same_shape
from couplevi.metrics._record import Metric

if TYPE_CHECKING:
    from couplevi._types import FloatArray


def pearson_per_feature(measured: ArrayLike, imputed: ArrayLike) -> FloatArray:
    """Pearson correlation of measured and imputed values of each feature. Larger is better.

    Parameters
    ----------
    measured, imputed
        The same cells and features, shape ``(n_cells, n_features)``; a cell in which one of the two is NaN is left out
        of the feature, see :func:`scored_cells_per_feature`.

    Returns
    -------
    Shape ``(n_features,)``, in [-1, 1]; NaN where the measured values are constant or known in fewer than two cells, 0
    where only the imputed ones are constant.

    Raises
    ------
    ValueError
        If the shapes differ, or a value is infinite.

    Examples
    --------
    >>> import couplevi as cvi
    >>> cvi.metrics.pearson_per_feature([[1.0, 0], [2, 1], [3, 0]], [[2.0, 1], [4, 1], [6, 1]])
    array([1., 0.])
    """
    return over_known_cells(_pearson, *same_shape(measured, imputed))


PEARSON = Metric(
    name="pearson",
    title="Pearson",
    function=pearson_per_feature,
    meaning="correlation of measured and imputed values per feature over cells; NaN where measured values are constant",
    low=-1,
    high=1,
    best=1,
    uninformed=0,
    needs="measured values of the imputed modality",
    reference="Cohen Kalafut, Huang and Wang 2023 (JAMIE)",
)


def _pearson(x: FloatArray, y: FloatArray) -> FloatArray:
    varies_x, varies_y = np.ptp(x, axis=0) > 0, np.ptp(y, axis=0) > 0
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    norm = np.linalg.norm(x, axis=0) * np.linalg.norm(y, axis=0)
    r = np.divide((x * y).sum(axis=0), norm, out=np.zeros(x.shape[1]), where=varies_x & varies_y)
    return np.where(varies_x, np.clip(r, -1, 1), np.nan)


def auroc_per_feature(measured: ArrayLike, imputed: ArrayLike) -> FloatArray:
    """Area under the ROC curve of telling, from imputed values, which measured values exceed their median.

    Parameters
    ----------
    measured, imputed
        The same cells and features, shape ``(n_cells, n_features)``; a cell in which one of the two is NaN is left out
        of the feature, see :func:`scored_cells_per_feature`.

    Returns
    -------
    Shape ``(n_features,)``, in [0, 1]; 0.5 is chance, larger is better; NaN where no measured value exceeds the
    median.

    Raises
    ------
    ValueError
        If the shapes differ, or a value is infinite.

    Examples
    --------
    >>> import couplevi as cvi
    >>> cvi.metrics.auroc_per_feature([[1.0], [2], [3], [4]], [[0.1], [0.3], [0.2], [0.9]])
    array([0.75])
    """
    return over_known_cells(_auroc, *same_shape(measured, imputed))


AUROC = Metric(
    name="auroc",
    title="AUROC",
    function=auroc_per_feature,
    meaning="of telling values above their median from imputed ones, per feature",
    low=0,
    high=1,
    best=1,
    uninformed=0.5,
    needs="measured values of the imputed modality",
    reference="Cohen Kalafut, Huang and Wang 2023 (JAMIE)",
)


def _auroc(x: FloatArray, y: FloatArray) -> FloatArray:
    high = x > np.median(x, axis=0)
    n_high = high.sum(axis=0)
    n_pairs = n_high * (len(x) - n_high)
    rank_sum = (rankdata(y, axis=0) * high).sum(axis=0)
    wins = rank_sum - n_high * (n_high + 1) / 2
    return np.divide(wins, n_pairs, out=np.full(x.shape[1], np.nan), where=n_pairs > 0)


def relative_rmse_per_feature(measured: ArrayLike, imputed: ArrayLike) -> FloatArray:
    """Root mean square error of each feature, relative to that of predicting its mean. Smaller is better.

    Parameters
    ----------
    measured, imputed
        The same cells and features, shape ``(n_cells, n_features)``; a cell in which one of the two is NaN is left out
        of the feature, see :func:`scored_cells_per_feature`.

    Returns
    -------
    Shape ``(n_features,)``, at least 0; 1 for the mean of these cells, NaN where the measured values are constant
    or known in fewer than two cells.

    Raises
    ------
    ValueError
        If the shapes differ, or a value is infinite.

    Examples
    --------
    >>> import couplevi as cvi
    >>> cvi.metrics.relative_rmse_per_feature([[1.0, 0], [3, 0]], [[2.0, 1], [2, 1]])
    array([ 1., nan])
    """
    return over_known_cells(_relative_rmse, *same_shape(measured, imputed))


RELATIVE_RMSE = Metric(
    name="relative_rmse",
    title="relative RMSE",
    function=relative_rmse_per_feature,
    meaning="root mean square error relative to predicting the feature's mean",
    low=0,
    high=math.inf,
    best=0,
    uninformed=1,
    needs="measured values of the imputed modality",
    reference="square root of 1 - R²",
)


def _relative_rmse(x: FloatArray, y: FloatArray) -> FloatArray:
    error, spread = np.sqrt(np.square(x - y).mean(axis=0)), np.where(np.ptp(x, axis=0) > 0, x.std(axis=0), 0.0)
    return np.divide(error, spread, out=np.full(x.shape[1], np.nan), where=spread > 0)


def jensen_shannon_distance(
    measured: ArrayLike, imputed: ArrayLike, groups: ArrayLike | None = None, n_bins: int = 20
) -> FloatArray:
    """Distance between the distributions of measured and imputed values of each feature. Smaller is better.

    Both are counted in `n_bins` bins of equal width over the range of the two together.

    Parameters
    ----------
    measured, imputed
        Cells by features, shape ``(n_cells, n_features)``; a cell in which one of the two is NaN is left out of the
        feature, see :func:`scored_cells_per_feature`.
    groups
        A cell type per cell, of any type; each is compared by itself, and cells without one (None, NaN, NA, ``""``,
        ``"unknown"``, ``"nan"``, ``"Mis"``) are left out.
    n_bins
        Number of bins, at least 2.

    Returns
    -------
    Shape ``(n_features,)``, or ``(n_groups, n_features)`` in the order of the sorted groups (numbers by size);
    square root of the divergence to base 2, in [0, 1]; NaN where no cell is left.

    Raises
    ------
    ValueError
        If shapes or lengths differ, a value is infinite, or no cell has a group.

    Examples
    --------
    >>> import couplevi as cvi
    >>> cvi.metrics.jensen_shannon_distance([[0.0], [0.0]], [[1.0], [1.0]])
    array([1.])
    """
    check_count(n_bins, "n_bins", minimum=2)
    x, y = same_shape(measured, imputed)
    if groups is None:
        return over_known_cells(partial(_jensen_shannon, n_bins=n_bins), x, y)
    [group], names = label_codes(groups)
    if len(group) != len(x):
        raise ValueError(expected(f"a group for each of {len(x)} cells", f"{len(group)} groups"))
    if not names:
        raise ValueError(expected("at least one cell with a group", "none"))
    members = [group == index for index in range(len(names))]
    return np.stack([jensen_shannon_distance(x[m], y[m], n_bins=n_bins) for m in members])


JENSEN_SHANNON = Metric(
    name="jensen_shannon",
    title="Jensen-Shannon",
    function=jensen_shannon_distance,
    meaning="distance between distributions of measured and imputed values, per feature and type, base 2, 20 bins",
    low=0,
    high=1,
    best=0,
    uninformed=None,
    needs="measured values of the imputed modality, labels",
    reference="Lin 1991; Endres and Schindelin 2003",
)


def _jensen_shannon(x: FloatArray, y: FloatArray, n_bins: int) -> FloatArray:
    low = np.minimum(x.min(axis=0), y.min(axis=0))
    width = np.maximum(x.max(axis=0), y.max(axis=0)) - low
    p, q = (_histogram(values, low, width, n_bins) for values in (x, y))
    middle = (p + q) / 2
    divergence = (rel_entr(p, middle) + rel_entr(q, middle)).sum(axis=0) / (2 * np.log(2))
    return np.sqrt(np.clip(divergence, 0, 1))


class BinomialComparison(NamedTuple):
    """Features on which one imputation beats another, and the probability of that by chance."""

    wins: int
    losses: int
    ties: int
    p_value: float


def binomial_comparison(score: ArrayLike, other: ArrayLike) -> BinomialComparison:
    """Compare two imputations feature by feature with a two-tailed binomial test, as the JAMIE paper does.

    Parameters
    ----------
    score, other
        A score per feature for each imputation, larger is better, shape ``(n_features,)``.

    Returns
    -------
    Features won, lost and tied by `score`, and the p-value of a fair coin, which ties do not enter. A feature in which
    one of the two is NaN is none of the three.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> import couplevi as cvi
    >>> cvi.metrics.binomial_comparison([0.9, 0.8, 0.7, 0.6], [0.1, 0.2, 0.3, 0.6])
    BinomialComparison(wins=3, losses=0, ties=1, p_value=0.25)
    """
    a, b = np.asarray(score, dtype=float), np.asarray(other, dtype=float)
    if a.shape != b.shape:
        raise ValueError(expected("scores of the same features", f"shapes {a.shape} and {b.shape}"))
    wins, losses, ties = int((a > b).sum()), int((a < b).sum()), int((a == b).sum())
    p_value = float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0
    return BinomialComparison(wins, losses, ties, p_value)


BINOMIAL = Metric(
    name="p_value",
    title="binomial",
    function=binomial_comparison,
    meaning="two-tailed probability of winning so many features by chance",
    low=0,
    high=1,
    best=None,
    uninformed=1,
    needs="scores per feature of two imputations",
    reference="Cohen Kalafut, Huang and Wang 2023 (JAMIE)",
)


def _histogram(values: FloatArray, low: FloatArray, width: FloatArray, n_bins: int) -> FloatArray:
    """Share of cells per bin, shape ``(n_bins, n_features)``."""
    position = np.divide(values - low, width, out=np.zeros_like(values), where=width > 0)
    index = np.minimum((position * n_bins).astype(int), n_bins - 1)
    counts = np.zeros((n_bins, values.shape[1]))
    np.add.at(counts, (index, np.arange(values.shape[1])), 1)
    return counts / len(values)
