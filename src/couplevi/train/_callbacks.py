from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from lightning.pytorch.callbacks import Callback

if TYPE_CHECKING:
    import lightning.pytorch as pl

    from couplevi._types import IntArray


class BestWeights(Callback):
    """Remembers the weights of the epoch with the lowest loss and returns to them if training fails.

    If the training loss or a weight turns NaN or infinite, training stops, `failed` is set and the best weights so far
    (those before training if there are none, with `best` infinite) are restored. With `restore`, they are restored at
    the end of any training.

    Parameters
    ----------
    monitor
        Metric to minimise.
    warmup_epochs
        Epochs, from the start, that do not compete: the objective still changes in them.
    restore
        Return to the best weights after a training without failure, too.
    """

    def __init__(self, monitor: str, *, warmup_epochs: int = 0, restore: bool = False) -> None:
        self.monitor = monitor
        self.warmup_epochs = warmup_epochs
        self.restore = restore
        self.best = math.inf
        self.failed = False
        self._state: dict[str, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._state = copy.deepcopy(pl_module.module.state_dict())

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        # the metrics of an epoch are complete only here, after the hooks of all callbacks at its end
        self._judge(trainer, pl_module, trainer.current_epoch - 1)

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._judge(trainer, pl_module, trainer.current_epoch - 1)
        if self.failed or (self.restore and math.isfinite(self.best)):
            pl_module.module.load_state_dict(self._state)
        self._state = {}

    def _judge(self, trainer: pl.Trainer, pl_module: Any, epoch: int) -> None:
        metrics = trainer.callback_metrics
        if "train_loss" not in metrics or self.failed:
            return
        finite = math.isfinite(metrics["train_loss"]) and all(p.isfinite().all() for p in pl_module.module.parameters())
        self.failed = not finite
        trainer.should_stop |= self.failed
        value = float(metrics.get(self.monitor, math.inf))
        if finite and math.isfinite(value) and (epoch <= self.warmup_epochs or value < self.best):
            self.best = value
            self._state = copy.deepcopy(pl_module.module.state_dict())


class Calibration(Callback):
    """Measures, on units that were held back so far, how far predictions are off; they are trained on from then on.

    Parameters
    ----------
    measure
        Called once with these units and those trained on so far, rows of ``dataset.units``.
    """

    def __init__(self, measure: Callable[[IntArray, IntArray], None]) -> None:
        self.measure = measure

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        if trainer.current_epoch == data.release_epoch and len(data.calibration_idx):
            self.measure(data.calibration_idx, np.setdiff1d(data.train_idx, data.calibration_idx))
            pl_module.train()
