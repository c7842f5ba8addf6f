from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from sklearn.preprocessing import StandardScaler

from couplevi._arrays import dense
from couplevi.preparation._record import Preparation, inverse_scale
from couplevi.preparation._rows import row_chunks

if TYPE_CHECKING:
    from couplevi._types import FloatArray, Matrix

MAX_GRAM = 4_000
"""Features up to which the covariance is formed (one pass, exact); above, its range is found by iteration."""

OVERSAMPLING = 20
MAX_PASSES = 20
TOLERANCE = 1e-4
"""Relative change of every leading eigenvalue at which the iteration stops."""


def fit_preparation(matrix: Matrix, n_components: int | None = None) -> Preparation:
    """Standardise the features of a modality and find its leading principal components.

    Reads the matrix in chunks of rows and never holds a dense copy of it. Up to 4,000 features, time is
    ``n_obs * n_vars^2`` (one pass, exact); above, it is ``n_obs * n_components`` times the mean number of stored
    values per cell, for each of at most 20 passes.

    Parameters
    ----------
    matrix
        Cells by features, shape ``(n_obs, n_vars)``, finite.
    n_components
        Number of components, from 1 to ``min(n_obs - 1, n_vars)``; None or ``n_vars`` keeps the standardised
        features.

    Returns
    -------
    Frozen record. Components are signed so that their largest loading is positive.

    References
    ----------
    Halko, Martinsson and Tropp, Finding structure with randomness, SIAM Review 2011 (algorithm 4.4).

    Examples
    --------
    >>> import numpy as np
    >>> from couplevi.preparation import fit_preparation
    >>> x = np.random.default_rng(0).normal(3, 2, (50, 4))
    >>> p = fit_preparation(x)
    >>> bool(np.allclose(p.inverse(p.transform(x)), x, atol=1e-5))
    True
    """
    scaler = StandardScaler(with_mean=not sp.issparse(matrix))
    for _, chunk in row_chunks(matrix):
        scaler.partial_fit(chunk.astype(np.float64))
    mean, scale = np.asarray(scaler.mean_), np.where(scaler.var_ > 0, scaler.scale_, 0.0)
    if n_components is None or n_components >= matrix.shape[1]:
        return Preparation(mean.astype(np.float32), scale.astype(np.float32), None, 1.0)
    fit = _components_by_gram if matrix.shape[1] <= MAX_GRAM else _components_by_iteration
    variances, components = fit(matrix, mean, scale, n_components)
    largest = components[np.arange(n_components), np.abs(components).argmax(axis=1)]
    components = components * np.sign(largest)[:, None]
    rms = float(np.float32(np.sqrt(variances.mean()))) or 1.0
    return Preparation(mean.astype(np.float32), scale.astype(np.float32), components.astype(np.float32), rms)


def _components_by_gram(
    matrix: Matrix, mean: FloatArray, scale: FloatArray, n_components: int
) -> tuple[FloatArray, FloatArray]:
    n_obs, n_vars = matrix.shape
    gram = np.zeros((n_vars, n_vars))
    for _, chunk in row_chunks(matrix):
        standardised = ((dense(chunk) - mean) * inverse_scale(scale)).astype(np.float32)
        gram += standardised.T @ standardised
    variances, vectors = scipy.linalg.eigh(gram / n_obs, subset_by_index=[n_vars - n_components, n_vars - 1])
    return np.maximum(variances[::-1], 0), vectors[:, ::-1].T


def _components_by_iteration(
    matrix: Matrix, mean: FloatArray, scale: FloatArray, n_components: int
) -> tuple[FloatArray, FloatArray]:
    """Subspace iteration on the covariance of the standardised features, centred and scaled implicitly."""
    n_obs, n_vars = matrix.shape
    width = min(n_vars, n_components + OVERSAMPLING)
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((n_vars, width)))[0]
    previous = np.zeros(n_components)
    for _ in range(MAX_PASSES):
        product = _covariance_product(matrix, mean, scale, basis)
        variances, rotation = scipy.linalg.eigh(basis.T @ product)
        vectors = (basis @ rotation)[:, ::-1][:, :n_components]
        variances = np.maximum(variances[::-1][:n_components], 0)
        if np.all(np.abs(variances - previous) <= TOLERANCE * variances.max()):
            break
        previous, basis = variances, np.linalg.qr(product)[0]
    return variances, vectors.T


def _covariance_product(matrix: Matrix, mean: FloatArray, scale: FloatArray, basis: FloatArray) -> FloatArray:
    """Covariance of the standardised features times `basis`, in one pass; sparse chunks stay sparse."""
    gain = inverse_scale(scale)[:, None]
    loadings = basis * gain
    offset = mean @ loadings
    product = np.zeros_like(basis)
    score_sum = np.zeros(basis.shape[1])
    for _, chunk in row_chunks(matrix):
        scores = chunk @ loadings - offset
        product += chunk.T @ scores
        score_sum += scores.sum(axis=0)
    return (product - np.outer(mean, score_sum)) * gain / matrix.shape[0]
