from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from couplevi.preparation._record import inverse_scale
from couplevi.preparation._rows import row_chunks

if TYPE_CHECKING:
    from couplevi._streamed import Matrix
    from couplevi._types import FloatArray, IntArray

PAIRS_PER_COMPONENT = 10
"""Pairs that are needed for each component of the other modality that features are regressed on."""

SMALLEST_SINGULAR = 1e-6
"""Of a direction of the regressors, relative to the largest, below which it is left out."""

SMALLEST_VARIANCE = 1e-9
"""Of a standardised feature over linked profiles, below which it is constant there but for rounding."""

SMALLEST_REST = 1e-3
"""Least share of a profile's own value that is left to the others in leaving it out."""


@dataclass(frozen=True, eq=False)
class Explained:
    """What linked profiles of another modality explain of the features of a modality.

    Attributes
    ----------
    share
        Share of the variance of each feature, of profiles that the regression was not fitted on, in [0, 1], shape
        ``(n_vars,)``.
    loadings
        Covariance of the standardised features with uncorrelated combinations of the other modality's components,
        which have a variance of 1, shape ``(n_combinations, n_vars)``. Their squares sum to the covariance of what is
        explained of the features.
    n_pairs
        Number of linked profiles, by their weight.
    """

    share: FloatArray
    loadings: FloatArray
    n_pairs: float

    def beyond_chance(self, weight: FloatArray) -> FloatArray:
        """Rows whose squares sum to the covariance of what is explained of weighted features, less what chance explains.

        Of so few pairs, regression finds a little in every direction: as much as the variance that is left over, divided
        by the degrees of freedom.
        """
        loadings = self.loadings * weight
        _, size, directions = np.linalg.svd(loadings, full_matrices=False)
        left = np.square(weight).sum() - np.square(loadings).sum()
        by_chance = left / max(self.n_pairs - 1 - len(loadings), 1)
        return np.sqrt(np.maximum(np.square(size) - by_chance, 0))[:, None] * directions


def n_regressors(links: sp.csr_array) -> int:
    """How many components so many links suffice for; confidences count as parts of a pair."""
    pairs = min(np.minimum(links.sum(axis=axis), 1).sum() for axis in (0, 1))
    return int(pairs / PAIRS_PER_COMPONENT + 1e-6)


def explained_by(
    matrix: Matrix,
    mean: FloatArray,
    scale: FloatArray,
    links: sp.csr_array,
    scores: FloatArray,
    batch: IntArray | None = None,
) -> Explained:
    """Regress standardised features on components of the other modality, by least squares over linked profiles.

    A profile counts by the sum of its confidences, at most 1, and is described by the mean of its partners. How much is
    explained is measured on each profile by a regression on all others (PRESS), so that chance explains nothing,
    neither of features that were seen in a few cells. Takes one pass through the matrix, in chunks of rows.

    Parameters
    ----------
    matrix
        Cells by features, shape ``(n_obs, n_vars)``.
    mean, scale
        Of the features, shape ``(n_vars,)``; a scale of 0 marks a constant one.
    links
        Confidences, shape ``(n_obs, n_other)``.
    scores
        Components of the other modality, shape ``(n_other, n_scores)``.
    batch
        Batch of each profile, shape ``(n_obs,)``: what differs between batches is not explained. None if there are
        none.

    References
    ----------
    Allen, The relationship between variable selection and data augmentation and a method for prediction,
    Technometrics 1974.
    """
    sums = np.asarray(links.sum(axis=1)).ravel()
    linked = np.flatnonzero(sums > 0)
    root = np.sqrt(np.minimum(sums[linked], 1))
    groups = _groups(np.zeros(len(linked)) if batch is None else batch[linked], root)
    partners = np.asarray(links[linked] @ scores, dtype=np.float64) / sums[linked, None]
    bases = groups, np.hstack([groups, _rest(partners * root[:, None], groups)])
    left_out = [1 / np.square(np.maximum(1 - np.square(u).sum(axis=1), SMALLEST_REST)) for u in bases]
    n_groups, n = (u.shape[1] for u in bases)
    weighted = [u * d[:, None] for u, d in zip(bases, left_out, strict=True)]
    left = np.hstack([bases[1], *weighted]) * root[:, None]
    right = np.column_stack(left_out) * np.square(root)[:, None]
    products, squares = _sums(matrix, mean, inverse_scale(scale), linked, left, right)
    fitted, *by_base = np.split(products, [n, n + n_groups])
    error_of_means, error = (
        square - 2 * (b * product).sum(axis=0) + (b * (w.T @ u @ b)).sum(axis=0)
        for square, b, product, u, w in zip(squares, (fitted[:n_groups], fitted), by_base, bases, weighted, strict=True)
    )
    between = fitted[:n_groups] - np.outer(groups.T @ root, groups.T @ root) @ fitted[:n_groups] / (root @ root)
    variance = error_of_means + np.square(between).sum(axis=0)  # the latter is 0 of a single batch
    varies = (scale > 0) & (variance > SMALLEST_VARIANCE * (root @ root))
    share = np.divide(error_of_means - error, variance, out=np.zeros(len(mean)), where=varies)
    return Explained(np.clip(share, 0, 1), fitted[n_groups:] / np.sqrt(root @ root), root @ root)


def _groups(batch: IntArray | FloatArray, root: FloatArray) -> FloatArray:
    """Orthonormal indicators of the batches, rows multiplied by the root of their weight."""
    indicators = (batch[:, None] == np.unique(batch)) * root[:, None]
    return indicators / np.sqrt(np.square(indicators).sum(axis=0))


def _rest(x: FloatArray, basis: FloatArray) -> FloatArray:
    """Orthonormal columns that, with a basis, span `x`."""
    u, size, _ = np.linalg.svd(x - basis @ (basis.T @ x), full_matrices=False)
    return u[:, size > SMALLEST_SINGULAR * np.sqrt(np.square(x).sum())]


def _sums(
    matrix: Matrix, mean: FloatArray, gain: FloatArray, rows: IntArray, left: FloatArray, right: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Sums over some rows of the standardised features times `left`, and of their squares times `right`."""
    products = np.zeros((left.shape[1], len(mean)))
    squares = np.zeros((right.shape[1], len(mean)))
    for part, chunk in row_chunks(matrix):
        here = slice(*np.searchsorted(rows, [part.start, part.stop]))
        x = chunk[rows[here] - part.start]
        if not sp.issparse(x):
            z = (np.asarray(x, dtype=np.float64) - mean) * gain
            products += left[here].T @ z
            squares += right[here].T @ np.square(z)
            continue
        x = sp.csr_array(x, dtype=np.float64)
        total, weight = x.T @ right[here], right[here].sum(axis=0)[:, None]
        products += ((x.T @ left[here]).T - np.outer(left[here].sum(axis=0), mean)) * gain
        squares += ((x.power(2).T @ right[here] - 2 * mean[:, None] * total).T + weight * mean**2) * gain**2
    return products, squares
