"""Where types are in the space of cells, and where a text says that a type is which nobody has seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.spatial.distance import cdist
from scipy.special import expit, log_softmax

if TYPE_CHECKING:
    from collections.abc import Callable

    from couplevi._types import BoolArray, FloatArray, IntArray

PENALTIES = np.logspace(-2, 2, 17)
"""Of the ridge regression, relative to the mean squared length of the text vectors."""
FEWEST_TYPES = 5
"""From which on some can be held out to see how types that were not seen fare."""
N_HELD_OUT, SHARE_HELD_OUT = 3, 0.1
"""Types that are held out at a time: three, or of many this share."""
N_TRIALS, FEW_TYPES, FEW_TRIALS = 10, 100, 3
"""About how often some are held out, each type at least once; and how often if there are many types."""
CELLS_HELD_OUT, MOST_CELLS, MOST_SCORES = 0.2, 2000, 500_000
"""Share of the cells of other types that are held out with them, and the most of either that are looked at: in all, or
times the number of types."""
QUANTILES = np.linspace(0, 1, 101)
PRIOR_CELLS = 10
"""Cells that the variance of 1 counts for in that of a type."""
Refit: TypeAlias = "Callable[[IntArray], Callable[[IntArray], FloatArray]]"
"""Given the rows of cells to fit to, what prepares the features of any rows."""
NEAR_BEST = 0.01
"""Thresholds whose harmonic mean is no further than this from the best one are averaged."""
TINY = 1e-9


@dataclass(frozen=True, eq=False)
class Prototypes:
    """What is known of types: where they are, what texts say of where they are, and how far to trust that.

    The space of cells is that of prepared features, rotated and scaled so that cells of a type spread around its mean
    with variance 1 in all directions; its first dimensions tell types apart best.

    Attributes
    ----------
    whitening, centre
        From prepared features ``h`` to the space of cells: ``h @ whitening - centre``; shapes ``(n_prepared, k)``, ``(k,)``.
    means, n_cells
        Mean of the cells of each type, and their number, shapes ``(n_types, k)`` and ``(n_types,)``.
    spreads
        Variance of the cells of each type in each dimension, shrunk to 1 where there are few, ``(n_types, k)``.
    text_centre, text_weights
        From the vector ``t`` of a text to the mean that is expected: ``(t - text_centre) @ text_weights``.
    variance
        Of the true mean around the expected one, in each dimension, as seen on types that were left out, ``(k,)``.
    threshold, slope
        Of the logarithm of the ratio of the squared distances of a cell from the nearest type that was seen and from
        the nearest that was not: above the threshold it is one of the latter; the slope makes it a probability.
    temperatures
        By which log-likelihoods of types that were seen, and of others, are divided to be calibrated, ``(2,)``.
    distances
        Quantiles of the squared distance of cells from the nearest type, if theirs is among those compared, ``(2, 101)``;
        of cells that nothing was fitted to.
    own_scale
        How much further cells are that the features were prepared with, at least 1: components fit their noise.
    """

    whitening: FloatArray
    centre: FloatArray
    means: FloatArray
    n_cells: FloatArray
    spreads: FloatArray
    text_centre: FloatArray
    text_weights: FloatArray
    variance: FloatArray
    threshold: FloatArray
    slope: FloatArray
    temperatures: FloatArray
    distances: FloatArray
    own_scale: FloatArray

    def place(self, h: FloatArray) -> FloatArray:
        """Cells in their space, shape ``(n, k)``."""
        return h @ self.whitening - self.centre

    def expected(self, texts: FloatArray) -> FloatArray:
        """Where types with these text vectors are expected, shape ``(n, k)``."""
        return (texts - self.text_centre) @ self.text_weights

    def scores(self, z: FloatArray, means: FloatArray, n_cells: FloatArray) -> Scores:
        """How well each type explains each cell.

        Parameters
        ----------
        z
            Cells in their space.
        means, n_cells
            Mean of each type, and number of its cells: 0 of one that was not seen.
        """
        seen = n_cells > 0
        spread = 1 + np.where(seen[:, None], 1 / np.maximum(n_cells, 1)[:, None], self.variance)
        distance2 = np.maximum(cdist(z, means, "sqeuclidean"), TINY)
        scaled = np.empty_like(distance2)
        for j, (mean, s) in enumerate(zip(means, spread, strict=True)):
            scaled[:, j] = (np.square(z - mean) / s).sum(axis=1) + np.log(s).sum()
        return Scores(-0.5 * scaled, distance2, seen)

    def log_probabilities(self, scores: Scores) -> FloatArray:
        """Logarithm of the probability of each type, shape ``(n, n_types)``.

        Types that were seen, and others, are compared among themselves first; which of the two a cell is, the ratio of
        the distances tells: likelihoods would never choose a type that was not seen.
        """
        logits = np.empty_like(scores.log_likelihood)
        for group, temperature in zip((scores.seen, ~scores.seen), self.temperatures, strict=True):
            part = scores.log_likelihood[:, group]
            if group.any():
                logits[:, group] = (part - part.max(axis=1, keepdims=True)) / temperature
        if scores.seen.any() and not scores.seen.all():
            logits[:, ~scores.seen] += (self.slope * (scores.ratio - self.threshold))[:, None]
        return log_softmax(logits, axis=1)

    def typicality(self, scores: Scores, *, own: bool) -> FloatArray:
        """Share of cells of the types that are further from theirs, in [0, 1], shape ``(n,)``.

        `own` cells are those that the features were prepared with.
        """
        distances = self.distances * (self.own_scale if own else 1.0)
        shares = [
            np.where(nearest > quantiles[0], 1 - np.interp(nearest, quantiles, QUANTILES), 1)
            for group, quantiles in zip((scores.seen, ~scores.seen), distances, strict=True)
            if group.any()
            for nearest in [scores.nearest(group)]
        ]
        return np.max(shares, axis=0)


class Scores(NamedTuple):
    """How well types explain cells."""

    log_likelihood: FloatArray
    """Up to a constant, shape ``(n, n_types)``."""
    distance2: FloatArray
    """Squared distance from the mean of each type, shape ``(n, n_types)``, above 0."""
    seen: BoolArray
    """Which types were seen, shape ``(n_types,)``."""

    def nearest(self, group: BoolArray) -> FloatArray:
        """Squared distance from the nearest type of a group."""
        return self.distance2[:, group].min(axis=1)

    @property
    def ratio(self) -> FloatArray:
        """Logarithm of the ratio of the squared distances from both kinds of types."""
        return np.log(self.nearest(self.seen) / self.nearest(~self.seen))


def fit_prototypes(h: FloatArray, types: IntArray, texts: FloatArray, shrinkage: float) -> Prototypes:
    """Fit where types are, and what texts say of it; nothing is calibrated.

    Parameters
    ----------
    h
        Prepared features, shape ``(n, n_prepared)``.
    types
        Type of each cell, all of which occur, shape ``(n,)``.
    texts
        Vector of the text of each type, shape ``(n_types, n_text)``.
    shrinkage
        Share of the spread within types that is the same in all directions.

    References
    ----------
    Shigeto et al., Ridge regression, hubness, and zero-shot learning, ECML PKDD 2015 (texts are regressed to the space of
    cells, not the other way).
    """
    h = np.asarray(h, dtype=np.float64)
    n_cells = np.bincount(types, minlength=len(texts)).astype(np.float64)
    whitening, centre, means = _space(h, types, n_cells, shrinkage)
    text_centre = texts.mean(axis=0, dtype=np.float64)
    within = np.square(h @ whitening - centre - means[types])
    spreads = (_means(within, types, n_cells) * n_cells[:, None] + PRIOR_CELLS) / (n_cells[:, None] + PRIOR_CELLS)
    texts = texts - text_centre
    u, s = _axes(texts)
    text_map, variance = _regression(u, s, means, n_cells)
    return Prototypes(
        whitening,
        centre,
        means,
        n_cells,
        spreads,
        text_centre,
        texts.T @ text_map,
        variance,
        threshold=np.zeros(()),
        slope=np.ones(()),
        temperatures=np.ones(2),
        distances=_quantiles([within.sum(axis=1), within.sum(axis=1) + variance.sum()]),
        own_scale=np.ones(()),
    )


def calibrated(fitted: Prototypes, refit: Refit, types: IntArray, texts: FloatArray, shrinkage: float) -> Prototypes:
    """Fit how types that were not seen are weighed against others, to types that are held out.

    Parameters
    ----------
    fitted
        What was fitted to all.
    refit
        Prepares features anew, without the cells that are held out.
    types, texts, shrinkage
        See :func:`fit_prototypes`; of some of the cells.

    References
    ----------
    Chao et al., An empirical study and analysis of generalized zero-shot learning, ECCV 2016 (the bias to what was seen,
    and its calibration).
    """
    u, s = _axes(texts - texts.mean(axis=0, dtype=np.float64))
    trials = list(_trials(refit, types, u * s, shrinkage)) if len(texts) >= FEWEST_TYPES else []
    if not trials:
        return fitted
    ratio, new, right = (np.concatenate(part) for part in zip(*(t[:3] for t in trials), strict=True))
    n_trial = np.repeat(np.arange(len(trials)), [len(t.ratio) for t in trials])
    threshold = _best_threshold(ratio, new, right, n_trial)
    kinds = list(zip(*(t.groups for t in trials), strict=True))
    temperatures = [
        _temperature([(g.scores.log_likelihood[g.cells][:, g.types], g.own[g.cells]) for g in groups])
        for groups in kinds
    ]
    near = [np.concatenate([g.scores.nearest(g.types)[g.cells] for g in groups]) for groups in kinds]
    distances = _quantiles(near)
    middle = len(QUANTILES) // 2
    return replace(
        fitted,
        threshold=np.asarray(threshold),
        slope=np.asarray(_slope(ratio - threshold, new)),
        temperatures=np.asarray(temperatures),
        distances=distances,
        own_scale=np.maximum(fitted.distances[0, middle] / max(distances[0, middle], TINY), 1.0),
    )


def _space(
    h: FloatArray, types: IntArray, n_cells: FloatArray, shrinkage: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The space of cells, and means of types in it: linear discriminants with a shrunk covariance."""
    means = _means(h, types, n_cells)
    within = h - means[types]
    spread = within.T @ within / max(len(h) - len(means), 1)
    scale = np.trace(spread) / len(spread) or 1.0
    spread = (1 - shrinkage) * spread + shrinkage * scale * np.eye(len(spread))
    whitening = np.linalg.inv(np.linalg.cholesky(spread)).T
    placed = means @ whitening
    _, _, axes = np.linalg.svd(placed - placed.mean(axis=0))
    axes = axes * np.where(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)] < 0, -1, 1)[:, None]
    whitening = whitening @ axes.T
    centre = (means @ whitening).mean(axis=0)
    return whitening, centre, means @ whitening - centre


