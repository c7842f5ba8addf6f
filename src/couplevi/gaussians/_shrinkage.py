from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.special import logsumexp

from couplevi._validate import check_count, check_finite, check_number, check_option, expected

if TYPE_CHECKING:
    from collections.abc import Sequence

    from couplevi._types import FloatArray, IntArray

MOST_CELLS = 5_000
"""Cells by which a share is chosen: more do not change it, and take longer."""

MOST_CLASSES = 200
"""Classes by which a share is chosen."""

RIDGE = 1e-6
"""Added to each variance, relative to the mean one, so that a class of few cells has a density without shrinkage."""

SHARES = tuple(k / 10 for k in range(11))


def shrink(covariances: FloatArray, pooled: FloatArray, share: float) -> FloatArray:
    """Move the covariance of each class towards the one that all share; use it where classes have few cells.

    Parameters
    ----------
    covariances
        One for each of K classes, shape ``(K, d, d)``.
    pooled
        Covariance within classes, shape ``(d, d)``.
    share
        Of the pooled one, in [0, 1]: 0 changes nothing, 1 gives all classes the same.

    Returns
    -------
    Shape ``(K, d, d)``.

    Raises
    ------
    ValueError
        If shapes do not fit or `share` is not in [0, 1].

    References
    ----------
    Friedman, Regularized discriminant analysis, JASA 1989, equation 12.

    Examples
    --------
    >>> import numpy as np
    >>> from couplevi.gaussians import shrink
    >>> shrink(np.array([[[1.0]], [[3.0]]]), np.array([[2.0]]), 0.5).ravel()
    array([1.5, 2.5])
    """
    check_number(share, "share", 0, 1)
    if covariances.ndim != 3 or covariances.shape[1:] != pooled.shape:
        found = f"shapes {covariances.shape} and {pooled.shape}"
        raise ValueError(expected("`covariances` to be a stack of matrices like `pooled`", found))
    return share * pooled + (1 - share) * covariances


def choose_share(
    scores: FloatArray,
    codes: IntArray,
    *,
    rng: np.random.Generator,
    by: Literal["posterior", "density"] = "posterior",
    shares: Sequence[float] = SHARES,
    n_folds: int = 5,
) -> float:
    """Share of the pooled covariance by which held-out cells are best told apart, or described, for :func:`shrink`.

    Cells are split into folds class by class. Each fold is classified by Gaussians of the others, with priors by
    frequency. A class of fewer cells than folds is held out in as many folds as it has cells; a class of one cell is
    never held out, but competes. Above 5,000 cells, about that many are drawn, at least two
    of each class, and above 200 classes, as many of those with two cells or more.

    Parameters
    ----------
    scores
        Cells by components, shape ``(n, d)``.
    codes
        Class of each cell, a number of at least 0, shape ``(n,)``.
    rng
        Of the folds and of the cells that are drawn.
    by
        ``"posterior"``: the probability of the own class given a cell counts; ``"density"``: that of a cell given its
        class.
    shares
        To choose from, each in [0, 1].
    n_folds
        At least 2.

    Returns
    -------
    The share of the highest mean logarithm; the first of equal ones.

    Raises
    ------
    ValueError
        For shapes that do not fit, fewer than two classes, no class of two cells, or scores that do not vary.

    References
    ----------
    Friedman, Regularized discriminant analysis, JASA 1989, section 4.

    Examples
    --------
    >>> import numpy as np
    >>> from couplevi.gaussians import choose_share
    >>> rng = np.random.default_rng(0)
    >>> codes = np.repeat([0, 1], 10)
    >>> choose_share(rng.normal(size=(20, 8)) + codes[:, None], codes, rng=rng) > 0.5
    True
    """
    check_count(n_folds, "n_folds", minimum=2)
    check_option(by, ("posterior", "density"), "by")
    codes = _checked_codes(scores, codes)
    sizes = np.bincount(codes)
    if len(sizes) > MOST_CLASSES:
        drawn = rng.permutation(np.flatnonzero(sizes > 1))[:MOST_CLASSES]
        chosen = np.isin(codes, drawn)
        scores, codes = scores[chosen], _checked_codes(scores[chosen], codes[chosen])
    rank, size = _rank_within(codes, rng)
    kept = rank < np.maximum(2, size * MOST_CELLS / len(codes))
    scores, codes, rank, size = scores[kept], codes[kept], rank[kept], size[kept]
    fold = np.where(size > 1, (rank + codes) % n_folds, -1)  # each class starts at a fold of its own
    total = np.zeros(len(shares))
    for held in range(n_folds):
        test = fold == held
        if test.any():
            total += _log_likelihoods(scores[~test], codes[~test], scores[test], codes[test], shares, by)
    return float(shares[int(total.argmax())])


def _checked_codes(scores: FloatArray, codes: IntArray) -> IntArray:
    """Classes numbered without gaps; raise unless something can be held out of them."""
    if scores.ndim != 2 or codes.shape != scores.shape[:1]:
        raise ValueError(expected("one code for each row of `scores`", f"shapes {codes.shape} and {scores.shape}"))
    check_finite(scores, "`scores`")
    _, codes, sizes = np.unique(codes, return_inverse=True, return_counts=True)
    if len(sizes) < 2 or sizes.max() < 2:
        raise ValueError(expected("at least two classes, one of them of two cells", f"sizes {sizes.tolist()[:10]}"))
    return codes


def _rank_within(codes: IntArray, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
    """Position of each cell in a random order of its class, and the size of the class."""
    sizes = np.bincount(codes)
    order = np.lexsort((rng.random(len(codes)), codes))
    rank = np.empty(len(codes), dtype=np.int64)
    rank[order] = np.arange(len(codes)) - (np.cumsum(sizes) - sizes)[codes[order]]
    return rank, sizes[codes]


def _log_likelihoods(
    scores: FloatArray, codes: IntArray, held_out: FloatArray, truth: IntArray, shares: Sequence[float], by: str
) -> FloatArray:
    """Sum over held-out cells of the logarithm of the posterior of their class, or of their density, for each share."""
    indicator = codes == np.arange(codes.max() + 1)[:, None]
    sizes = indicator.sum(axis=1)
    means = (indicator @ scores) / sizes[:, None]
    centred = scores - means[codes]
    scatter = np.stack([centred[own].T @ centred[own] for own in indicator])
    pooled = scatter.sum(axis=0) / max(1, len(codes) - len(sizes))
    ridge = RIDGE * np.trace(pooled) / len(pooled) * np.eye(len(pooled))
    if not ridge.any():
        raise ValueError(expected("scores that vary within classes", "cells that are all the same"))
    covariances = scatter / (sizes - 1).clip(min=1)[:, None, None]
    total = np.zeros(len(shares))
    for k, share in enumerate(shares):
        inverse = np.linalg.inv(np.linalg.cholesky(shrink(covariances, pooled, share) + ridge))
        white = (held_out - means[:, None]) @ np.swapaxes(inverse, 1, 2)
        log_root = np.log(np.diagonal(inverse, axis1=1, axis2=2)).sum(axis=1)  # of the inverse determinant
        joint = (np.log(sizes) + log_root)[:, None] - 0.5 * np.square(white).sum(axis=2)
        reference = logsumexp(joint, axis=0) if by == "posterior" else np.log(sizes)[truth]
        total[k] = (joint[truth, np.arange(len(truth))] - reference).sum()
    return total
