"""Means, variances and covariances of the states, in one pass over the cells; nothing of genes by genes is formed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from couplevi._arrays import dense
from couplevi.preparation import row_chunks

if TYPE_CHECKING:
    from couplevi._streamed import Matrix
    from couplevi._types import FloatArray, IntArray, MemoryMatrix

NOISE_PASSES = 50
ROUNDING = 1e-10
"""Of a sum of squares, relative to it."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Moments of K groups of cells.

    Attributes
    ----------
    count
        Total weight of the cells of each, shape ``(K,)``.
    mean, variance
        Of each feature, shape ``(K, n_vars)``; the variance is unbiased, NaN of a single cell.
    covariance
        Of the scores, shape ``(K, n_components, n_components)``, unbiased.
    pooled
        Covariance of the scores within groups, shape ``(n_components, n_components)``.
    noise
        Variance of each feature, within groups, that the components leave, as of independent noise, ``(n_vars,)``.
    scale
        Factor of the noise in each group, shape ``(K,)``.
    """

    count: FloatArray
    mean: FloatArray
    variance: FloatArray
    covariance: FloatArray
    pooled: FloatArray
    noise: FloatArray
    scale: FloatArray


def moments(
    matrix: Matrix,
    weights: sp.csr_array,
    scores: FloatArray,
    basis: FloatArray,
    batch: IntArray,
    offsets: FloatArray,
) -> Moments:
    """Moments of groups of cells, in one pass.

    Parameters
    ----------
    matrix
        Cells by features, shape ``(n_obs, n_vars)``.
    weights
        How much each cell counts in each group, shape ``(n_obs, K)``, rows summing to 1, or 0 for cells left out.
    scores
        Of the cells in the basis, shape ``(n_obs, n_components)``, offsets removed.
    basis
        Orthonormal columns, shape ``(n_vars, n_components)``.
    batch, offsets
        Batch of each cell, and what is subtracted from the features of the cells of each, ``(n_batches, n_vars)``.
    """
    count = np.asarray(weights.sum(axis=0)).ravel()
    n_groups, n_vars = len(count), matrix.shape[1]
    first, second = np.zeros((n_groups, n_vars)), np.zeros((n_groups, n_vars))
    cross = np.zeros((scores.shape[1], n_vars))
    for rows, chunk in row_chunks(matrix):
        here, codes, z = weights[rows], batch[rows], scores[rows]
        for b in np.unique(codes):
            own, offset = codes == b, offsets[b]
            part, w = chunk[own].astype(np.float64), here[own]
            there = np.flatnonzero(np.asarray(w.sum(axis=0)).ravel())
            w = w[:, there]
            n, sums, squares = np.asarray(w.sum(axis=0)).ravel(), dense(w.T @ part), dense(w.T @ _squared(part))
            counted = z[own] * np.asarray(w.sum(axis=1)).ravel()[:, None]
            cross += (part.T @ counted).T
            if offset.any():
                squares = squares - 2 * sums * offset + np.outer(n, np.square(offset))
                sums = sums - np.outer(n, offset)
                cross -= np.outer(counted.sum(axis=0), offset)
            first[there] += sums
            second[there] += squares
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = first / count[:, None]
        deviations = second - count[:, None] * np.square(mean)
        deviations = np.where(deviations > ROUNDING * second, deviations, 0)  # a constant does not vary by rounding
        variance = deviations / np.where(count > 1, count - 1, np.nan)[:, None]
    covariance, within, means = _of_scores(scores, weights, count)
    freedom = max(count.sum() - (count > 0).sum(), 1)
    pooled = within / freedom
    cross -= (means * count[:, None]).T @ np.nan_to_num(mean)
    total = np.nansum(deviations, axis=0) / freedom
    residual = total - 2 * (basis * cross.T).sum(axis=1) / freedom + ((basis @ pooled) * basis).sum(axis=1)
    noise = independent_noise(np.maximum(residual, 0), basis)
    left = np.maximum(np.nansum(variance, axis=1) - np.trace(covariance, axis1=1, axis2=2), 0)
    scale = left / residual.sum() if residual.sum() > 1e-10 * total.sum() else np.ones(n_groups)
    return Moments(count, mean, variance, covariance, pooled, noise, scale)


def independent_noise(residual: FloatArray, basis: FloatArray) -> FloatArray:
    """Variances D of independent noise whose part outside of the basis has these variances: ``diag(P D P)``."""
    leverage = np.square(basis).sum(axis=1)
    noise = residual.copy()
    for _ in range(NOISE_PASSES):
        inside = basis.T @ (basis * noise[:, None])
        outside = noise * (1 - 2 * leverage) + ((basis @ inside) * basis).sum(axis=1)
        ratio = np.divide(residual, outside, out=np.ones_like(noise), where=outside > 1e-12 * (noise + 1e-300))
        noise = noise * np.clip(ratio, 0, 2)
    return noise


def _of_scores(
    scores: FloatArray, weights: sp.csr_array, count: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Covariance of the scores of each group, sum of squares within all, and means."""
    columns = sp.csc_array(weights)
    n_groups, d = len(count), scores.shape[1]
    covariance, means, within = np.zeros((n_groups, d, d)), np.zeros((n_groups, d)), np.zeros((d, d))
    for k in range(n_groups):
        place = slice(columns.indptr[k], columns.indptr[k + 1])
        z, w = scores[columns.indices[place]], columns.data[place][:, None]
        if count[k] > 0:
            means[k] = (w * z).sum(axis=0) / count[k]
            centred = z - means[k]
            squares = (w * centred).T @ centred
            within += squares
            covariance[k] = squares / max(count[k] - 1, 1)
    return covariance, within, means


def _squared(part: MemoryMatrix) -> MemoryMatrix:
    return part.multiply(part) if sp.issparse(part) else np.square(part)  # type: ignore[union-attr]
