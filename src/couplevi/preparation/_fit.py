from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from sklearn.preprocessing import StandardScaler

from couplevi._arrays import dense
from couplevi.preparation._record import Preparation, inverse_scale
from couplevi.preparation._rows import row_chunks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from couplevi._streamed import Matrix
    from couplevi._types import FloatArray
    from couplevi.preparation._explained import Explained

FeatureWeights: TypeAlias = Literal["communality", "equal", "variance"]

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
    weights: FeatureWeights = "communality",
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
    return Features(matrix).preparation(n_components, weights)


class Features:
    """Standardised features of a modality, of which several things are asked; each is computed once.

    Parameters
    ----------
    matrix
        Cells by features, shape ``(n_obs, n_vars)``, finite.
    """

    def __init__(self, matrix: Matrix) -> None:
        self.matrix = matrix
        self.mean, self.scale, self.detected = _moments(matrix)

    def is_reduced_by(self, n_components: int | None) -> bool:
        """Whether so many components are fewer than the features."""
        return n_components is not None and n_components < len(self.mean)

    def preparation(
        self, n_components: int | None, weights: FeatureWeights, explained: Sequence[Explained] = ()
    ) -> Preparation:
        """Record of the leading components, see :func:`fit_preparation`.

        What other modalities explain of the features adds to their communality, and to the covariance of which the
        components are taken: the largest share, and the mean covariance.
        """
        mean, scale = self.mean, self.scale
        if n_components is None or not self.is_reduced_by(n_components):
            return Preparation(mean.astype(np.float32), scale.astype(np.float32), None, 1.0)
        if weights == "communality":
            weight = self._weight(
                np.max([self._communality, *(self._communality + e.share for e in explained)], axis=0)
            )
        elif weights == "variance":
            weight = np.where(scale > 0, scale, 1.0)
        else:
            weight = np.ones_like(scale)
        known = [e.beyond_chance(np.where(scale > 0, weight, 0)) / np.sqrt(len(explained)) for e in explained]
        variances, components = self._leading(weight, n_components, np.concatenate(known) if known else None)
        largest = components[np.arange(n_components), np.abs(components).argmax(axis=1)]
        components = components * np.sign(largest)[:, None]
        rms = float(np.float32(np.sqrt(variances.mean()))) or 1.0
        divisor = (scale / weight).astype(np.float32)
        return Preparation(mean.astype(np.float32), divisor, components.astype(np.float32), rms)

    def pilot_scores(self, n_components: int) -> FloatArray:
        """Leading pilot components of the profiles, at most as many as there are, shape ``(n_obs, n_components)``."""
        weight, _, components = self._pilot
        loadings = (components[:n_components] * weight * inverse_scale(self.scale)).T
        return np.concatenate([chunk @ loadings for _, chunk in row_chunks(self.matrix)]) - self.mean @ loadings

    @cached_property
    def _pilot(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Weights of the features, and variances and components of the weighted ones."""
        n_obs, n_vars = self.matrix.shape
        weight = np.where(self.detected > 0, np.sqrt(self.detected), 1.0)
        return weight, *self._leading(weight, max(1, min(N_PILOT, n_vars, n_obs // 10)))

    @cached_property
    def _communality(self) -> FloatArray:
        """Share of the variance of each feature that pilot components explain beyond chance."""
        weight, variances, components = self._pilot
        by_chance = len(variances) / self.matrix.shape[0]
        communality = (variances[:, None] * np.square(components / weight)).sum(axis=0)
        return np.clip((communality - by_chance) / (1 - by_chance), 0, 1)

    def _weight(self, share: FloatArray) -> FloatArray:
        """Square root of a share of variance plus a floor, with a mean square of 1 over the features that vary."""
        weight, varies = np.sqrt(share + COMMUNALITY_FLOOR), self.scale > 0
        return weight / np.sqrt(np.square(weight[varies]).mean()) if varies.any() else weight

    def _leading(
        self, weight: FloatArray, n_components: int, extra: FloatArray | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Variances and components of weighted features; `extra` rows are added to their covariance, not to variances."""
        if self.matrix.shape[1] > MAX_GRAM:
            return _components_by_iteration(self.matrix, self.mean, self.scale / weight, n_components, extra)
        return _components_by_gram(self._correlation * np.outer(weight, weight), n_components, extra)

    @cached_property
    def _correlation(self) -> FloatArray:
        """Correlation of the features, shape ``(n_vars, n_vars)``; 0 for constant ones."""
        gram = np.zeros((len(self.mean), len(self.mean)))
        for _, chunk in row_chunks(self.matrix):
            standardised = ((dense(chunk) - self.mean) * inverse_scale(self.scale)).astype(np.float32)
            gram += standardised.T @ standardised
        return gram / self.matrix.shape[0]


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


def _components_by_gram(
    covariance: FloatArray, n_components: int, extra: FloatArray | None
) -> tuple[FloatArray, FloatArray]:
    n_vars = len(covariance)
    sought = covariance if extra is None else covariance + extra.T @ extra
    variances, vectors = scipy.linalg.eigh(sought, subset_by_index=[n_vars - n_components, n_vars - 1])
    components = vectors[:, ::-1].T
    variances = variances[::-1] if extra is None else (components @ covariance * components).sum(axis=1)
    return np.maximum(variances, 0), components


def _components_by_iteration(
    matrix: Matrix, mean: FloatArray, scale: FloatArray, n_components: int, extra: FloatArray | None
) -> tuple[FloatArray, FloatArray]:
    """Subspace iteration on the covariance of the standardised features, centred and scaled implicitly."""
    n_obs, n_vars = matrix.shape
    width = min(n_vars, n_components + OVERSAMPLING)
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((n_vars, width)))[0]
    previous = np.zeros(n_components)
    for _ in range(MAX_PASSES):
        product = _covariance_product(matrix, mean, scale, basis)
        sought = product if extra is None else product + extra.T @ (extra @ basis)
        values, rotation = scipy.linalg.eigh(basis.T @ sought)
        rotation = rotation[:, ::-1][:, :n_components]
        values = np.maximum(values[::-1][:n_components], 0)
        if np.all(np.abs(values - previous) <= TOLERANCE * values.max()):
            break
        previous, basis = values, np.linalg.qr(sought)[0]
    if extra is not None:
        values = np.maximum((rotation * (basis.T @ product @ rotation)).sum(axis=0), 0)
    return values, (basis @ rotation).T


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
