"""How long a model is trained, when it stops, and on what."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from couplevi._validate import check_count, expected
from couplevi.dataloaders import set_sizes
from couplevi.model._dataset import batches, coupled_dataset, fit_modality
from couplevi.preparation import prepared_rows
from couplevi.train import BestWeights

if TYPE_CHECKING:
    from couplevi._streamed import Matrix
    from couplevi._types import IntArray
    from couplevi.dataloaders import CoupledDataset, Rows
    from couplevi.model.jamie.module import JAMIEModule
    from couplevi.model.jamie.settings import Settings
    from couplevi.registry import Registered

PATIENCE = 45
"""Epochs without a better validation loss at which training stops."""

CALIBRATION_END = 0.5
"""Share of the epochs in which the pairs for calibration are held back."""

MAX_SENSITIVITY = 256
"""Profiles of a modality at which the Jacobian of its decoder is taken."""

REMEDY = "Look for extreme values in the data, or lower the learning rate: `plan_kwargs={'lr': 1e-4}`."


def training_data(
    module: JAMIEModule, registered: Registered, n_components: Mapping[str, int | None] | None, settings: Settings
) -> tuple[CoupledDataset, dict[str, IntArray]]:
    """Profiles and links, prepared, and their rows in the data; with `n_components` the preparation is fitted first."""

    def rows_of(m: str, matrix: Matrix, order: IntArray) -> Rows:
        preparation = module.observation(m).preparation
        if n_components is not None:
            reader = registered.readers[m]
            preparation.fill(fit_modality(matrix, reader, n_components[m], settings.feature_weights))
        return prepared_rows(matrix, preparation.record(), order)

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


@dataclass(frozen=True)
class Length:
    """How long a training is, and what ends it.

    Attributes
    ----------
    max_epochs, batch_size
        Passes through the data, and units per step.
    n_validation
        Number of units that are validated on.
    patience
        Epochs without a better loss at which training stops; None trains to the end.
    stops_early
        Whether that loss is the one on validation units.
    warmup
        Epochs that do not compete, as the objective still changes in them.
    """

    max_epochs: int
    batch_size: int
    n_validation: int
    patience: int | None
    stops_early: bool
    warmup: int

    @classmethod
    def of(
        cls,
        settings: Settings,
        n_units: int,
        *,
        max_epochs: int | None,
        batch_size: int | None,
        train_size: float,
        validation_size: float | None,
        early_stopping: bool | None,
    ) -> Length:
        """Length of a training on so many units; what is None follows from the settings."""
        batch_size = settings.batch_size if batch_size is None else batch_size
        check_count(batch_size, "batch_size")
        n_train, n_validation = set_sizes(n_units, train_size, validation_size)
        if max_epochs is None:
            max_epochs = settings.max_epochs or math.ceil((settings.n_steps or 1) / math.ceil(n_train / batch_size))
        if early_stopping and not n_validation:
            raise ValueError(expected("validation units for early stopping", "none", "Pass `train_size=0.9`."))
        stops_early = n_validation > 0 if early_stopping is None else early_stopping
        release = math.floor(CALIBRATION_END * max_epochs) if stops_early else 0
        warmup = max(math.ceil(settings.kl_warmup * max_epochs), release)
        patience = PATIENCE if stops_early else settings.patience
        return cls(int(max_epochs), int(batch_size), n_validation, patience, stops_early, warmup)

    @property
    def release_epoch(self) -> int:
        """Epoch from which on the pairs for calibration are trained on."""
        return math.floor(CALIBRATION_END * self.max_epochs)

    @property
    def monitor(self) -> str:
        """Loss that is watched."""
        return "validation_loss" if self.stops_early else "train_loss"

    def best_weights(self) -> BestWeights:
        """Callback that keeps the best weights."""
        if self.patience is None:
            return BestWeights("train_loss")
        return BestWeights(self.monitor, warmup_epochs=self.warmup, restore=True)

    def trainer_arguments(self) -> dict[str, Any]:
        """Arguments of the trainer."""
        validates = self.n_validation > 0
        arguments: dict[str, Any] = {
            "check_val_every_n_epoch": 1 if validates else None,
            "limit_val_batches": None if validates else 0,
        }
        if self.patience is not None:
            arguments |= {
                "early_stopping": True,
                "early_stopping_monitor": self.monitor,
                "early_stopping_patience": self.patience,
                "early_stopping_warmup_epochs": self.warmup,
            }
        return arguments
