from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from torch.utils.data import DistributedSampler

from couplevi.dataloaders._dataset import ProfileDraw
from couplevi.dataloaders._links import gather_rows

if TYPE_CHECKING:
    from couplevi._types import FloatArray, IntArray, ModalityPair
    from couplevi.dataloaders._dataset import CoupledDataset, Draw


class UnitSampler(DistributedSampler):
    """Draws minibatches of units and the partners that they are linked to.

    Every unit, but those held back, is drawn once per epoch; batches are of equal size, to within one, and at most
    `batch_size`. Each profile drawn brings up to `n_partners` further profiles, by confidence and without replacement,
    which lie in the same part of the data. All random draws are made here, so that reading a batch needs no random
    state.

    With `mixup_alpha`, a unit is mixed with another one of the minibatch that was measured in the same modalities and
    experimental batch, all its profiles with the same share, so that a mixture is again a pair. Units with links to others are left alone.

    Parameters
    ----------
    dataset
        The profiles and links.
    units
        Rows of ``dataset.units`` to draw from.
    batch_size
        Largest number of units in a batch.
    n_partners
        Largest number of further partners of a profile.
    held_back, release_epoch
        Units that are not drawn before that epoch.
    mixup_alpha
        Concentration, at least 0, of the Beta distribution of the shares: 1 draws any share alike, small values mix
        little, 0 not at all.
    shuffle
        Draw in a new order in each epoch; else always in the same order with the same partners, unmixed.
    seed
        Together with the epoch it determines all draws.
    num_replicas, rank
        Number of processes, and which of them this is. The units are divided among them, and links between the
        parts are not seen.
    """

    dataset: CoupledDataset

    def __init__(
        self,
        dataset: CoupledDataset,
        units: IntArray,
        *,
        batch_size: int,
        n_partners: int = 4,
        mixup_alpha: float = 0.0,
        held_back: IntArray | None = None,
        release_epoch: int = 0,
        shuffle: bool = True,
        seed: int = 0,
        num_replicas: int = 1,
        rank: int = 0,
    ) -> None:
        super().__init__(dataset, num_replicas=num_replicas, rank=rank, shuffle=shuffle, seed=seed)
        self.units = np.asarray(units)
        self.batch_size = batch_size
        self.n_partners = n_partners
        self.held_back = np.empty(0, dtype=np.int64) if held_back is None else held_back
        self.release_epoch = release_epoch
        self.mixup_alpha = mixup_alpha if shuffle else 0.0
        self._partners = _partner_tables(dataset, self.units)
        self._group = _groups_to_mix(dataset, self._partners) if self.mixup_alpha else None

    def __len__(self) -> int:
        return math.ceil(math.ceil(len(self.units) / self.num_replicas) / self.batch_size)

    def __iter__(self) -> Iterator[Draw]:
        rng = np.random.default_rng((self.seed, self.epoch if self.shuffle else 0))
        units = np.setdiff1d(self.units, self.held_back) if self.epoch < self.release_epoch else self.units
        order = rng.permutation(units) if self.shuffle else units
        padded = np.resize(order, math.ceil(len(order) / self.num_replicas) * self.num_replicas)
        for batch in np.array_split(padded[self.rank :: self.num_replicas], len(self)):
            yield self._draw(batch, rng)

    def _draw(self, units: IntArray, rng: np.random.Generator) -> Draw:
        table = self.dataset.units[units]
        drawn = {m: table[:, i][table[:, i] >= 0] for i, m in enumerate(self.dataset.modalities)}
        partners: dict[str, list[IntArray]] = {m: [] for m in drawn}
        for (source, target), matrix in self._partners.items():
            partners[target].append(_draw_partners(matrix, drawn[source], self.n_partners, rng))
        mate, share = self._mixtures(units, rng)
        draw = {}
        for i, (m, index) in enumerate(drawn.items()):
            further = np.setdiff1d(np.concatenate(partners[m]), index) if partners[m] else index[:0]
            place = np.arange(len(index) + len(further))
            has = table[:, i] >= 0
            place_of_unit = np.cumsum(has) - 1
            other, own = place.copy(), np.ones(len(place), dtype=np.float32)
            other[: len(index)], own[: len(index)] = place_of_unit[mate[has]], share[has]
            draw[m] = ProfileDraw(np.concatenate([index, further]), place < len(index), other, own)
        return draw

    def _mixtures(self, units: IntArray, rng: np.random.Generator) -> tuple[IntArray, FloatArray]:
        """For each unit the place of another one, of the same modalities and batch, and its own share of at least half.

        Zhang et al., mixup: beyond empirical risk minimization, ICLR 2018.
        """
        mate, share = np.arange(len(units)), np.ones(len(units), dtype=np.float32)
        if self._group is None:
            return mate, share
        groups = self._group[units]
        for group in np.unique(groups[groups >= 0]):
            members = np.flatnonzero(groups == group)
            mate[members] = rng.permutation(members)
            drawn = rng.beta(self.mixup_alpha, self.mixup_alpha, len(members))
            share[members] = np.maximum(drawn, 1 - drawn)
        return mate, share


def _partner_tables(dataset: CoupledDataset, units: IntArray) -> dict[ModalityPair, sp.csr_array]:
    """Links, given or inferred, that leave their unit but not `units`, by (source, target)."""
    allowed = dataset.units[units]
    column = {m: i for i, m in enumerate(dataset.modalities)}
    tables = {}
    for a, b in dict.fromkeys([*dataset.links, *dataset.matches]):
        found = [t[a, b].matrix for t in (dataset.links, dataset.matches) if (a, b) in t]
        matrix = sp.csr_array(sum(found[1:], found[0])).tocoo()
        unit_of = [np.full(n, -1) for n in matrix.shape]
        for side, m in enumerate((a, b)):
            here = allowed[:, column[m]] >= 0
            unit_of[side][allowed[here, column[m]]] = units[here]
        row, col = matrix.coords
        keep = (unit_of[0][row] >= 0) & (unit_of[1][col] >= 0) & (unit_of[0][row] != unit_of[1][col])
        if keep.any():
            further = sp.csr_array((matrix.data[keep], (row[keep], col[keep])), shape=matrix.shape)
            tables[a, b], tables[b, a] = further, sp.csr_array(further.T)
    return tables


def _groups_to_mix(dataset: CoupledDataset, partners: Mapping[ModalityPair, sp.csr_array]) -> IntArray:
    """Which modalities and batch a unit was measured in, as a number; -1 if it has a link to another one."""
    _, group = np.unique(dataset.batches(np.arange(len(dataset))), axis=0, return_inverse=True)
    group = group.ravel()
    column = {m: i for i, m in enumerate(dataset.modalities)}
    for (source, _), matrix in partners.items():
        profile = dataset.units[:, column[source]]
        group[(profile >= 0) & (np.diff(matrix.indptr)[profile] > 0)] = -1
    return group


def _draw_partners(matrix: sp.csr_array, rows: IntArray, k: int, rng: np.random.Generator) -> IntArray:
    """Up to `k` columns of each row, drawn by weight without replacement (Efraimidis and Spirakis, 2006)."""
    row, col, weight = gather_rows(matrix, rows)
    order = np.lexsort((rng.standard_exponential(len(row)) / weight, row))
    first = np.searchsorted(row, np.arange(len(rows)))
    rank = np.arange(len(row)) - first[row]
    return np.unique(col[order][rank < k])
