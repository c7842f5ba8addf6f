from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from sklearn.preprocessing import StandardScaler

from couplevi._arrays import dense
from couplevi.preparation._record import Preparation, inverse_scale
from couplevi.preparation._rows import row_chunks

if TYPE_CHECKING:
    from couplevi._streamed import Matrix
    from couplevi._types import BoolArray, FloatArray

LeadingComponents: TypeAlias = "Callable[[FloatArray, int], tuple[FloatArray, FloatArray]]"

MAX_GRAM = 4_000
"""Features up to which the covariance is formed (one pass, exact); above, its range is found by iteration."""

N_PILOT = 20
"""Components that communalities are taken from."""

COMMUNALITY_FLOOR = 0.03
"""Added to communalities, so that features that share nothing keep some weight."""

OVERSAMPLING = 20
MAX_PASSES = 20
TOLERANCE = 1e-4
"""Relative change of every leading eigenvalue at which the iteration stops."""


def fit_preparation(
    matrix: Matrix,
    n_components: int | None = None,
    weights: Literal["communality", "equal", "variance"] = "communality",
) -> Preparation:
    """Standardise the features of a modality, weigh them, and find their leading principal components.

    Thousands of features that share nothing with others, such as genes seen in a few cells, would fill components of
    standardised data with noise. ``"communality"`` therefore weighs a standardised feature by
    ``sqrt(h^2 + 0.03)``, where its communality ``h^2`` is the share of its variance, in excess of chance, that 20
    pilot components explain; in these, features count by the square root of the share of cells they are detected in.
    Nothing depends on the units of a feature.

    Reads the matrix in chunks of rows and never holds a dense copy of it. Up to 4,000 features, time is
    ``n_obs * n_vars^2`` (exact); above, it is ``n_obs * n_components`` times the mean number of stored values per
    cell, for each of at most 40 passes.

    Parameters
    ----------
    matrix
        Cells by features, shape ``(n_obs, n_vars)``, finite.
    n_components
        Number of components, from 1 to ``min(n_obs - 1, n_vars)``; None or ``n_vars`` keeps the standardised
        features, unweighted.
    weights
        Weights of the standardised features in the components: ``"communality"``, all ``"equal"``, or
        ``"variance"``: their standard deviations, so that the components are those of the features as they are.

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
    mean, scale, detected = _moments(matrix)
    if n_components is None or n_components >= matrix.shape[1]:
        return Preparation(mean.astype(np.float32), scale.astype(np.float32), None, 1.0)
    leading = _leading_components(matrix, mean, scale)
    if weights == "communality":
        n_pilot = max(1, min(N_PILOT, len(scale), matrix.shape[0] // 10))
        weight = _communality_weights(leading, detected, scale > 0, n_pilot, n_pilot / matrix.shape[0])
    elif weights == "variance":
        weight = np.where(scale > 0, scale, 1.0)
    else:
        weight = np.ones_like(scale)
    variances, components = leading(weight, n_components)
    largest = components[np.arange(n_components), np.abs(components).argmax(axis=1)]
    components = components * np.sign(largest)[:, None]
    rms = float(np.float32(np.sqrt(variances.mean()))) or 1.0
    divisor = (scale / weight).astype(np.float32)
    return Preparation(mean.astype(np.float32), divisor, components.astype(np.float32), rms)


def _moments(matrix: Matrix) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Mean, standard deviation (exactly 0 where constant, up to rounding) and share of non-zero values of each feature."""
    scaler = StandardScaler()
    detected = np.zeros(matrix.shape[1])
    for _, chunk in row_chunks(matrix):
        scaler.with_mean = not sp.issparse(chunk)
        scaler.partial_fit(chunk.astype(np.float64))
        detected += np.asarray((chunk != 0).sum(axis=0)).ravel()
    mean, n_obs = np.asarray(scaler.mean_), matrix.shape[0]
    rounding = np.finfo(np.float64).eps * n_obs
    varies = scaler.var_ > rounding * scaler.var_ + np.square(rounding * mean)  # as scikit-learn tells constants
    return mean, np.where(varies, scaler.scale_, 0.0), detected / n_obs


def _leading_components(matrix: Matrix, mean: FloatArray, scale: FloatArray) -> LeadingComponents:
    """Function from weights of the standardised features and a number to so many variances and components."""
    if matrix.shape[1] > MAX_GRAM:
        return lambda weight, n: _components_by_iteration(matrix, mean, scale / weight, n)
    correlation = _correlation(matrix, mean, scale)
    return lambda weight, n: _components_by_gram(correlation * np.outer(weight, weight), n)


def _communality_weights(
    leading: LeadingComponents, detected: FloatArray, varies: BoolArray, n_pilot: int, by_chance: float
) -> FloatArray:
    """Square root of communality plus a floor, with a mean square of 1 over the features that vary."""
    pilot_weight = np.where(detected > 0, np.sqrt(detected), 1.0)
    variances, components = leading(pilot_weight, n_pilot)
    communality = (variances[:, None] * np.square(components / pilot_weight)).sum(axis=0)
    weight = np.sqrt(np.clip((communality - by_chance) / (1 - by_chance), 0, 1) + COMMUNALITY_FLOOR)
    return weight / np.sqrt(np.square(weight[varies]).mean()) if varies.any() else weight


def _correlation(matrix: Matrix, mean: FloatArray, scale: FloatArray) -> FloatArray:
    """Correlation of the features, shape ``(n_vars, n_vars)``; 0 for constant ones."""
    gram = np.zeros((len(mean), len(mean)))
    for _, chunk in row_chunks(matrix):
        standardised = ((dense(chunk) - mean) * inverse_scale(scale)).astype(np.float32)
        gram += standardised.T @ standardised
    return gram / matrix.shape[0]


def _components_by_gram(covariance: FloatArray, n_components: int) -> tuple[FloatArray, FloatArray]:
    n_vars = len(covariance)
    variances, vectors = scipy.linalg.eigh(covariance, subset_by_index=[n_vars - n_components, n_vars - 1])
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
