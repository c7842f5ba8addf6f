"""Transport plans: soft matches whose rows and columns have given masses."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.sparse as sp
from sklearn.metrics import pairwise_distances

from couplevi._neighbors import nearest

if TYPE_CHECKING:
    from couplevi._types import FloatArray

SCALINGS = 200
TOLERANCE = 1e-10
"""Change of the scalings, relative to the largest, at which they stop."""
SETTLED = 1e-4
"""Share of the mass that one more scaling may move in a plan that has converged."""
MAX_DENSE = 4_000_000
N_CANDIDATES = 50
LEAST_BLUR = 1e-4
REACH = 500.0
"""Largest exponent of a profile's nearest, far enough from underflow."""


class Plan(NamedTuple):
    """Soft matches of rows and columns."""

    matches: FloatArray | sp.csr_array
    """Mass per pair, shape ``(n_a, n_b)``."""
    converged: bool
    """Whether one more scaling would move at most a ten-thousandth of the mass."""


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
    return (
        vectors
        / np.sqrt(np.maximum(values, 0) + ridge * max(values.mean(), 1e-12) + 1e-12 * max(values.max(), 1e-12))
        @ vectors.T
    )


def kernel(a: FloatArray, b: FloatArray, temperature: float) -> FloatArray | sp.csr_array:
    """``exp(-d^2 / (temperature * mean d^2))`` between rows of two arrays in one space, shape ``(n_a, n_b)``.

    A profile that is far from all others has its distances lowered until it has a match. Dense up to 4,000,000 pairs;
    above, only those of each row's and each column's 50 nearest are kept.
    """
    mean = np.square(a).sum(axis=1).mean() + np.square(b).sum(axis=1).mean() - 2 * a.mean(axis=0) @ b.mean(axis=0)
    scale = max(temperature * mean, np.finfo(float).tiny)
    if len(a) * len(b) <= MAX_DENSE:
        squared = pairwise_distances(a, b, "sqeuclidean")
        near_row, near_column = (_out_of_reach(squared.min(axis=axis), scale) for axis in (1, 0))
        return np.exp(-(squared - np.maximum(near_row[:, None], near_column)) / scale)
    forward, backward = (
        sp.csr_array((np.ravel(d) + 1e-30, np.ravel(i), np.arange(len(q) + 1) * d.shape[1]), shape=(len(q), len(base)))
        for base, q in ((b, a), (a, b))
        for d, i in [nearest(base, q, min(N_CANDIDATES, len(base)))]
    )
    pairs = sp.coo_array(forward.maximum(backward.T))
    near_row, near_column = (
        _out_of_reach(np.square(graph.data[graph.indptr[:-1]]), scale) for graph in (forward, backward)
    )
    row, column = pairs.coords
    squared = np.square(pairs.data) - np.maximum(near_row[row], near_column[column])
    return sp.csr_array((np.exp(-squared / scale), (row, column)), shape=pairs.shape)


def _out_of_reach(nearest_squared: FloatArray, scale: float) -> FloatArray:
    """By how much the nearest profile is too far for its weight to be a number, 0 for almost all profiles."""
    return np.maximum(nearest_squared - REACH * scale, 0)


def blur(a: FloatArray, b: FloatArray) -> float:
    """How far matches may be from their places: 1 where modalities interleave, towards 0 where they coincide.

    The median squared distance of a profile to the nearest one of the other modality, over that to the nearest one of
    its own, from 0.0001 to 1.
    """
    across = [np.median(nearest(base, queries, 1)[0]) for base, queries in ((b, a), (a, b))]
    within = [np.median(nearest(base, base, 2)[0][:, 1]) for base in (a, b)]
    ratio = min(sum(across) / max(sum(within), 1e-300), 1.0)
    return float(max(ratio**2, LEAST_BLUR))


def relaxed_plan(kernel: FloatArray | sp.csr_array, rows: FloatArray, columns: FloatArray, give: float) -> Plan:
    """Scale rows and columns of a kernel towards given masses, at most 200 times.

    Unbalanced Sinkhorn scaling with exponent ``1 / (1 + give)``, relative to the product of the masses: 0 meets the
    masses exactly; a larger `give` lets profiles that resemble nothing keep less than theirs, and others more.

    References
    ----------
    Chizat, Peyre, Schmitzer and Vialard, Scaling algorithms for unbalanced optimal transport problems,
    Mathematics of Computation 2018.
    """
    exponent = 1 / (1 + give)
    transposed = sp.csr_array(kernel.T) if sp.issparse(kernel) else kernel.T
    norm = float(rows @ (kernel @ columns)) / rows.sum()  # the plan has the given mass before any scaling
    u: FloatArray = np.ones(len(rows))
    v: FloatArray = np.ones(len(columns))
    for _ in range(SCALINGS):
        before = u
        u = _ratio(np.full_like(u, norm), kernel @ (columns * v)) ** exponent
        v = _ratio(np.full_like(v, norm), transposed @ (rows * u)) ** exponent
        if np.abs(u - before).max() <= TOLERANCE * u.max():
            break
    left, right = rows * u / norm, columns * v
    # the rule that stops the scalings is relative to the largest, which an outlier can make too large to see the others
    reached = kernel @ right
    again = _ratio(np.full_like(u, norm), reached) ** exponent
    converged = bool(rows @ (np.abs(again - u) * reached) <= SETTLED * (rows @ (u * reached)))
    if sp.issparse(kernel):
        return Plan(sp.csr_array(sp.diags_array(left) @ kernel @ sp.diags_array(right)), converged)
    return Plan(left[:, None] * kernel * right, converged)


def _ratio(mass: FloatArray, total: FloatArray) -> FloatArray:
    """`mass` over `total`, at most 1e100; 0 where the total is."""
    return np.divide(mass, np.maximum(total, mass * 1e-100), out=np.zeros_like(mass), where=total > 0)
