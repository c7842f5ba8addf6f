"""On what a model is trained, and what is fitted once it is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

from couplevi.model._dataset import batches, coupled_dataset, fit_modality
from couplevi.preparation import FeatureRows, logarithms, prepared_rows

if TYPE_CHECKING:
    from couplevi._streamed import Matrix
    from couplevi._types import IntArray
    from couplevi.dataloaders import CoupledDataset, Rows
    from couplevi.model.jamie.module import JAMIEModule
    from couplevi.model.jamie.settings import Settings
    from couplevi.registry import Registered

CALIBRATION_END = 0.5
"""Share of the epochs in which the pairs for calibration are held back."""

MAX_SENSITIVITY = 256
"""Profiles of a modality at which the Jacobian of its decoder is taken."""


def training_data(
    module: JAMIEModule, registered: Registered, n_components: Mapping[str, int | None] | None, settings: Settings
) -> tuple[CoupledDataset, dict[str, IntArray]]:
    """Profiles and links, prepared, and their rows in the data; with `n_components` the preparation is fitted first."""

    def rows_of(m: str, matrix: Matrix, order: IntArray) -> Rows:
        observation, reader = module.observation(m), registered.readers[m]
        if n_components is not None:
            read = logarithms(matrix, reader.where, binary=observation.is_binary) if observation.is_count else matrix
            observation.preparation.fill(fit_modality(read, reader, n_components[m], settings.feature_weights))
        if observation.is_count:
            return FeatureRows(matrix, order)
        return prepared_rows(matrix, observation.preparation.record(), order)

    return coupled_dataset(registered, rows_of)


@torch.no_grad()
def fit_embedding(module: JAMIEModule, dataset: CoupledDataset) -> None:
    """Fit where cells are placed to all profiles."""
    module.eval()
    latents, sensitivity = {}, {}
    for m, rows in dataset.rows.items():
        covariates = torch.from_numpy(dataset.covariates[m]).to(module.device)
        parts = [module.encode(m, h, covariates[part]).loc for part, h in batches(module, rows, np.arange(len(rows)))]
        latents[m] = torch.cat(parts)
        some = np.random.default_rng(0).permutation(len(rows))[:MAX_SENSITIVITY]
        with torch.enable_grad():
            sensitivity[m] = module.sensitivity(m, latents[m][some], covariates[some])
    module.embedding.fit(latents, sensitivity)


def release_epoch(max_epochs: int) -> int:
    """Epoch from which on the pairs for calibration are trained on."""
    return math.floor(CALIBRATION_END * max_epochs)
