from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import ot

from couplevi._arrays import dense, full_precision
from couplevi._validate import check_number, check_option, expected
from couplevi.gaussians._gaussian import Gaussian, check_covariance, frozen, spectrum
from couplevi.gaussians._samplers import sample_couplings

if TYPE_CHECKING:
    from couplevi._types import BoolArray, FloatArray, MemoryMatrix

Method: TypeAlias = Literal["bures", "independent", "hit_and_run"]

LOW_TEMPERATURE = 0.01
"""Of the couplings whose mean is used, in units of the variance for each of d^2 entries: about 1 % above the least cost."""

N_COUPLINGS = 20
NO_MASS = 1e-9


@dataclass(frozen=True, eq=False)
class Transport:
    """How cells of one state become cells of another one, and how far each variable moves.

    Delta is the difference of a cell of the target and the cell of the source that it is coupled with.

    Attributes
    ----------
    source, target
        The two states.
    linear
        Map of the scores, shape ``(d, d)``: a cell of scores z is expected at ``linear @ z``. Symmetric for ``bures``
        with a source of full rank, where it maps every cell to exactly one; 0 for ``independent``.
    residual_factor
        What the noise of a cell is multiplied by.
    cost
        Mean of the squared length of Delta; for ``bures`` the squared 2-Wasserstein distance.
    delta_mean
        Mean of Delta, shape ``(n_vars,)``.
    delta_covariance, delta_noise_scale
        C and v of its covariance B C B' + v P D P, shape ``(d, d)`` and a number, see :class:`Gaussian`.
    """

    source: Gaussian
    target: Gaussian
    linear: FloatArray
    residual_factor: float
    cost: float
    delta_mean: FloatArray
    delta_covariance: FloatArray
    delta_noise_scale: float

    def __post_init__(self) -> None:
        for array in (self.linear, self.delta_mean, self.delta_covariance):
            frozen(array)

    @property
    def delta_sd(self) -> FloatArray:
        """Standard deviation of Delta, shape ``(n_vars,)``."""
        return np.sqrt(self.source.variance_with(self.delta_covariance, self.delta_noise_scale))

    def apply(self, x: MemoryMatrix, amount: float = 1.0) -> FloatArray:
        """Move cells of the source towards the target, along straight lines.

        Parameters
        ----------
        x
            Cells by variables, shape ``(n, n_vars)``, dense or sparse.
        amount
            Share of the way, in [0, 1] or beyond: 0 leaves cells where they are, 1 maps them.

        Returns
        -------
        Dense, of the shape of `x`, in its precision if it holds floating-point numbers.

        Raises
        ------
        ValueError
            If `x` has not one column for each variable, or `amount` is not finite.
        """
        check_number(amount, "amount", -np.inf)
        factor, basis = self.residual_factor, self.source.basis
        change = self.source.scores(x) @ (self.linear.T - factor * np.eye(len(self.linear)))
        x = full_precision(dense(x))
        x = x if x.dtype.kind == "f" else x.astype(np.float64)
        # T(x) - x = delta_mean + B (linear - factor I) B'(x - mean) + (factor - 1) (x - mean), as P = I - B B'
        constant = self.delta_mean - (factor - 1) * self.source.mean
        moved = (amount * change).astype(x.dtype) @ basis.T.astype(x.dtype)
        moved += (1 + amount * (factor - 1)) * x
        moved += (amount * constant).astype(x.dtype)
        return moved


class MixturePlan(NamedTuple):
    """Which components of two mixtures belong together.

    Attributes
    ----------
    plan
        Mass that goes from each source to each target, shape ``(n_sources, n_targets)``, with sum 1.
    cost
        Mean squared distance over the plan.
    """

    plan: FloatArray
    cost: float


