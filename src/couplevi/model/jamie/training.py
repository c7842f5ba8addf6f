"""On what a model is trained, and what is fitted once it is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

from couplevi.model._dataset import batches, coupled_dataset, fit_modalities, links_without
from couplevi.model.jamie.uncertainty import n_calibration
from couplevi.preparation import FeatureRows, prepared_rows

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
    module: JAMIEModule,
    registered: Registered,
    n_components: Mapping[str, int | None] | None,
    settings: Settings,
    train_size: float = 1.0,
) -> tuple[CoupledDataset, dict[str, IntArray]]:
    """Profiles and links, prepared, and their rows in the data; with `n_components` the preparation is fitted first.

    If it is fitted to links, pairs for calibration are kept apart; so are all if some units are not trained on, as it is
    drawn later which.
    """
    matrices = dict[str, "Matrix"]()

    def unprepared(m: str, matrix: Matrix, order: IntArray) -> Rows:
        matrices[m] = matrix
        return np.empty((len(order), 0), dtype=np.float32)

    dataset, order = coupled_dataset(registered, unprepared)
    to_prepare = {
        m: module.observation(m).to_prepare(matrix, registered.readers[m].where) for m, matrix in matrices.items()
    }
    if n_components is not None:
        if settings.feature_weights == "coupled":
            dataset.kept_apart = _kept_apart(dataset, settings.calibration_size if train_size == 1 else 1.0)
        links = links_without(registered, dataset, order, dataset.kept_apart)
        for m, record in fit_modalities(registered, to_prepare, n_components, settings.feature_weights, links).items():
            module.observation(m).preparation.fill(record)
    for m, matrix in matrices.items():
        observation = module.observation(m)
        dataset.rows[m] = prepared_rows(to_prepare[m], observation.preparation.record(), order[m])
        if observation.is_count:
            dataset.counts[m] = FeatureRows(matrix, order[m], observation.is_binary)
    return dataset, order


def _kept_apart(dataset: CoupledDataset, share: float) -> IntArray:
    """So many pairs as are held back for calibration, drawn by the order of their values; of a share of 1 all units."""
    if share == 1:
        return np.arange(len(dataset))
    pairs = np.flatnonzero((dataset.units >= 0).sum(axis=1) > 1)
    return np.random.default_rng(0).permutation(pairs)[: n_calibration(dataset, share, release_epoch=1)]


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
