"""Shifts of features between two states, within groups of cells, and their tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from couplevi._types import FloatArray, IntArray
    from couplevi.model.otgm.module import OTGMModule


FEW_CELLS = 30
"""Cells of a state below which its variances are taken to be at least those within all states."""
ROUNDING = 1e-9
"""Of means, relative to them: what differs by less does not differ."""


@dataclass(frozen=True, eq=False)
class Shift:
    """Shift of each feature from one state to another, averaged over groups of cells.

    Attributes
    ----------
    source_mean, target_mean
        Means of both states, over the same groups with the same weights, shape ``(n_vars,)``.
    standard_error
        Of their difference, from the variances in both states.
    p_value
        Of Welch's test, stratified by group; 1 where neither state varies and both are the same.
    """

    source_mean: FloatArray
    target_mean: FloatArray
    standard_error: FloatArray
    p_value: FloatArray

    @property
    def delta(self) -> FloatArray:
        """Difference of the means, shape ``(n_vars,)``."""
        return self.target_mean - self.source_mean

    @property
    def z(self) -> FloatArray:
        """Shift over its standard error plus the median of those that vary, so that hardly any variance is no merit."""
        varies = self.standard_error > 0
        error = self.standard_error + (np.median(self.standard_error[varies]) if varies.any() else 0.0)
        return np.divide(self.delta, error, out=np.zeros_like(error), where=error > 0)


def common_groups(module: OTGMModule, source: int, target: int, fewest: int = 2) -> tuple[IntArray, FloatArray]:
    """Groups in which both states have so many cells, and the share of each among the cells of the source there."""
    count = module.array("count").reshape(module.n_states, module.n_groups)
    both = np.flatnonzero((count[source] >= fewest) & (count[target] >= fewest))
    return both, count[source, both] / max(count[source, both].sum(), 1)


def shift_between(module: OTGMModule, source: int, target: int) -> Shift:
    """Shift from one state to another, in the groups that have both, weighted by the cells of the source.

    Welch's test of a weighted mean of differences, its degrees of freedom by Satterthwaite's formula. A few cells may
    not vary by chance, so that variances of fewer than `FEW_CELLS` are at least those within all states.
    """
    mean, variance, count = (module.array(name) for name in ("mean", "variance", "count"))
    means = np.zeros((2, mean.shape[1]))
    error2, freedom = np.zeros(mean.shape[1]), np.zeros(mean.shape[1])
    within = (np.maximum(count - 1, 0) @ variance) / max(np.maximum(count - 1, 0).sum(), 1)
    for group, weight in zip(*common_groups(module, source, target), strict=True):
        for side, state in enumerate((source, target)):
            k = module.place(state, group)
            means[side] += weight * mean[k]
            own = np.maximum(variance[k], within) if count[k] < FEW_CELLS else variance[k]
            part = weight**2 * own / count[k]
            error2 += part
            freedom += np.square(part) / (count[k] - 1)
    delta, size = means[1] - means[0], np.abs(means).max(axis=0)
    means[1] = np.where(np.abs(delta) <= ROUNDING * size, means[0], means[1])
    delta, error = means[1] - means[0], np.sqrt(error2)
    t = np.divide(delta, error, out=np.zeros_like(delta), where=error > 0)
    df = np.divide(np.square(error2), freedom, out=np.ones_like(delta), where=freedom > 0)
    p_value = np.where(error > 0, 2 * stats.t.sf(np.abs(t), df), np.where(delta != 0, 0.0, 1.0))
    return Shift(means[0], means[1], error, p_value)