def bures_map(c0: FloatArray, c1: FloatArray) -> FloatArray:
    """Optimal linear map between two centred Gaussians, A with A C0 A = C1.

    Parameters
    ----------
    c0, c1
        Covariances, shape ``(d, d)``.

    Returns
    -------
    Symmetric, positive semi-definite, shape ``(d, d)``. For a singular `c0` it is the map to the part of `c1` within
    the range of `c0`, and 0 elsewhere.

    Raises
    ------
    ValueError
        Unless both are covariances of the same shape.

    References
    ----------
    Bhatia, Jain and Lim, On the Bures-Wasserstein distance between positive definite matrices, Expositiones
    Mathematicae 2019, equation 39; Takatsu, Wasserstein geometry of Gaussian measures, Osaka J. Math. 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from couplevi.gaussians import bures_map
    >>> bures_map(np.diag([1.0, 4.0]), np.diag([9.0, 1.0])).round(6)
    array([[3. , 0. ],
           [0. , 0.5]])
    """
    c0, c1 = _covariances(c0, c1)
    values, vectors = spectrum(c0)
    left, middle, _ = np.linalg.svd(_root(c0) @ _root(c1))  # (R C1 R)^1/2, without squaring what is small
    inverse = (vectors / np.sqrt(values)) @ (vectors.T @ left)
    return (inverse * middle) @ inverse.T


def bures_distance2(c0: FloatArray, c1: FloatArray) -> float:
    """Squared 2-Wasserstein distance of two centred Gaussians, tr(C0 + C1 - 2 (R C1 R)^1/2) with R = C0^1/2.

    Parameters
    ----------
    c0, c1
        Covariances, shape ``(d, d)``; may be singular.

    Returns
    -------
    At least 0, in squared units of the data.

    Raises
    ------
    ValueError
        Unless both are covariances of the same shape.

    References
    ----------
    Bhatia, Jain and Lim, Expositiones Mathematicae 2019, equation 1; Takatsu, Osaka J. Math. 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from couplevi.gaussians import bures_distance2
    >>> round(bures_distance2(np.diag([1.0, 4.0]), np.diag([9.0, 1.0])), 6)
    5.0
    """
    c0, c1 = _covariances(c0, c1)
    middle = np.linalg.svd(_root(c0) @ _root(c1), compute_uv=False).sum()
    return max(0.0, float(np.trace(c0) + np.trace(c1) - 2 * middle))


def transport(
    source: Gaussian, target: Gaussian, *, method: Method = "bures", rng: np.random.Generator | None = None
) -> Transport:
    """Couple the cells of two states, and describe the difference of coupled cells.

    Parameters
    ----------
    source, target
        States with the same basis and noise.
    method
        ``bures``: the coupling of the least mean squared distance, in closed form. ``independent``: none, so that each
        cell is expected at the mean of the target; an upper bound of the noise of Delta. ``hit_and_run``: the mean of
        random couplings that are close to the best one, see :func:`sample_couplings`; for few components.
    rng
        Of ``hit_and_run``, which needs it.

    Returns
    -------
    An immutable record.

    Raises
    ------
    ValueError
        If the states do not share basis and noise, for an unknown method, or if `rng` is missing.

    References
    ----------
    Takatsu, Wasserstein geometry of Gaussian measures, Osaka J. Math. 2011, lemma 2.3.

    Examples
    --------
    >>> import numpy as np
    >>> from couplevi.gaussians import Gaussian, transport
    >>> control = Gaussian(np.zeros(2), np.eye(2), np.eye(2), np.zeros(2), 0.0)
    >>> treated = Gaussian(np.ones(2), np.eye(2), 4 * np.eye(2), np.zeros(2), 0.0)
    >>> move = transport(control, treated)
    >>> round(move.cost, 6), move.apply(np.array([[1.0, 0.0]])).round(6)
    (4.0, array([[3., 1.]]))
    """
    check_option(method, get_args(Method), "method")
    _check_shared(source, target)
    c0, c1 = source.covariance, target.covariance
    noise = (np.sqrt(target.scale) - np.sqrt(source.scale)) ** 2
    factor = _residual_factor(source.scale, target.scale)
    linear: FloatArray = np.zeros_like(c0)
    spread: FloatArray = c0 + c1
    if method == "independent":
        noise, factor = source.scale + target.scale, 0.0
    elif method == "bures":
        linear, spread = _optimal(c0, c1)
    else:
        linear, spread = _sampled(c0, c1, rng)
    delta = target.mean - source.mean
    cost = float(delta @ delta + np.trace(spread) + noise * source.noise_total)
    return Transport(source, target, linear, factor, cost, delta, spread, float(noise))


