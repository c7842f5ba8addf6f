from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.callbacks import Callback, ProgressBar
from lightning.pytorch.callbacks import Checkpoint as LightningCheckpoint
from lightning.pytorch.callbacks import EarlyStopping as LightningEarlyStopping

from couplevi._progress import Progress
from couplevi._validate import expected, warn
from couplevi.train._logger import history_logger

if TYPE_CHECKING:
    import lightning.pytorch as pl

REMEDY = "Look for extreme values in the data, or lower the learning rate: `plan_kwargs={'lr': 1e-4}`."


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

    def check(self) -> None:
        """Raise RuntimeError if training failed in the first epoch: there are no better weights than those before it."""
        if self.failed and not math.isfinite(self.best):
            raise RuntimeError(expected("a finite loss", "NaN or infinity in the first epoch of training", REMEDY))

    def warn(self) -> None:
        """Warn the user if training failed in a later one."""
        if self.failed:
            warn(
                "The loss or a weight became NaN or infinite. Training stopped; the model has its best weights so far. "
                f"{REMEDY}"
            )

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "weights": self._state}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self._state = state_dict["best"], state_dict["weights"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if not self._state:  # there are some if training is resumed
            self._state = _copy_of_weights(pl_module.module)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        # the metrics of an epoch are complete only here, after the hooks of all callbacks at its end
        self.judge(trainer, pl_module, trainer.current_epoch - 1)

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self.judge(trainer, pl_module, trainer.current_epoch - 1)
        if self.failed or (self.restore and math.isfinite(self.best)):
            pl_module.module.load_state_dict(self._state)
        self._state = {}

    def judge(self, trainer: pl.Trainer, pl_module: Any, epoch: int) -> None:
        """Keep the weights of an epoch, whose metrics are known, if they are the best; the same if it is judged again."""
        metrics = trainer.callback_metrics
        if "train_loss" not in metrics or self.failed:
            return
        weights = torch.nn.utils.parameters_to_vector(pl_module.module.parameters())
        finite = math.isfinite(metrics["train_loss"]) and bool(weights.isfinite().all())
        self.failed = not finite
        trainer.should_stop |= self.failed
        value = float(metrics.get(self.monitor, math.inf))
        if finite and math.isfinite(value) and (epoch <= self.warmup_epochs or value < self.best):
            self.best = value
            self._state = _copy_of_weights(pl_module.module)


def _copy_of_weights(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Entries of the state of a module, copied as tensors, which takes a fraction of the time of a deep copy."""
    return {name: value.clone() for name, value in module.state_dict().items()}


class Checkpoint(LightningCheckpoint):  # of that class, so that it is called when the metrics of an epoch are known
    """Writes the state of training to a file at the end of epochs, and removes the file when training is complete.

    Parameters
    ----------
    path
        File; it is replaced in one step, so that an interruption leaves the last one whole.
    interval
        Seconds between two writings, at least.
    """

    def __init__(self, path: Path, interval: float = 30.0) -> None:
        self.path = path
        self.interval = interval
        self._written = time.monotonic()
        self._history: dict[str, Any] = {}
        self._random: torch.Tensor | None = None
        self._device_random: torch.Tensor | None = None

    def state_dict(self) -> dict[str, Any]:
        """Random states and history; the rest is that of Lightning and of the other callbacks."""
        return {"random": torch.get_rng_state(), "device_random": self._device_random, "history": self._history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._random, self._history = state_dict["random"], state_dict["history"]
        self._device_random = state_dict.get("device_random")

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        logger = history_logger(trainer)
        if self._history and logger is not None:
            logger.resume(self._history)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if self._random is not None:
            torch.set_rng_state(self._random)
            # the loader's iterator draws a number, after this hook; that of the first epoch was made before it
            torch.empty((), dtype=torch.int64).random_()
            self._random = None
            numbers = _numbers_of(pl_module.device)
            if numbers is not None and self._device_random is not None:
                numbers.set_rng_state(self._device_random)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        is_last = trainer.current_epoch + 1 == trainer.max_epochs
        if is_last or time.monotonic() - self._written < self.interval:
            return
        logger = history_logger(trainer)
        if logger is not None:
            # what callbacks log at the end of an epoch, Lightning logs after all hooks
            self._history = logger.state(trainer.current_epoch, trainer.callback_metrics)
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, BestWeights):
                callback.judge(trainer, pl_module, trainer.current_epoch)
        numbers = _numbers_of(pl_module.device)
        self._device_random = None if numbers is None else numbers.get_rng_state()
        unfinished = self.path.with_name(self.path.name + ".part")
        trainer.save_checkpoint(unfinished)
        if trainer.is_global_zero:
            os.replace(unfinished, self.path)
        self._written = time.monotonic()

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if trainer.is_global_zero:
            self.path.unlink(missing_ok=True)


def _numbers_of(device: torch.device) -> Any:
    """What has the state of the random numbers of a device, which dropout there draws; None for the CPU."""
    return None if device.type == "cpu" else getattr(torch, device.type)


class EarlyStopping(LightningEarlyStopping):
    """Stops when a metric has not improved for some epochs; those of the warm-up do not count.

    That of scvi-tools counts checks in place of epochs, forgets them when training is resumed, and prints to stdout.

    Parameters
    ----------
    warmup_epochs
        Epochs, from the start, that are not judged.
    **kwargs
        Arguments of :class:`lightning.pytorch.callbacks.EarlyStopping`.
    """

    def __init__(self, *, warmup_epochs: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.warmup_epochs = warmup_epochs

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if trainer.current_epoch >= self.warmup_epochs:
            super().on_train_epoch_end(trainer, pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if trainer.current_epoch >= self.warmup_epochs:
            super().on_validation_end(trainer, pl_module)


class EpochProgress(ProgressBar):  # of that class, so that Lightning adds no bar of its own
    """Shows the epoch, and the losses of the last one, as :class:`~couplevi._progress.Progress` does."""

    def __init__(self) -> None:
        super().__init__()
        self._progress: Progress | None = None

    def disable(self) -> None:
        """Show nothing, as Lightning wants of all processes but the first."""
        self._progress = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if trainer.is_global_zero:
            self._progress = Progress(trainer.max_epochs or 1, "epoch", trainer.current_epoch)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        # the metrics of an epoch are complete only here
        if self._progress is not None:
            self._progress.reach(trainer.current_epoch, self._losses(trainer))

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self.on_train_epoch_start(trainer, pl_module)
        self._close(trainer)

    def on_exception(self, trainer: pl.Trainer, pl_module: Any, exception: BaseException) -> None:
        self._close(trainer)

    def _close(self, trainer: pl.Trainer) -> None:
        if self._progress is not None:
            self._progress.close(self._losses(trainer))
            self._progress = None

    def _losses(self, trainer: pl.Trainer) -> dict[str, float]:
        return {name: float(value) for name, value in trainer.progress_bar_metrics.items()}
