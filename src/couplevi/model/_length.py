"""How long a model is trained, and when it stops."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

from couplevi._validate import check_count, expected
from couplevi.dataloaders import set_sizes
from couplevi.train import BestWeights

PATIENCE = 45
"""Epochs without a better validation loss at which training stops."""

FEWEST_EPOCHS, MOST_STEPS = 20, 10_000
"""Passes through the data that a training counted in steps makes at least, if these are so many steps at most."""

FEWEST_STEPS, FEWEST_PASSES = 1600, 10
"""The same where settings give neither steps nor epochs: steps, and passes, that a training makes at least. On
100,000 simulated cells 10 passes scored as 17 did."""


class Schedule(Protocol):
    """Settings that say how long a training is."""

    @property
    def batch_size(self) -> int: ...

    @property
    def n_steps(self) -> int | None: ...

    @property
    def max_epochs(self) -> int | None: ...

    @property
    def patience(self) -> int | None: ...


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
        settings: Schedule,
        n_units: int,
        *,
        warmup: float = 0.0,
        validated_warmup: float = 0.0,
        max_epochs: int | None,
        batch_size: int | None,
        train_size: float,
        validation_size: float | None,
        early_stopping: bool | None,
    ) -> Length:
        """Length of a training on so many units; what is None follows from the settings.

        Parameters
        ----------
        settings
            What is taken where nothing is given.
        n_units
            Number of units, of which some may be validated on.
        warmup, validated_warmup
            Shares of the epochs that do not compete, always and where a validation loss decides.
        max_epochs, batch_size, train_size, validation_size, early_stopping
            As for the `train` of a model.

        Raises
        ------
        ValueError
            If a number is out of range, or early stopping lacks validation units.
        """
        batch_size = settings.batch_size if batch_size is None else batch_size
        check_count(batch_size, "batch_size")
        n_train, n_validation = set_sizes(n_units, train_size, validation_size)
        if max_epochs is None:
            per_epoch = math.ceil(n_train / batch_size)
            steps = settings.n_steps or enough_steps(per_epoch, FEWEST_STEPS, FEWEST_PASSES)
            max_epochs = settings.max_epochs or math.ceil(steps / per_epoch)
        if early_stopping and not n_validation:
            raise ValueError(expected("validation units for early stopping", "none", "Pass `train_size=0.9`."))
        stops_early = n_validation > 0 if early_stopping is None else early_stopping
        n_warmup = max(math.ceil(warmup * max_epochs), math.floor(validated_warmup * max_epochs) if stops_early else 0)
        patience = PATIENCE if stops_early else settings.patience
        return cls(int(max_epochs), int(batch_size), n_validation, patience, stops_early, n_warmup)

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


def enough_steps(per_epoch: int, fewest: int, passes: int) -> int:
    """Number of steps that make so many passes of `per_epoch` steps, but `fewest` at least and `MOST_STEPS` at most."""
    return max(fewest, min(passes * per_epoch, MOST_STEPS))


def epochs_of(settings: Schedule, n_units: int, train_size: float, batch_size: int | None) -> int:
    """Number of epochs that the settings stand for, of which a number of steps is the fewest."""
    if settings.n_steps is None:
        return settings.max_epochs or 1
    per_epoch = math.ceil(math.ceil(train_size * n_units) / (batch_size or settings.batch_size))
    return math.ceil(enough_steps(per_epoch, settings.n_steps, FEWEST_EPOCHS) / per_epoch)
