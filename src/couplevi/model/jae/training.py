"""On what a joint autoencoder is trained, and when labels that it predicts itself begin to count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from couplevi.dataloaders import CellDataset
from couplevi.model._dataset import CHUNK, fit_modality, preparation_of, sorted_links, sorted_rows
from couplevi.preparation import logarithms, prepared_rows
from couplevi.train import CoupledTrainingPlan

if TYPE_CHECKING:
    from scvi.module.base import BaseModuleClass, LossOutput

    from couplevi._streamed import Matrix
    from couplevi._types import BoolArray, CellBatch, FloatArray, IntArray
    from couplevi.dataloaders import Rows
    from couplevi.model.jae.module import JAEModule
    from couplevi.registry import Registered


def training_data(
    module: JAEModule,
    registered: Registered,
    counted: Mapping[str, bool],
    n_components: Mapping[str, int | None] | None,
    known: tuple[IntArray, FloatArray],
) -> tuple[CellDataset, dict[str, IntArray]]:
    """Cells, prepared, and the rows of their profiles; with `n_components` the preparation is fitted first.

    Parameters
    ----------
    module
        Has the preparation.
    registered
        The data.
    counted
        Whether values of a modality are counts.
    n_components
        Principal components of each modality.
    known
        Position of the label of each cell of the data, -1 for none, and its scores, NaN for none, shapes ``(n_obs,)``
        and ``(n_obs, n_scores)``.
    """

    def rows_of(m: str, matrix: Matrix, order: IntArray) -> Rows:
        reader, preparation = registered.readers[m], module.observation(m).preparation
        if counted[m]:
            matrix = logarithms(matrix, reader.where)
        if n_components is not None:
            preparation.fill(fit_modality(matrix, reader, n_components[m], "variance"))
        return prepared_rows(matrix, preparation_of(preparation.record(), registered, m, counted[m]), order)

    rows, order = sorted_rows(registered, rows_of)
    links = sorted_links(registered, order, "correspondence")
    covariates = {m: registered.covariates(m)[order[m]] for m in rows}
    cells = {m: registered.rows(m)[order[m]] for m in rows}
    of_profiles = {m: (known[0][places], known[1][places]) for m, places in cells.items()}
    return CellDataset(rows, links, covariates, registered.n_batches, of_profiles), order


class JAETrainingPlan(CoupledTrainingPlan):
    """Lets predicted labels count from a share of the steps on.

    Parameters
    ----------
    module
        Module whose ``inference`` takes `guess` and whose ``loss`` takes `told`.
    guess_start
        Share of the steps, in [0, 1], before which none counts; 1 lets none count at all.
    told
        Whether what is known of cells is learned, or their reconstruction alone.
    adapt_statistics
        Whether the statistics of batch normalisation are those of the minibatches, and follow them.
    **kwargs
        Arguments of :class:`~couplevi.train.CoupledTrainingPlan`.
    """

    is_variational = False

    def __init__(
        self,
        module: BaseModuleClass,
        *,
        guess_start: float = 1.0,
        told: bool = True,
        adapt_statistics: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(module, **kwargs)
        self.adapt_statistics = adapt_statistics
        self.guess_start = guess_start
        self.told = told

    def scheduled(self) -> dict[str, float]:
        """Whether predicted labels count."""
        return {"guess": float(self.guess_start < 1 and self.global_step >= self.guess_start * self._n_steps)}

    def final(self) -> dict[str, float]:
        """What validation does: known labels alone count."""
        return {"guess": 0.0}

    def _losses(self, batch: CellBatch, scheduled: dict[str, float]) -> LossOutput:  # type: ignore[override]
        if not self.adapt_statistics:
            for layer in self.module.modules():
                if isinstance(layer, torch.nn.BatchNorm1d):
                    layer.eval()
        guess = {"guess": bool(scheduled["guess"])}
        _, _, losses = self.forward(batch, inference_kwargs=guess, loss_kwargs={"told": self.told})
        return losses


def latents(module: JAEModule, dataset: CellDataset) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Latents, covariates and labels of all cells."""
    module.eval()
    parts = np.array_split(np.arange(len(dataset)), -(-len(dataset) // CHUNK))
    z = torch.cat([module.encode(dataset.cells(units)["h"]) for units in parts])
    return z, torch.from_numpy(dataset.told).to(z.device), torch.from_numpy(dataset.label).to(z.device)


@torch.inference_mode()
def fit_latent(module: JAEModule, dataset: CellDataset) -> None:
    """Fit where cells are placed to all of them, and how far cells are from their labels to those that have one."""
    z, covariates, label = latents(module, dataset)
    module.fit_place(z, covariates)
    if (label >= 0).any():
        module.fit_distance(z[label >= 0], label[label >= 0])


@torch.inference_mode()
def fit_new_batches(module: JAEModule, dataset: CellDataset, added: BoolArray) -> None:
    """Fit how far cells of new batches are from others of their label."""
    z, covariates, _ = latents(module, dataset)
    module.fit_new_batches(z, covariates, torch.from_numpy(added[: module.n_batches]).to(z.device))