def _means(values: FloatArray, types: IntArray, n_cells: FloatArray) -> FloatArray:
    total = np.zeros((len(n_cells), values.shape[1]))
    np.add.at(total, types, values)
    return total / np.maximum(n_cells, 1)[:, None]


def _axes(texts: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Left singular vectors and singular values: text vectors up to a rotation, by what is there less of."""
    if texts.shape[1] <= len(texts):
        u, s, _ = np.linalg.svd(texts, full_matrices=False)
        return u, s
    squares, u = np.linalg.eigh(texts @ texts.T)
    return u, np.sqrt(np.maximum(squares, 0))


def _regression(u: FloatArray, s: FloatArray, means: FloatArray, n_cells: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Ridge regression of means on text vectors, both centred: map, and variance of the mean given a text.

    The map makes weights of the text vectors, ``texts.T @ map``; `u` and `s` are their axes.

    The penalty is the one under which types that are left out, one at a time, are most probable, each dimension having
    the variance that it has then.
    """
    n_types = len(means)
    scale = np.square(s).sum() / n_types or 1.0
    best = (np.inf, np.zeros(means.shape[1]), PENALTIES[-1] * scale)
    for penalty in PENALTIES * scale:
        share = np.square(s) / (np.square(s) + penalty)
        leverage = 1 / n_types + np.square(u) @ share
        residuals = (means - u @ (share[:, None] * (u.T @ means))) / np.maximum(1 - leverage, TINY)[:, None]
        cost = np.log1p(np.square(residuals).mean(axis=0)).sum()
        if cost < best[0]:
            excess = (np.square(residuals) - 1 / n_cells[:, None]).mean(axis=0)
            best = (cost, np.maximum(excess, TINY), penalty)
    _, variance, penalty = best
    return u @ ((u.T @ means) / (np.square(s) + penalty)[:, None]), variance


class Group(NamedTuple):
    """Types of one kind, and the cells that are of one of them."""

    scores: Scores
    types: BoolArray
    own: IntArray
    """Place of the type of each cell among them."""
    cells: BoolArray


class Trial(NamedTuple):
    """Cells that were held out with their types, or without."""

    ratio: FloatArray
    new: BoolArray
    """Whether the type of a cell was held out."""
    right: BoolArray
    """Whether the best type of its kind is its own."""
    groups: list[Group]


def _trials(refit: Refit, types: IntArray, texts: FloatArray, shrinkage: float) -> Iterator[Trial]:
    """Types and cells that are held out, as what is fitted to the others alone sees them."""
    rng, n_types = np.random.default_rng(0), len(texts)
    size = max(N_HELD_OUT, round(SHARE_HELD_OUT * n_types))
    n_folds = max(n_types // size, 2)
    most = max(min(MOST_CELLS, MOST_SCORES // n_types), 1)
    n_used = n_folds if n_types <= FEW_TYPES else FEW_TRIALS
    for _ in range(max(1, round(N_TRIALS / n_folds))):
        for held in np.array_split(rng.permutation(n_types), n_folds)[:n_used]:
            out = np.isin(types, held)
            aside = rng.random(len(types)) < CELLS_HELD_OUT
            train = np.flatnonzero(~out & ~aside)
            kept = np.unique(types[train])
            old = np.flatnonzero(aside & np.isin(types, kept))
            if len(kept) < 2 or not len(old) or not out.any():
                continue
            transform = refit(train)
            place = np.full(n_types, -1)
            place[np.concatenate([kept, held])] = np.arange(len(kept) + len(held))
            part = fit_prototypes(transform(train), place[types[train]], texts[kept], shrinkage)
            rows = np.concatenate([_some(part, most, rng) for part in (old, np.flatnonzero(out))])
            z = part.place(transform(rows).astype(np.float64))
            means = np.concatenate([part.means, part.expected(texts[held])])
            scores = part.scores(z, means, np.concatenate([part.n_cells, np.zeros(len(held))]))
            own, new = place[types[rows]], out[rows]
            best = [np.where(g, scores.log_likelihood, -np.inf).argmax(axis=1) for g in (scores.seen, ~scores.seen)]
            right = np.where(new, best[1], best[0]) == own
            groups = [
                Group(scores, scores.seen, own, ~new),
                Group(scores, ~scores.seen, own - len(kept), new),
            ]
            yield Trial(scores.ratio, new, right, groups)


def _some(rows: IntArray, most: int, rng: np.random.Generator) -> IntArray:
    return rows if len(rows) <= most else rng.choice(rows, most, replace=False)


def _best_threshold(ratio: FloatArray, new: BoolArray, right: BoolArray, trial: IntArray) -> float:
    """Threshold with the highest harmonic mean of the shares of cells of both kinds that are named rightly."""
    thresholds = np.quantile(ratio, np.linspace(0.01, 0.99, 99))

    def share(kind: BoolArray, named: BoolArray) -> float:
        n = np.bincount(trial[kind])
        return float((np.bincount(trial[kind], named[kind])[n > 0] / n[n > 0]).mean())

    found = []
    for threshold in thresholds:
        unseen = share(new, right & (ratio > threshold))
        seen = share(~new, right & (ratio <= threshold))
        found.append(2 * unseen * seen / max(unseen + seen, TINY))
    return float(thresholds[np.asarray(found) >= max(found) - NEAR_BEST].mean())


def _slope(ratio: FloatArray, new: BoolArray) -> float:
    """Slope of a logistic regression without intercept, both kinds weighing the same."""
    weight = np.where(new, 0.5 / max(new.mean(), TINY), 0.5 / max((~new).mean(), TINY))

    def cost(slope: float) -> float:
        p = np.clip(expit(slope * ratio), TINY, 1 - TINY)
        return float(-(weight * np.where(new, np.log(p), np.log1p(-p))).mean())

    return float(minimize_scalar(cost, bounds=(0.1, 20), method="bounded").x)


def _temperature(parts: Sequence[tuple[FloatArray, IntArray]]) -> float:
    """Temperature under which the right types are most probable."""

    def cost(log_temperature: float) -> float:
        values = [
            -log_softmax(scores / np.exp(log_temperature), axis=1)[np.arange(len(own)), own]
            for scores, own in parts
            if len(own)
        ]
        return float(np.concatenate(values).mean())

    return float(np.exp(minimize_scalar(cost, bounds=(-4.0, 4.0), method="bounded").x))


def _quantiles(distances: list[FloatArray]) -> FloatArray:
    return np.stack([np.quantile(np.maximum(part, TINY), QUANTILES) for part in distances])
