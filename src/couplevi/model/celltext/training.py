"""On what cells and texts are learned to match."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from couplevi.dataloaders import CellDataset
from couplevi.model.celltext.module import MODALITY
from couplevi.preparation import fingerprints, fit_preparation
from couplevi.train import CoupledTrainingPlan

if TYPE_CHECKING:
    from collections.abc import Callable

    from couplevi._streamed import Matrix
    from couplevi._types import FloatArray, IntArray
    from couplevi.model.celltext.prototypes import Refit


class CellTextTrainingPlan(CoupledTrainingPlan):
    """A plan without a divergence or a reconstruction: the objective is contrastive."""

    is_variational = False
    reconstructs = False

    def scheduled(self) -> dict[str, float]:
        """Nothing."""
        return {}

    def final(self) -> dict[str, float]:
        """Nothing."""
        return {}


def training_data(h: FloatArray, text: IntArray) -> tuple[CellDataset, IntArray]:
    """Cells that have a text, sorted by their values, and their rows in that order.

    Parameters
    ----------
    h
        What the module reads of each cell, shape ``(n, n_prepared + n_tokens * size)``.
    text
        Place of its text, -1 where it has none, shape ``(n,)``.
    """
    rows = np.flatnonzero(text >= 0)
    order = rows[np.argsort(fingerprints(np.nan_to_num(h[rows])), kind="stable")]
    nothing = np.empty((len(order), 0), dtype=np.float32)
    known = {MODALITY: (text[order], nothing)}
    return CellDataset({MODALITY: h[order]}, {}, {MODALITY: nothing}, 0, known), order


def refit(values: Matrix, n_components: int | None) -> Refit:
    """Preparation of some cells by others, as that of all cells is fitted."""

    def fitted(train: IntArray) -> Callable[[IntArray], FloatArray]:
        n = None if n_components is None else min(n_components, len(train) - 1)
        record = fit_preparation(values[train], n, "variance")
        return lambda rows: record.transform(values[rows])

    return fitted
