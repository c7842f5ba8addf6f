from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import nnls
from scipy.special import log_ndtr, ndtri_exp
from scipy.stats import chi2

from couplevi._validate import SMALLEST, check_count, check_number, expected
from couplevi.gaussians._gaussian import check_covariance, frozen, spectrum

if TYPE_CHECKING:
    from couplevi._types import FloatArray

STEPS_PER_COMPONENT = 40
MOST_CHAINS = 100
MARGINS = 40
"""Times that the distance from the walls, at which a start is looked for, is halved."""


@dataclass(frozen=True, eq=False)
class Couplings:
    """Cross-covariances of two Gaussians that were drawn at random.

    Attributes
    ----------
    samples
        Cov(X, Y) of each draw, shape ``(n_samples, d, d)``: rows for the first Gaussian, columns for the second.
    optimum
        The one with the largest trace that any chain passed, shape ``(d, d)``: with annealing to a low temperature,
        close to the optimal coupling.
    """

    samples: FloatArray
    optimum: FloatArray

    def __post_init__(self) -> None:
        for array in (self.samples, self.optimum):
            frozen(array)


def sample_couplings(
    c0: FloatArray,
    c1: FloatArray,
    n_samples: int,
    temperature: float,
    rng: np.random.Generator,
    *,
    anneal_from: float | None = None,
    n_steps: int | None = None,
) -> Couplings:
    """Draw couplings of two centred Gaussians, those of nearby cells more often; to see how little two states tell.

    A coupling is C = C0^1/2 K C1^1/2 with a K whose singular values are at most 1. The density is proportional to
    exp(tr(C) / temperature) over these K. Each sample is the end of a chain of its own, which starts at K = 0. A step is
    Hit-and-Run with a section in place of a chord: for a random unit vector a, K moves along all directions a b' at
    once. That section of the set is an ellipsoid, on which the density is drawn exactly; then the same for b. Along
    chords of isotropic directions, a low temperature is not reached, as they are short near the boundary.

    Time grows with ``n_samples * n_steps * d^3``: seconds for 10 components, minutes for 50.

    Parameters
    ----------
    c0, c1
        Covariances, shape ``(d, d)``; may be singular.
    n_samples
        Couplings to draw.
    temperature
        In units of tr(C), above 0. The mean of tr(C) is about ``d^2 * temperature`` below the largest one at most.
    rng
        Source of all draws.
    anneal_from
        Temperature to begin with, lowered by a constant factor in each step of the first half; None for `temperature`.
    n_steps
        Length of a chain; None for 40 for each component.

    Returns
    -------
    An immutable record of the samples, and the best coupling that was met.

    Raises
    ------
    ValueError
        Unless both are covariances of the same shape, and numbers are above 0.

    References
    ----------
    Lovász and Vempala, Hit-and-run from a corner, SIAM J. Computing 2006; Wood, Simulation of the von Mises Fisher
    distribution, Communications in Statistics 1994.

    Examples
    --------
    >>> import numpy as np
    >>> from couplevi.gaussians import sample_couplings
    >>> drawn = sample_couplings(np.eye(2), 4 * np.eye(2), 5, 1e-3, np.random.default_rng(0), anneal_from=1.0)
    >>> drawn.samples.shape, bool(np.trace(drawn.optimum) > 0.95 * 4)
    ((5, 2, 2), True)
    """
    c0, c1 = check_covariance(c0, "c0"), check_covariance(c1, "c1")
    if c0.shape != c1.shape:
        raise ValueError(expected("`c0` and `c1` of the same shape", f"{c0.shape} and {c1.shape}"))
    check_count(n_samples, "n_samples")
    check_number(temperature, "temperature", SMALLEST)
    check_number(anneal_from := temperature if anneal_from is None else anneal_from, "anneal_from", SMALLEST)
    check_count(n_steps := STEPS_PER_COMPONENT * len(c0) if n_steps is None else n_steps, "n_steps")
    temperatures = np.full(n_steps, float(temperature))
    temperatures[: n_steps // 2] = np.geomspace(anneal_from, temperature, n_steps // 2)
    r0, r1 = (v * np.sqrt(w) @ v.T for w, v in (spectrum(c0), spectrum(c1)))
    gain = r0 @ r1  # tr(C) is the sum of its products with K
    k = np.zeros((n_samples, *c0.shape))
    best, largest = k[0], -np.inf
    for step in temperatures:
        k = _section_step(k, gain / step, rng)
        k = np.swapaxes(_section_step(np.swapaxes(k, 1, 2), gain.T / step, rng), 1, 2)
        trace = np.einsum("ij,nij->n", gain, k)
        if trace.max() > largest:
            best, largest = k[trace.argmax()], trace.max()
    drawn = np.concatenate([k, best[None]])
    drawn = drawn / np.linalg.norm(drawn, ord=2, axis=(1, 2), keepdims=True).clip(min=1)  # rounding
    drawn = r0 @ drawn @ r1
    return Couplings(drawn[:-1], drawn[-1])


def _section_step(k: FloatArray, slope: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Draw K + a b' anew for a random direction a of each chain and all b, in the density exp(<slope, K>)."""
    n, d = k.shape[:2]
    a = rng.normal(size=(n, d))
    a /= np.linalg.norm(a, axis=1, keepdims=True)
    rest = k - a[:, :, None] * np.einsum("ni,nij->nj", a, k)[:, None]
    # ||rest + a b'|| <= 1 if and only if b b' <= I - rest' rest, so b is the root of that times a y within the unit ball.
    values, vectors = np.linalg.eigh(np.eye(d) - np.swapaxes(rest, 1, 2) @ rest)
    root = np.sqrt(values.clip(min=0))
    tilt = root * np.einsum("nij,ni->nj", vectors, a @ slope)
    b = np.einsum("nij,nj->ni", vectors, root * _tilted_ball(tilt, rng))
    return rest + a[:, :, None] * b[:, None]


def _tilted_ball(tilt: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Draws y of the density exp(tilt . y) within unit balls, a row each, shape ``(n, d)``.

    A uniform point of the ball is the first d coordinates of one of the sphere in d + 2 dimensions; with the tilt, that
    is von Mises-Fisher.
    """
    n, d = tilt.shape
    length = np.linalg.norm(tilt, axis=1)
    towards = tilt / np.maximum(length, SMALLEST)[:, None]
    along = _von_mises_fisher(length, d + 2, rng)
    across = rng.normal(size=(n, d))
    across -= towards * (towards * across).sum(axis=1, keepdims=True)
    norm = np.sqrt(np.square(across).sum(axis=1) + rng.chisquare(2, size=n))
    return along[:, None] * towards + (np.sqrt((1 - along**2).clip(min=0)) / norm)[:, None] * across


def _von_mises_fisher(concentration: FloatArray, p: int, rng: np.random.Generator) -> FloatArray:
    """Cosines with the mean direction on the sphere in `p` dimensions, by Wood's rejection; shape ``(n,)``."""
    b = (p - 1) / (2 * concentration + np.sqrt(4 * concentration**2 + (p - 1) ** 2))
    mode = (1 - b) / (1 + b)
    top = concentration * mode + (p - 1) * np.log1p(-(mode**2))
    drawn, left = np.empty(len(b)), np.arange(len(b))
    while len(left):
        z = rng.beta((p - 1) / 2, (p - 1) / 2, size=len(left))
        w = (1 - (1 + b[left]) * z) / (1 - (1 - b[left]) * z)
        height = concentration[left] * w + (p - 1) * np.log1p(-mode[left] * w) - top[left]
        accepted = height >= -rng.exponential(size=len(left))
        drawn[left[accepted]] = w[accepted]
        left = left[~accepted]
    return drawn


def sample_level_set(
    mean: FloatArray,
    covariance: FloatArray,
    level: float,
    n_samples: int,
    rng: np.random.Generator,
    *,
    burn_in: int | None = None,
    thin: int | None = None,
    inequalities: tuple[FloatArray, FloatArray] | None = None,
) -> FloatArray:
    """Draw from a Gaussian within the ellipsoid that holds a share of it; for cells that are typical of a state.

    Hit-and-Run: along a random direction, the Gaussian between the exact ends of the chord is drawn by the inverse of
    its distribution. Up to 100 chains run side by side; draws of one chain are correlated.

    Parameters
    ----------
    mean
        Shape ``(d,)``.
    covariance
        Shape ``(d, d)``; if singular, draws stay in its range.
    level
        Share of the Gaussian that the ellipsoid holds, between 0 and 1.
    n_samples
        Points to draw.
    rng
        Source of all draws.
    burn_in
        Steps before the first draw; None for 10 for each dimension.
    thin
        Steps from one draw of a chain to the next; None for one for each dimension.
    inequalities
        A and b, shapes ``(m, d)`` and ``(m,)``: only points z with A z <= b are drawn; None for no such limits.

    Returns
    -------
    Shape ``(n_samples, d)``.

    Raises
    ------
    ValueError
        For shapes that do not fit, other levels or counts, or if no point of the ellipsoid meets the inequalities.

    References
    ----------
    Lovász and Vempala, Hit-and-run from a corner, SIAM J. Computing 2006; Lawson and Hanson, Solving Least Squares
    Problems, 1974, chapter 23, for the point at which chains start.

    Examples
    --------
    >>> import numpy as np
    >>> from couplevi.gaussians import sample_level_set
    >>> limits = (-np.eye(2), np.zeros(2))  # both coordinates at least 0
    >>> z = sample_level_set(np.zeros(2), np.eye(2), 0.95, 50, np.random.default_rng(0), inequalities=limits)
    >>> bool((z >= 0).all()), bool((np.square(z).sum(axis=1) < 6).all())
    (True, True)
    """
    covariance = check_covariance(covariance, "covariance")
    values, vectors = spectrum(covariance)
    root, rank = vectors * np.sqrt(values), len(values)
    check_number(level, "level", SMALLEST, 1 - SMALLEST)
    check_count(n_samples, "n_samples")
    check_count(burn_in := 10 * rank if burn_in is None else burn_in, "burn_in", minimum=0)
    check_count(thin := max(1, rank) if thin is None else thin, "thin")
    if mean.shape != covariance.shape[:1]:
        raise ValueError(expected(f"`mean` of shape {covariance.shape[:1]}", f"{mean.shape}"))
    normals, limits = _walls(inequalities, mean)
    normals, radius = normals @ root, float(np.sqrt(chi2.ppf(level, max(1, rank))))
    n_chains = min(n_samples, MOST_CHAINS)
    n_draws = -(-n_samples // n_chains)
    y = np.tile(_start(normals, limits, radius), (n_chains, 1))  # whitened: z = mean + root y
    draws = np.empty((n_draws, n_chains, rank))
    for k in range(n_draws):
        for _ in range(thin if k else burn_in):
            y = _level_set_step(y, radius, normals, limits, rng)
        draws[k] = y
    return mean + draws.reshape(n_draws * n_chains, rank)[:n_samples] @ root.T


def _walls(inequalities: tuple[FloatArray, FloatArray] | None, mean: FloatArray) -> tuple[FloatArray, FloatArray]:
    """A and b - A mean."""
    if inequalities is None:
        return np.zeros((0, len(mean))), np.zeros(0)
    a, b = (np.asarray(array, dtype=np.float64) for array in inequalities)
    if a.ndim != 2 or a.shape[1] != len(mean) or b.shape != a.shape[:1]:
        found = f"shapes {a.shape} and {b.shape}"
        raise ValueError(expected(f"`inequalities` of shapes (m, {len(mean)}) and (m,)", found))
    return a, b - a @ mean


def _start(normals: FloatArray, limits: FloatArray, radius: float) -> FloatArray:
    """The most likely point that is well within all walls, shape ``(rank,)``."""
    lengths = np.linalg.norm(normals, axis=1)
    for halvings in range(1, MARGINS):
        margin = radius * 0.5**halvings
        # Least distance programming: the smallest y with -normals y >= h is found by non-negative least squares.
        system = np.vstack([-normals.T, margin * lengths - limits])
        aim = np.append(np.zeros(normals.shape[1]), 1.0)
        residual = system @ nnls(system, aim)[0] - aim if len(limits) else -aim
        y = residual[:-1] / -residual[-1] if residual[-1] < -SMALLEST else np.full(len(aim) - 1, np.inf)
        if np.linalg.norm(y) <= radius - margin and (limits >= 0)[lengths == 0].all():
            return y
    raise ValueError(
        expected("points of the ellipsoid within `inequalities`", "none", "Raise `level`, or loosen them.")
    )


def _level_set_step(
    y: FloatArray, radius: float, normals: FloatArray, limits: FloatArray, rng: np.random.Generator
) -> FloatArray:
    direction = rng.normal(size=y.shape)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    middle = -(y * direction).sum(axis=1)  # mean of the Gaussian along the line, whose variance is 1
    half = np.sqrt((middle**2 - np.square(y).sum(axis=1) + radius**2).clip(min=0))
    low, high = middle - half, middle + half
    if len(limits):
        rate, slack = direction @ normals.T, (limits - y @ normals.T).clip(min=0)
        time = np.divide(slack, rate, out=np.full(rate.shape, np.inf), where=rate != 0)
        high = np.minimum(high, np.where(rate > 0, time, np.inf).min(axis=1))
        low = np.maximum(low, np.where(rate < 0, time, -np.inf).max(axis=1))
    low, high = np.minimum(low, 0), np.maximum(high, 0)  # a point is within its chord, whatever the rounding
    step = middle + _truncated_normal(low - middle, high - middle, rng)
    return y + step[:, None] * direction


def _truncated_normal(low: FloatArray, high: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Draws from the standard Gaussian on [low, high], by the inverse of its distribution in the smaller tail."""
    flip = low + high > 0
    a, b = np.where(flip, -high, low), np.where(flip, -low, high)
    u = rng.random(a.shape).clip(min=1e-300)
    drawn = ndtri_exp(np.logaddexp(log_ndtr(a) + np.log1p(-u), log_ndtr(b) + np.log(u))).clip(a, b)
    return np.where(flip, -drawn, drawn)
