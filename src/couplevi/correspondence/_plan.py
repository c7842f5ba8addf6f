"""Transport plans: soft matches whose rows and columns have given masses."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.sparse as sp
from sklearn.metrics import pairwise_distances

from couplevi.correspondence._graph import nearest

if TYPE_CHECKING:
    from couplevi._types import FloatArray

SCALINGS = 200
TOLERANCE = 1e-10
MAX_DENSE = 4_000_000
N_CANDIDATES = 50
LEAST_BLUR = 1e-4
REACH = 500.0
"""Largest exponent of a profile's nearest, far enough from underflow."""


class CanonicalMaps(NamedTuple):
    """Coordinates of two modalities in one space, each axis weighted by its correlation."""

    a: FloatArray
    b: FloatArray
    correlations: FloatArray


def canonical_maps(
    x: FloatArray,
    y: FloatArray,
    linked_x: FloatArray,
    linked_y: FloatArray,
    weight: FloatArray,
    *,
    ridge: float,
    power: float,
) -> CanonicalMaps:
    """Canonical correlation analysis of linked rows, applied to all rows of both.

    Axes are divided by the linked rows' standard deviation and multiplied by ``correlation^(power / 2)``, so that
    squared distances weigh an axis by its correlation to that power.

    Parameters
    ----------
    x, y
        All rows, shapes ``(n_a, p)`` and ``(n_b, q)``.
    linked_x, linked_y
        Rows that belong together, shapes ``(n, p)`` and ``(n, q)``.
    weight
        Of each of them, shape ``(n,)``.
    ridge
        Added to both covariances, in units of their mean variance.
    power
        At least 0.

    References
    ----------
    Vinod, Canonical ridge and econometrics of joint production, Journal of Econometrics 1976.
    """
    share = (weight / weight.sum())[:, None]
    mean_x, mean_y = (share * linked_x).sum(axis=0), (share * linked_y).sum(axis=0)
    cx, cy = linked_x - mean_x, linked_y - mean_y
    wx, wy = _inverse_root(cx.T @ (share * cx), ridge), _inverse_root(cy.T @ (share * cy), ridge)
    u, correlations, vt = np.linalg.svd(wx @ (cx.T @ (share * cy)) @ wy, full_matrices=False)
    gain = np.clip(correlations, 0, 1) ** (power / 2)
    return CanonicalMaps((x - mean_x) @ (wx @ u * gain), (y - mean_y) @ (wy @ vt.T * gain), correlations)


def _inverse_root(covariance: FloatArray, ridge: float) -> FloatArray:
    values, vectors = np.linalg.eigh(covariance)
    return vectors / np.sqrt(np.maximum(values, 0) + ridge * max(values.mean(), 1e-12)) @ vectors.T


def kernel(a: FloatArray, b: FloatArray, temperature: float) -> FloatArray | sp.csr_array:
    """``exp(-d^2 / (temperature * mean d^2))`` between rows of two arrays in one space, shape ``(n_a, n_b)``.

    The temperature is raised where it would leave a profile without any match. Dense up to 4,000,000 pairs; above, only those of each row's and each column's 50 nearest are kept.
    """
    mean = np.square(a).sum(axis=1).mean() + np.square(b).sum(axis=1).mean() - 2 * a.mean(axis=0) @ b.mean(axis=0)
    scale = temperature * max(mean, 1e-300)
    if len(a) * len(b) <= MAX_DENSE:
        squared = pairwise_distances(a, b, "sqeuclidean")
        farthest = max(squared.min(axis=0).max(), squared.min(axis=1).max())
        return np.exp(-squared / max(scale, farthest / REACH))
    forward, backward = (
        sp.csr_array((np.ravel(d) + 1e-30, np.ravel(i), np.arange(len(q) + 1) * d.shape[1]), shape=(len(q), len(base)))
        for base, q in ((b, a), (a, b))
        for d, i in [nearest(base, q, min(N_CANDIDATES, len(base)))]
    )
    pairs = sp.csr_array(forward.maximum(backward.T))
    farthest = max(forward.data.reshape(len(a), -1)[:, 0].max(), backward.data.reshape(len(b), -1)[:, 0].max()) ** 2
    pairs.data = np.exp(-np.square(pairs.data) / max(scale, farthest / REACH))
    return pairs


def blur(a: FloatArray, b: FloatArray) -> float:
    """How far matches may be from their places: 1 where modalities interleave, towards 0 where they coincide.

    The median squared distance of a profile to the nearest one of the other modality, over that to the nearest one of
    its own, from 0.0001 to 1.
    """
    across = [np.median(nearest(base, queries, 1)[0]) for base, queries in ((b, a), (a, b))]
    within = [np.median(nearest(base, base, 2)[0][:, 1]) for base in (a, b)]
    return float(np.clip((sum(across) / max(sum(within), 1e-300)) ** 2, LEAST_BLUR, 1.0))


def relaxed_plan(
    kernel: FloatArray | sp.csr_array, rows: FloatArray, columns: FloatArray, give: float
) -> FloatArray | sp.csr_array:
    """Scale rows and columns of a kernel towards given masses.

    Unbalanced Sinkhorn scaling with exponent ``1 / (1 + give)``: 0 meets the masses exactly, a larger `give` lets
    cells that resemble nothing keep less than their mass.

    References
    ----------
    Chizat, Peyre, Schmitzer and Vialard, Scaling algorithms for unbalanced optimal transport problems,
    Mathematics of Computation 2018.
    """
    exponent = 1 / (1 + give)
    transposed = sp.csr_array(kernel.T) if sp.issparse(kernel) else kernel.T
    u: FloatArray = np.ones(len(rows))
    v: FloatArray = np.ones(len(columns))
    for _ in range(SCALINGS):
        before = u
        u = _ratio(rows, kernel @ v) ** exponent
        v = _ratio(columns, transposed @ u) ** exponent
        if np.abs(u - before).max() <= TOLERANCE * u.max():
            break
    if sp.issparse(kernel):
        return sp.csr_array(sp.diags_array(u) @ kernel @ sp.diags_array(v))
    return u[:, None] * kernel * v


def _ratio(mass: FloatArray, total: FloatArray) -> FloatArray:
    return np.divide(mass, total, out=np.zeros_like(mass), where=total > 0)