def pairwise_distances2(covariances: FloatArray) -> FloatArray:
    """Squared 2-Wasserstein distance between any two of several centred Gaussians, see :func:`bures_distance2`.

    Parameters
    ----------
    covariances
        Shape ``(K, d, d)``.

    Returns
    -------
    Symmetric, at least 0, shape ``(K, K)``.

    Raises
    ------
    ValueError
        Unless all are covariances.

    Examples
    --------
    >>> import numpy as np
    >>> from couplevi.gaussians import pairwise_distances2
    >>> pairwise_distances2(np.array([[[1.0]], [[9.0]]])).round(6)
    array([[0., 4.],
           [4., 0.]])
    """
    checked = np.stack([check_covariance(c, "covariances") for c in covariances])
    roots, trace = np.stack([_root(c) for c in checked]), np.trace(checked, axis1=1, axis2=2)
    found = np.zeros((len(roots), len(roots)))
    for i, root in enumerate(roots[1:], start=1):
        middle = np.linalg.svd(root @ roots[:i], compute_uv=False).sum(axis=1)
        found[i, :i] = found[:i, i] = np.maximum(trace[i] + trace[:i] - 2 * middle, 0)
    return found


def geodesic(source: Gaussian, target: Gaussian, amount: float) -> Gaussian:
    """State at a share of the shortest way from one state to another one.

    Parameters
    ----------
    source, target
        States with the same basis and noise.
    amount
        Share of the way, in [0, 1].

    Returns
    -------
    A state whose distances to the two are `amount` and ``1 - amount`` times theirs.

    Raises
    ------
    ValueError
        If the states do not share basis and noise, or for another amount.

    References
    ----------
    Takatsu, Wasserstein geometry of Gaussian measures, Osaka J. Math. 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from couplevi.gaussians import Gaussian, geodesic
    >>> control = Gaussian(np.zeros(1), np.eye(1), np.eye(1), np.zeros(1), 0.0)
    >>> treated = Gaussian(np.ones(1), np.eye(1), 9 * np.eye(1), np.zeros(1), 0.0)
    >>> geodesic(control, treated, 0.5).covariance.round(6)
    array([[4.]])
    """
    check_number(amount, "amount", 0, 1)
    move = transport(source, target)
    cross = move.linear @ source.covariance
    return replace(
        source,
        mean=source.mean + amount * move.delta_mean,
        covariance=(1 - amount) ** 2 * source.covariance
        + amount**2 * target.covariance
        + amount * (1 - amount) * (cross + cross.T),
        scale=float(((1 - amount) * np.sqrt(source.scale) + amount * np.sqrt(target.scale)) ** 2),
    )


def mixture_plan(
    sources: Sequence[Gaussian],
    targets: Sequence[Gaussian],
    source_weights: FloatArray,
    target_weights: FloatArray,
    allowed: BoolArray | None = None,
) -> MixturePlan:
    """Optimal transport between two mixtures of states, a whole component at a time.

    Parameters
    ----------
    sources, targets
        Components, all with the same basis and noise.
    source_weights, target_weights
        Mass of each, at least 0, shapes ``(n_sources,)`` and ``(n_targets,)``; divided by their sums.
    allowed
        Which pairs may exchange mass, shape ``(n_sources, n_targets)``; None for all.

    Returns
    -------
    The plan and its cost, the square of the distance MW2 if all pairs are allowed.

    Raises
    ------
    ValueError
        If weights do not fit, components do not share basis and noise, or no plan keeps to the allowed pairs.

    References
    ----------
    Delon and Desolneux, A Wasserstein-type distance in the space of Gaussian mixture models, SIAM J. Imaging Sciences
    2020, proposition 4.

    Examples
    --------
    >>> import numpy as np
    >>> from couplevi.gaussians import Gaussian, mixture_plan
    >>> a, b = (Gaussian(np.array([m]), np.eye(1), np.eye(1), np.zeros(1), 0.0) for m in (0.0, 3.0))
    >>> mixture_plan([a, b], [a, b], np.array([0.5, 0.5]), np.array([0.25, 0.75])).cost
    2.25
    """
    weights = [_normalised(w, s) for w, s in ((source_weights, sources), (target_weights, targets))]
    shape = (len(sources), len(targets))
    allowed = np.ones(shape, dtype=bool) if allowed is None else np.asarray(allowed, dtype=bool)
    if allowed.shape != shape:
        raise ValueError(expected(f"`allowed` of shape {shape}", f"{allowed.shape}"))
    for gaussian in (*sources, *targets):
        _check_shared(sources[0], gaussian)
    cost = np.zeros(shape)
    for i, j in np.argwhere(allowed):
        cost[i, j] = _squared_distance(sources[i], targets[j])
    largest = cost.max() or 1.0
    forbidden = float(sum(shape) + 1)  # dearer than any way around it
    plan = ot.emd(*weights, np.where(allowed, cost / largest, forbidden))
    if plan[~allowed].sum() > NO_MASS:
        remedy = "Allow more pairs, or give the components on both sides the weights that these need."
        raise ValueError(expected("a plan within `allowed`", f"{plan[~allowed].sum():.2g} of the mass outside", remedy))
    plan = np.where(allowed, plan, 0.0)
    return MixturePlan(plan, float((plan * cost).sum()))


