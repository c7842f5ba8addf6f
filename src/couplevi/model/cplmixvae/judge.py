"""What decides on the number of categories: how good a round is, and which category is superfluous."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, product
from typing import TYPE_CHECKING

import numpy as np
import torch

from couplevi.model._dataset import batches
from couplevi.model.cplmixvae.selection import Round, Votes, consensus

if TYPE_CHECKING:
    import scipy.sparse as sp

    from couplevi._types import BoolArray, FloatArray, IntArray, ModalityPair
    from couplevi.dataloaders import CoupledDataset
    from couplevi.model.cplmixvae.module import CplMixVAEModule

MAX_JUDGED = 2_000
"""Profiles of a modality that decide which category costs least."""


class Judge:
    """Judges a mixture on the units of a dataset.

    Parameters
    ----------
    module
        The mixture.
    dataset
        Profiles as the module reads them, and their links.
    """

    def __init__(self, module: CplMixVAEModule, dataset: CoupledDataset) -> None:
        self.module = module
        self.dataset = dataset

    @torch.inference_mode()
    def round(self, train: IntArray, validation: IntArray) -> Round:
        """The mixture as it is after a round, on units trained and validated on."""
        active = self.module.active.nonzero()[:, 0].cpu().numpy()
        agreement, size, entropy = self._consensus(train)
        held_out, _, _ = self._consensus(validation)
        own = math.nan if held_out is None else float(np.nanmean(held_out.diagonal()[active]))
        return Round(
            categories=active,
            agreement=np.nan_to_num(size[active] if agreement is None else agreement.diagonal()[active]),
            consensus=own,
            n_used=int((size > 0).sum()),
            entropy=entropy,
            elbo=self._elbo(validation),
            weights={name: value.detach().cpu().clone() for name, value in self.module.state_dict().items()},
        )

    @torch.inference_mode()
    def superfluous(self, train: IntArray, last: Round, min_consensus: float) -> int:
        """Category to remove: the one that arms agree on least or, if they agree on all, the one that costs least.

        Categories of labels stay.
        """
        is_coupled = self.module.n_arms > 1 or any(table.matrix.nnz for table in self.dataset.links.values())
        agreement = np.where(last.categories < self.module.n_labels, np.inf, last.agreement)
        if agreement.min() < min_consensus and is_coupled:
            return int(last.categories[np.argmin(agreement)])
        costs = np.zeros(self.module.n_categories)
        costs[: self.module.n_labels] = np.inf
        for m, places in self.dataset.places(train).items():
            x = torch.cat([x for _, x in batches(self.module, self.dataset.rows[m], places[:MAX_JUDGED])])
            for arm in range(self.module.n_arms):
                costs += self.module.removal_costs(m, arm, x).cpu().numpy()
        return int(np.argmin(costs))

    def _consensus(self, units: IntArray) -> tuple[FloatArray | None, FloatArray, float]:
        """Consensus on these units, None without arms to compare; share of each category; mean relative entropy."""
        module, dataset = self.module, self.dataset
        entropies = []
        labels: dict[str, list[IntArray]] = {}
        for m, places in dataset.places(units).items():
            labels[m] = [np.zeros(len(dataset.rows[m]), dtype=np.int64) for _ in range(module.n_arms)]
            for part, x in batches(module, dataset.rows[m], places):
                for arm, own in enumerate(labels[m]):
                    log_q = module.log_probabilities(m, arm, x)
                    entropies.append(-(log_q.exp() * log_q).sum(dim=1))
                    own[places[part]] = log_q.argmax(dim=1).cpu().numpy()
        inside = dataset.inside(units)
        counts = np.bincount(
            np.concatenate([own[inside[m]] for m in labels for own in labels[m]]), minlength=module.n_categories
        )
        entropy = float(torch.cat(entropies).mean()) / math.log(max(2, int(module.active.sum())))
        links = {pair: table.matrix for pair, table in dataset.links.items()}
        votes = [*votes_within(labels, inside), *votes_between(labels, inside, links)]
        return consensus(votes, module.n_categories) if votes else None, counts / counts.sum(), entropy

    def _elbo(self, units: IntArray) -> FloatArray:
        """Evidence lower bound of each unit, mean over arms, sum over its modalities, shape ``(n_units,)``."""
        total = np.zeros(len(units))
        for i, m in enumerate(self.dataset.modalities):
            measured = np.flatnonzero(self.dataset.units[units, i] >= 0)
            places = self.dataset.units[units[measured], i]
            for part, x in batches(self.module, self.dataset.rows[m], places):
                bounds = [self.module.elbo(m, arm, x) for arm in range(self.module.n_arms)]
                total[measured[part]] += torch.stack(bounds).mean(dim=0).cpu().numpy()
        return total


def votes_within(labels: Mapping[str, Sequence[IntArray]], inside: Mapping[str, BoolArray]) -> Iterator[Votes]:
    """What each pair of arms of a modality says of its profiles `inside`."""
    for m, arms in labels.items():
        weight = np.ones(int(inside[m].sum()))
        for a, b in combinations(arms, 2):
            yield Votes(a[inside[m]], b[inside[m]], weight)


def votes_between(
    labels: Mapping[str, Sequence[IntArray]],
    inside: Mapping[str, BoolArray],
    links: Mapping[ModalityPair, sp.csr_array],
) -> Iterator[Votes]:
    """What each arm of a modality and each one of another say of the ends of the links `inside`."""
    for (m, other), matrix in links.items():
        entries = matrix.tocoo()
        row, column = entries.coords
        keep = inside[m][row] & inside[other][column]
        if keep.any():
            for a, b in product(labels[m], labels[other]):
                yield Votes(a[row[keep]], b[column[keep]], entries.data[keep])
