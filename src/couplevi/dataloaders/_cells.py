from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from couplevi.dataloaders._dataset import CoupledDataset

if TYPE_CHECKING:
    from couplevi._types import CellBatch, FloatArray, IntArray
    from couplevi.dataloaders._dataset import Draw, Rows
    from couplevi.dataloaders._links import Links


class CellDataset(CoupledDataset):
    """Prepared cells, with what is known of them.

    Cells are the units of the profiles and the pairs among them: those of the same cell.

    Parameters
    ----------
    rows, links, covariates, n_batches
        See :class:`~couplevi.dataloaders.CoupledDataset`.
    known
        For each profile of a modality the position of the label of its cell, -1 for none, shape ``(n_profiles,)``, and
        further scores of it, NaN for none, shape ``(n_profiles, n_scores)``.
    """

    def __init__(
        self,
        rows: Mapping[str, Rows],
        links: Mapping[tuple[str, str], Links],
        covariates: Mapping[str, FloatArray],
        n_batches: int,
        known: Mapping[str, tuple[IntArray, FloatArray]],
    ) -> None:
        super().__init__(rows, links, None, covariates, n_batches)
        self.label = self._of_units({m: label for m, (label, _) in known.items()})
        self.scores = self._of_units({m: scores for m, (_, scores) in known.items()})
        self.told = self._of_units(self.covariates)
        self._unit_of = {m: np.empty(len(r), dtype=np.int64) for m, r in self.rows.items()}
        for i, unit_of in enumerate(self._unit_of.values()):
            has = self.units[:, i] >= 0
            unit_of[self.units[has, i]] = np.flatnonzero(has)

    def _of_units(self, values: Mapping[str, FloatArray | IntArray]) -> Any:
        """What profiles know of their cells, for each cell."""
        first = next(iter(values.values()))
        found = np.empty((len(self.units), *first.shape[1:]), dtype=first.dtype)
        for place, of_profiles in zip(self.units.T, values.values(), strict=True):
            found[place >= 0] = of_profiles[place[place >= 0]]
        return found

    def __getitem__(self, draw: Draw) -> CellBatch:  # type: ignore[override]
        units = np.unique(np.concatenate([self._unit_of[m][part.position] for m, part in draw.items()]))
        return self.cells(units)

    def cells(self, units: IntArray) -> CellBatch:
        """Some cells, rows of `units`."""
        h, measured = {}, {}
        for (m, rows), place in zip(self.rows.items(), self.units[units].T, strict=True):
            has = place >= 0
            measured[m] = torch.from_numpy(has)
            own = np.asarray(rows[place[has]])
            values = np.zeros((len(units), own.shape[1]), dtype=np.float32)
            values[has] = own
            h[m] = torch.from_numpy(values)
        told, label, scores = (torch.from_numpy(part[units]) for part in (self.told, self.label, self.scores))
        return {"h": h, "measured": measured, "covariates": told, "label": label, "scores": scores}
