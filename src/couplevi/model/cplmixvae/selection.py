"""How far arms agree on categories, and which number of categories to keep."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from couplevi._types import FloatArray, IntArray

MAX_FAILURES = 2
"""Rounds in a row that are worse than the best one by more than a standard error, after which pruning ends."""


class Votes(NamedTuple):
    """What two arms say of the same cells, and how much each cell counts, all of shape ``(n,)``."""

    a: IntArray
    b: IntArray
    weight: FloatArray


def consensus(votes: Sequence[Votes], n_categories: int) -> FloatArray:
    """Share of the cells of category k by one arm that are of l by another, mean over pairs of arms.

    Of the larger of the two categories, so that the diagonal is at most 1 and reaches it only where both hold the same
    cells: ``N_kl / max(N_k., N_.l)``; NaN where neither has any.

    Returns
    -------
    Shape ``(n_categories, n_categories)``, symmetric in expectation.
    """
    shares = []
    for a, b, weight in votes:
        counts = (
            np.bincount(a * n_categories + b, weight, n_categories**2).astype(float).reshape(n_categories, n_categories)
        )
        larger = np.maximum(counts.sum(axis=1)[:, None], counts.sum(axis=0)[None])
        shares.append(np.divide(counts, larger, out=np.full_like(counts, np.nan), where=larger > 0))
    stacked = np.stack(shares)
    seen = (~np.isnan(stacked)).sum(axis=0)
    return np.divide(np.nansum(stacked, axis=0), seen, out=np.full(stacked.shape[1:], np.nan), where=seen > 0)


@dataclass(frozen=True, eq=False)
class Round:
    """The model after a round: how good it is, and its weights."""

    categories: IntArray
    """Active categories."""
    agreement: FloatArray
    """Consensus of each active category on the cells trained on, 0 for one without cells."""
    consensus: float
    """Mean consensus of the active categories on the validation cells, or on those trained on if there are none; NaN where no two arms see the same cells."""
    n_used: int
    """Categories that are some cell's most probable one."""
    entropy: float
    """Mean entropy of the category of a cell, relative to the largest possible."""
    elbo: FloatArray
    """Evidence lower bound of each validation unit in nats."""
    weights: dict[str, Any]

    def shortfall(self, best: Round) -> tuple[float, float]:
        """Mean by which the bound is below that of `best`, and its standard error over the units."""
        difference = best.elbo - self.elbo
        return float(difference.mean()), float(difference.std() / math.sqrt(len(difference)))

    def is_worse(self, best: Round) -> bool:
        """Whether the bound is below that of `best` by more than a standard error."""
        mean, error = self.shortfall(best)
        return mean > error


def candidates(rounds: Sequence[Round], min_consensus: float) -> list[Round]:
    """Rounds that reach `min_consensus`, and those in which there was nothing to compare."""
    return [r for r in rounds if r.consensus >= min_consensus or math.isnan(r.consensus)]


def best_of(rounds: Sequence[Round]) -> Round:
    """The round with the highest mean bound."""
    return max(rounds, key=lambda r: r.elbo.mean())


def select_round(rounds: Sequence[Round], min_consensus: float) -> tuple[int, bool]:
    """Round to keep, and whether any reached `min_consensus`.

    Of those that do, the one with the fewest categories whose held-out bound is within one standard error of the best
    one's; if none does, the one with the highest consensus.
    """
    reaching = candidates(rounds, min_consensus)
    if not reaching:
        return int(np.argmax([r.consensus for r in rounds])), False
    best = best_of(reaching)
    kept = min((r for r in reaching if not r.is_worse(best)), key=lambda r: len(r.categories))
    return rounds.index(kept), True


def has_failed(rounds: Sequence[Round], min_consensus: float) -> bool:
    """Whether the last rounds were all worse than the best one that reached `min_consensus`."""
    reaching = candidates(rounds, min_consensus)
    if not reaching or len(rounds) <= MAX_FAILURES:
        return False
    best = best_of(reaching)
    return all(r.is_worse(best) for r in rounds[-MAX_FAILURES:])


def history_of(rounds: Sequence[Round], selected: int, min_consensus: float) -> pd.DataFrame:
    """One row per round: what `Round` says, compared with the best one that reached the consensus, and what was kept."""
    best = best_of(candidates(rounds, min_consensus) or rounds)
    shortfalls = [r.shortfall(best) for r in rounds]
    return pd.DataFrame(
        {
            "n_categories": [len(r.categories) for r in rounds],
            "n_used": [r.n_used for r in rounds],
            "consensus": [r.consensus for r in rounds],
            "min_agreement": [float(r.agreement.min()) for r in rounds],
            "elbo": [float(r.elbo.mean()) for r in rounds],
            "elbo_shortfall": [mean for mean, _ in shortfalls],
            "elbo_shortfall_se": [error for _, error in shortfalls],
            "min_consensus": [min_consensus] * len(rounds),
            "selected": [i == selected for i in range(len(rounds))],
        }
    )