def _root(covariance: FloatArray) -> FloatArray:
    values, vectors = spectrum(covariance)
    return (vectors * np.sqrt(values)) @ vectors.T


def _covariances(c0: FloatArray, c1: FloatArray) -> tuple[FloatArray, FloatArray]:
    c0, c1 = check_covariance(c0, "c0"), check_covariance(c1, "c1")
    if c0.shape != c1.shape:
        raise ValueError(expected("`c0` and `c1` of the same shape", f"{c0.shape} and {c1.shape}"))
    return c0, c1


def _check_shared(a: Gaussian, b: Gaussian) -> None:
    if not np.array_equal(a.basis, b.basis) or not np.array_equal(a.noise, b.noise):
        raise ValueError(expected("states with the same basis and noise", "two that differ", "Fit them together."))


def _optimal(c0: FloatArray, c1: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Map of the scores, and covariance of Delta."""
    linear, range_of = bures_map(c0, c1), spectrum(c0)[1]
    step = linear - np.eye(len(c0))
    if range_of.shape[1] == len(c0):
        return linear, step @ c0 @ step
    # The source reaches a part of the target alone; what lies outside follows by regression, and varies around it.
    linear = c1 @ range_of @ np.linalg.pinv(range_of.T @ c1 @ range_of, hermitian=True) @ range_of.T @ linear
    cross = linear @ c0
    return linear, c0 + c1 - cross - cross.T


def _sampled(c0: FloatArray, c1: FloatArray, rng: np.random.Generator | None) -> tuple[FloatArray, FloatArray]:
    """The same for the mean of sampled couplings, which is one too."""
    if rng is None:
        raise ValueError(expected("`rng` for 'hit_and_run'", "None", "Pass `rng=numpy.random.default_rng(seed)`."))
    largest = float(np.sqrt(np.trace(c0) * np.trace(c1))) or 1.0
    low = LOW_TEMPERATURE * largest / len(c0) ** 2
    mean = sample_couplings(c0, c1, N_COUPLINGS, low, rng, anneal_from=largest).samples.mean(axis=0)
    values, vectors = spectrum(c0)
    return mean.T @ (vectors / values) @ vectors.T, c0 + c1 - mean - mean.T


def _residual_factor(before: float, after: float) -> float:
    """sqrt(after / before); no noise stays none, and what appears of nothing is independent of the cell."""
    if before > 0:
        return float(np.sqrt(after / before))
    return float(after == 0)


def _squared_distance(source: Gaussian, target: Gaussian) -> float:
    delta = target.mean - source.mean
    noise = (np.sqrt(target.scale) - np.sqrt(source.scale)) ** 2 * source.noise_total
    return float(delta @ delta + noise) + bures_distance2(source.covariance, target.covariance)


def _normalised(weights: FloatArray, components: Sequence[Gaussian]) -> FloatArray:
    weights = np.asarray(weights, dtype=np.float64)
    if weights.shape != (len(components),) or not (weights >= 0).all() or not 0 < weights.sum() < np.inf:
        found = f"{weights.tolist()}"
        raise ValueError(expected(f"weights of at least 0 for {len(components)} components", found))
    return weights / weights.sum()
