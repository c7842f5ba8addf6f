"""What a trained mixture says of registered data, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from scipy.stats import false_discovery_control
from scipy.stats import t as student_t

from couplevi.model._dataset import chunks
from couplevi.model.cplmixvae.judge import votes_between, votes_within
from couplevi.model.cplmixvae.measurement import beside, measured
from couplevi.model.cplmixvae.training import counts_of
from couplevi.registry import links_between

if TYPE_CHECKING:
    from couplevi._types import FloatArray, IntArray
    from couplevi.model.cplmixvae.module import CplMixVAEModule
    from couplevi.model.cplmixvae.selection import Votes
    from couplevi.registry import Registered


def profiles(module: CplMixVAEModule, registered: Registered, modality: str) -> Iterator[tuple[slice, torch.Tensor]]:
    """Rows of one modality and what the module reads of them."""
    matrix, observation = registered.values(modality), module.observation(modality)
    if observation.is_count:
        matrix = counts_of(matrix, registered.readers[modality])
    preparation = None if module.reads_features(modality) else observation.preparation.record()
    told = measured(registered, modality, matrix)
    module.eval()
    for rows, x in chunks(matrix, preparation):
        yield rows, torch.from_numpy(beside(x, told[rows], np.full(len(x), -1))).to(module.device)


@torch.inference_mode()
def probabilities(
    module: CplMixVAEModule,
    registered: Registered,
    modalities: Sequence[str],
    arms: Sequence[int],
    categories: IntArray,
) -> FloatArray:
    """Probabilities of categories, mean over arms and then over the modalities of a cell; NaN with none of them."""
    total = np.zeros((len(registered.obs_names), len(categories)), dtype=np.float64)
    n_measured = np.zeros(len(total))
    for m in modalities:
        place = registered.rows(m)
        for rows, x in profiles(module, registered, m):
            q = torch.stack([module.log_probabilities(m, a, x).exp() for a in arms]).mean(dim=0)
            total[place[rows]] += q[:, categories].cpu().numpy()
        n_measured[place] += 1
    mean = np.divide(total, n_measured[:, None], out=np.full_like(total, np.nan), where=n_measured[:, None] > 0)
    return mean.astype(np.float32)


@torch.inference_mode()
def states(module: CplMixVAEModule, registered: Registered, modality: str, arm: int, category: IntArray) -> FloatArray:
    """Mean states by one arm given the category of each cell, shape ``(n_obs, n_state)``; NaN where not measured."""
    place = registered.rows(modality)
    of_profile = torch.from_numpy(category[place])
    state = np.full((len(category), module.n_state), np.nan, dtype=np.float32)
    for rows, x in profiles(module, registered, modality):
        given = of_profile[rows].to(module.device)
        state[place[rows]] = module.state(modality, arm, x, given).loc.cpu().numpy()
    return state


@torch.inference_mode()
def votes(
    module: CplMixVAEModule, registered: Registered, modalities: Sequence[str], between: Sequence[str] | None
) -> list[Votes]:
    """What pairs of arms say of the same cells: all pairs, or those of two modalities alone."""
    labels = {}
    for m in modalities:
        n = registered.profiles(m).n_obs
        labels[m] = [np.empty(n, dtype=np.int64) for _ in range(module.n_arms)]
        for rows, x in profiles(module, registered, m):
            for arm, own in enumerate(labels[m]):
                own[rows] = module.log_probabilities(m, arm, x).argmax(dim=1).cpu().numpy()
    inside = {m: np.ones(len(arms[0]), dtype=bool) for m, arms in labels.items()}
    links = registered.links()
    if between is None:
        return [*votes_within(labels, inside), *votes_between(labels, inside, links)]
    first, second = between
    return list(votes_between(labels, inside, {(first, second): links_between(links, first, second)}))


def slopes(x: FloatArray, state: FloatArray) -> pd.DataFrame:
    """Regression of each column of `x` on a state: columns as in :meth:`CplMixVAE.rank_features`, but for the names."""
    n = len(state)
    centred, deviation = x - x.mean(axis=0), state - state.mean()
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = deviation @ centred / (deviation @ deviation)
        left = np.square(centred - np.outer(deviation, slope)).sum(axis=0)
        t = slope / np.sqrt(left / (n - 2) / (deviation @ deviation))
    t = np.where(np.ptp(x, axis=0) > 0, t, np.nan)
    p = 2 * student_t.sf(np.abs(t), n - 2)
    adjusted, tested = np.full_like(p, np.nan), ~np.isnan(p)
    adjusted[tested] = false_discovery_control(p[tested])
    return pd.DataFrame({"scores": t, "logfoldchanges": slope / np.log(2), "pvals": p, "pvals_adj": adjusted})
