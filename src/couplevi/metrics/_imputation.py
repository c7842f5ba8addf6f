from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import rel_entr
from scipy.stats import binomtest, rankdata

from couplevi._validate import check_count, expected
from couplevi.metrics._record import Metric

if TYPE_CHECKING:
    from couplevi._types import FloatArray


def pearson_per_feature(measured: ArrayLike, imputed: ArrayLike) -> FloatArray:
    """Pearson correlation of measured and imputed values of each feature. Larger is better.

    Parameters
    ----------
    measured, imputed
        The same cells and features, shape ``(n_cells, n_features)``.

    Returns
    -------
    Shape ``(n_features,)``, in [-1, 1]; NaN where the measured values are constant, 0 where only the imputed ones are.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> import couplevi as cvi
    >>> cvi.metrics.pearson_per_feature([[1.0, 0], [2, 1], [3, 0]], [[2.0, 1], [4, 1], [6, 1]])
    array([1., 0.])
    """
    x, y = _same_shape(measured, imputed)
    varies_x, varies_y = np.ptp(x, axis=0) > 0, np.ptp(y, axis=0) > 0
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    norm = np.linalg.norm(x, axis=0) * np.linalg.norm(y, axis=0)
    r = np.divide((x * y).sum(axis=0), norm, out=np.zeros(x.shape[1]), where=varies_x & varies_y)
    return np.where(varies_x, np.clip(r, -1, 1), np.nan)


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


def auroc_per_feature(measured: ArrayLike, imputed: ArrayLike) -> FloatArray:
    """Area under the ROC curve of telling, from imputed values, which measured values exceed their median.

    Parameters
    ----------
    measured, imputed
        The same cells and features, shape ``(n_cells, n_features)``.

    Returns
    -------
    Shape ``(n_features,)``, in [0, 1]; 0.5 is chance, larger is better; NaN where no measured value exceeds the
    median.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> import couplevi as cvi
    >>> cvi.metrics.auroc_per_feature([[1.0], [2], [3], [4]], [[0.1], [0.3], [0.2], [0.9]])
    array([0.75])
    """
    x, y = _same_shape(measured, imputed)
    high = x > np.median(x, axis=0)
    n_high = high.sum(axis=0)
    n_pairs = n_high * (len(x) - n_high)
    rank_sum = (rankdata(y, axis=0) * high).sum(axis=0)
    wins = rank_sum - n_high * (n_high + 1) / 2
    return np.divide(wins, n_pairs, out=np.full(x.shape[1], np.nan), where=n_pairs > 0)


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


def relative_rmse_per_feature(measured: ArrayLike, imputed: ArrayLike) -> FloatArray:
    """Root mean square error of each feature, relative to that of predicting its mean. Smaller is better.

    Parameters
    ----------
    measured, imputed
        The same cells and features, shape ``(n_cells, n_features)``.

    Returns
    -------
    Shape ``(n_features,)``, at least 0; 1 for the mean of these cells, NaN where the measured values are constant.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> import couplevi as cvi
    >>> cvi.metrics.relative_rmse_per_feature([[1.0, 0], [3, 0]], [[2.0, 1], [2, 1]])
    array([ 1., nan])
    """
    x, y = _same_shape(measured, imputed)
    error, spread = np.sqrt(np.square(x - y).mean(axis=0)), x.std(axis=0)
    return np.divide(error, spread, out=np.full(x.shape[1], np.nan), where=spread > 0)


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


def jensen_shannon_distance(
    measured: ArrayLike, imputed: ArrayLike, groups: ArrayLike | None = None, n_bins: int = 20
) -> FloatArray:
    """Distance between the distributions of measured and imputed values of each feature. Smaller is better.

    Both are counted in `n_bins` bins of equal width over the range of the two together.

    Parameters
    ----------
    measured, imputed
        Cells by features, shape ``(n_cells, n_features)``.
    groups
        A cell type per cell; each is compared by itself.
    n_bins
        Number of bins, at least 2.

    Returns
    -------
    Shape ``(n_features,)``, or ``(n_groups, n_features)`` in the order of the sorted groups; square root of the
    divergence to base 2, in [0, 1].

    Raises
    ------
    ValueError
        If shapes or lengths differ.

    Examples
    --------
    >>> import couplevi as cvi
    >>> cvi.metrics.jensen_shannon_distance([[0.0], [0.0]], [[1.0], [1.0]])
    array([1.])
    """
    check_count(n_bins, "n_bins", minimum=2)
    x, y = _same_shape(measured, imputed)
    if groups is not None:
        labels = np.asarray(groups)
        if len(labels) != len(x):
            raise ValueError(expected(f"a group for each of {len(x)} cells", f"{len(labels)} groups"))
        members = [labels == label for label in np.unique(labels)]
        return np.stack([jensen_shannon_distance(x[m], y[m], n_bins=n_bins) for m in members])
    low = np.minimum(x.min(axis=0), y.min(axis=0))
    width = np.maximum(x.max(axis=0), y.max(axis=0)) - low
    p, q = (_histogram(values, low, width, n_bins) for values in (x, y))
    middle = (p + q) / 2
    divergence = (rel_entr(p, middle) + rel_entr(q, middle)).sum(axis=0) / (2 * np.log(2))
    return np.sqrt(np.clip(divergence, 0, 1))


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
    Features won, lost and tied by `score`, and the p-value of a fair coin; ties and NaN do not enter it.

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


def _same_shape(measured: ArrayLike, imputed: ArrayLike) -> tuple[FloatArray, FloatArray]:
    x, y = np.asarray(measured, dtype=np.float64), np.asarray(imputed, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 2 or len(x) == 0:
        raise ValueError(expected("two matrices of the same cells and features", f"shapes {x.shape} and {y.shape}"))
    return x, y


def _histogram(values: FloatArray, low: FloatArray, width: FloatArray, n_bins: int) -> FloatArray:
    """Share of cells per bin, shape ``(n_bins, n_features)``."""
    position = np.divide(values - low, width, out=np.zeros_like(values), where=width > 0)
    index = np.minimum((position * n_bins).astype(int), n_bins - 1)
    counts = np.zeros((n_bins, values.shape[1]))
    np.add.at(counts, (index, np.arange(values.shape[1])), 1)
    return counts / len(values)
