from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from couplevi._arrays import dense
from couplevi._validate import check_count, check_finite, check_number, expected

if TYPE_CHECKING:
    from couplevi._types import FloatArray, MemoryMatrix

NOT_ORTHONORMAL = 1e-4
ROUNDING = 1e-6
"""Largest asymmetry and negative eigenvalue of a covariance, relative to its largest entry: single precision."""

NO_VARIANCE = 1e-12
"""Eigenvalues of a covariance below this share of the largest one are zero."""


@dataclass(frozen=True, eq=False)
class Gaussian:
    """A state of cells as a Gaussian: a few components that vary together, and noise of each variable.

    With B the `basis`, P = I - B B' and D the `noise`, the covariance is B C B' + v P D P: the scores B'(x - mean) are
    drawn from N(0, C), and what the components leave, P (x - mean), from N(0, v P D P), independently. States that are
    compared share B and D, and differ in mean, C and v. No matrix of variables by variables is ever made. With as many
    components as variables, it is an ordinary Gaussian.

    Parameters
    ----------
    mean
        Shape ``(n_vars,)``, in the units of the data, like all below; arrays of double precision are not copied.
    basis
        B, orthonormal columns, shape ``(n_vars, n_components)``.
    covariance
        C, of the scores, symmetric and positive semi-definite, shape ``(n_components, n_components)``.
    noise
        Diagonal of D, variances of at least 0, shape ``(n_vars,)``.
    scale
        v, how much of the noise this state has, at least 0.

    Raises
    ------
    ValueError
        For shapes that do not fit, NaN or infinite values, columns that are not orthonormal, or what is no variance.

    Examples
    --------
    >>> import numpy as np
    >>> from couplevi.gaussians import Gaussian
    >>> state = Gaussian(np.zeros(3), np.eye(3)[:, :1], np.array([[4.0]]), np.ones(3), 0.5)
    >>> state.variance
    array([4. , 0.5, 0.5])
    >>> state.sample(2, np.random.default_rng(0)).shape
    (2, 3)
    """

    mean: FloatArray
    basis: FloatArray
    covariance: FloatArray
    noise: FloatArray
    scale: float

    def __post_init__(self) -> None:
        for name in ("mean", "basis", "noise"):
            array = np.asarray(getattr(self, name), dtype=np.float64).view()
            check_finite(array, f"`{name}`")
            object.__setattr__(self, name, frozen(array))
        object.__setattr__(self, "covariance", frozen(check_covariance(self.covariance, "covariance")))
        check_number(self.scale, "scale")
        if self.basis.ndim != 2 or not self.mean.shape == self.noise.shape == self.basis.shape[:1]:
            found = f"shapes {self.mean.shape}, {self.basis.shape} and {self.noise.shape}"
            raise ValueError(expected("`mean`, `basis` and `noise` of the same variables", found))
        if self.covariance.shape != (self.basis.shape[1],) * 2:
            found = f"shapes {self.covariance.shape} and {self.basis.shape}"
            raise ValueError(expected("`covariance` of the components of `basis`", found))
        error = float(np.abs(self.basis.T @ self.basis - np.eye(self.basis.shape[1])).max())
        if error > NOT_ORTHONORMAL:
            raise ValueError(expected("orthonormal columns of `basis`", f"an error of {error:.2g}"))
        if (self.noise < 0).any():
            raise ValueError(expected("`noise` of at least 0", f"{self.noise.min():g}"))

    @cached_property
    def noise_variance(self) -> FloatArray:
        """Diagonal of P D P, the noise at a scale of 1, shape ``(n_vars,)``."""
        within = self.basis.T @ (self.noise[:, None] * self.basis)
        leverage = np.square(self.basis).sum(axis=1)
        variance = self.noise * (1 - 2 * leverage) + ((self.basis @ within) * self.basis).sum(axis=1)
        return frozen(variance.clip(min=0))

    @property
    def noise_total(self) -> float:
        """Trace of P D P, the noise of all variables at a scale of 1."""
        return float(self.noise_variance.sum())

    @cached_property
    def variance(self) -> FloatArray:
        """Variance of each variable, the diagonal of the covariance, shape ``(n_vars,)``."""
        return frozen(self.variance_with(self.covariance, self.scale))

    def variance_with(self, covariance: FloatArray, scale: float) -> FloatArray:
        """Diagonal of B `covariance` B' + `scale` P D P, shape ``(n_vars,)``, at least 0."""
        of_scores = ((self.basis @ covariance) * self.basis).sum(axis=1).clip(min=0)
        return of_scores + scale * self.noise_variance

    def scores(self, x: MemoryMatrix) -> FloatArray:
        """B'(x - mean) of the rows of `x`, shape ``(n, n_components)``; a sparse `x` stays sparse.

        Raises
        ------
        ValueError
            If `x` has not one column for each variable.
        """
        if x.ndim != 2 or x.shape[1] != len(self.mean):
            raise ValueError(expected(f"rows of {len(self.mean)} variables", f"shape {x.shape}"))
        return dense(x @ self.basis) - self.mean @ self.basis

    def apply_covariance(self, v: FloatArray) -> FloatArray:
        """The covariance times `v`, shape ``(n_vars,)`` or ``(n_vars, k)``, like `v`."""
        scores = self.basis.T @ v
        noise = self.noise.reshape(-1, *[1] * (v.ndim - 1)) * (v - self.basis @ scores)
        return self.basis @ (self.covariance @ scores) + self.scale * (noise - self.basis @ (self.basis.T @ noise))

    def log_density_of_scores(self, z: FloatArray) -> FloatArray:
        """Logarithm, in nats, of the density of N(0, C) at the rows of `z`, shape ``(n,)``.

        Raises
        ------
        ValueError
            If C is singular, and so has no density.
        """
        values, vectors = spectrum(self.covariance)
        if len(values) < len(self.covariance):
            found = f"rank {len(values)} of {len(self.covariance)}"
            raise ValueError(expected("a covariance of full rank", found, "Shrink it first, with `shrink`."))
        white = (z @ vectors) / np.sqrt(values)
        return -0.5 * (np.square(white).sum(axis=1) + np.log(2 * np.pi * values).sum())

    def sample(self, n: int, rng: np.random.Generator) -> FloatArray:
        """Draw `n` cells, shape ``(n, n_vars)``."""
        check_count(n, "n")
        values, vectors = spectrum(self.covariance)
        scores = (rng.normal(size=(n, len(values))) * np.sqrt(values)) @ vectors.T
        return self.with_noise(scores, rng)

    def with_noise(self, scores: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Cells of these scores, shape ``(n, n_components)``, with noise that is drawn, shape ``(n, n_vars)``."""
        noise = rng.normal(size=(len(scores), len(self.mean))) * np.sqrt(self.scale * self.noise)
        return self.mean + noise + (scores - noise @ self.basis) @ self.basis.T


def frozen(array: FloatArray) -> FloatArray:
    """The array, which can no longer be written to."""
    array.flags.writeable = False
    return array


def check_covariance(matrix: Any, name: str) -> FloatArray:
    """Raise ValueError unless a matrix is symmetric and positive semi-definite; return a copy that is symmetric."""
    matrix = np.asarray(matrix, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise ValueError(expected(f"`{name}` to be a square matrix", f"shape {matrix.shape}"))
    check_finite(matrix, f"`{name}`")
    tolerance = ROUNDING * np.abs(matrix).max()
    if np.abs(matrix - matrix.T).max() > tolerance:
        raise ValueError(expected(f"`{name}` to be symmetric", f"differences of {np.abs(matrix - matrix.T).max():.2g}"))
    least = float(np.linalg.eigvalsh(matrix)[0])
    if least < -tolerance:
        raise ValueError(expected(f"`{name}` to be positive semi-definite", f"an eigenvalue of {least:.2g}"))
    return (matrix + matrix.T) / 2


def spectrum(covariance: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Eigenvalues above 0 and their eigenvectors, shapes ``(rank,)`` and ``(d, rank)``."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > NO_VARIANCE * values[-1]
    return values[kept], vectors[:, kept]
