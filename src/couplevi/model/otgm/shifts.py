"""Shifts of features between two states, within groups of cells, and their tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from couplevi._types import FloatArray, IntArray
    from couplevi.model.otgm.module import OTGMModule


@dataclass(frozen=True, eq=False)
class Shift:
    """Shift of each feature from one state to another, averaged over groups of cells.

    Attributes
    ----------
    delta
        Difference of the means, shape ``(n_vars,)``.
    standard_error
        Of `delta`, from the variances in both states.
    p_value
        Of Welch's test, stratified by group; 1 where neither state varies.
    """

    delta: FloatArray
    standard_error: FloatArray
    p_value: FloatArray

    @property
    def z(self) -> FloatArray:
        """Shift over its standard error plus the median of all, which keeps features that hardly vary from the top."""
        error = self.standard_error + np.median(self.standard_error)
        return np.divide(self.delta, error, out=np.zeros_like(error), where=error > 0)


def common_groups(module: OTGMModule, source: int, target: int, fewest: int = 2) -> tuple[IntArray, FloatArray]:
    """Groups in which both states have so many cells, and the share of each among the cells of the source there."""
    count = module.array("count").reshape(module.n_states, module.n_groups)
    both = np.flatnonzero((count[source] >= fewest) & (count[target] >= fewest))
    return both, count[source, both] / max(count[source, both].sum(), 1)


def shift_between(module: OTGMModule, source: int, target: int) -> Shift:
    """Shift from one state to another, in the groups that have both, weighted by the cells of the source.

    Welch's test of a weighted mean of differences, its degrees of freedom by Satterthwaite's formula.
    """
    mean, variance, count = (module.array(name) for name in ("mean", "variance", "count"))
    delta = np.zeros(mean.shape[1])
    error2, freedom = np.zeros_like(delta), np.zeros_like(delta)
    for group, weight in zip(*common_groups(module, source, target), strict=True):
        a, b = module.place(source, group), module.place(target, group)
        delta += weight * (mean[b] - mean[a])
        for k in (a, b):
            part = weight**2 * variance[k] / count[k]
            error2 += part
            freedom += np.square(part) / (count[k] - 1)
    error = np.sqrt(error2)
    t = np.divide(delta, error, out=np.zeros_like(delta), where=error > 0)
    df = np.divide(np.square(error2), freedom, out=np.ones_like(delta), where=freedom > 0)
    p_value = np.where(error > 0, 2 * stats.t.sf(np.abs(t), df), np.where(delta != 0, 0.0, 1.0))
    return Shift(delta, error, p_value)
