from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import torch
from lightning.pytorch.callbacks import Callback, ProgressBar
from scvi.model._utils import parse_device_args, use_distributed_sampler
from scvi.train import Trainer, TrainRunner

from couplevi._quiet import quiet
from couplevi._validate import expected
from couplevi.train._arguments import PRECISIONS
from couplevi.train._callbacks import Checkpoint, EarlyStopping, EpochProgress
from couplevi.train._logger import HistoryLogger, history_logger


class CoupledTrainer(Trainer):
    """The trainer of scvi-tools, which leaves it to :mod:`couplevi._quiet` what is shown."""

    def fit(self, *args: Any, **kwargs: Any) -> None:
        """Train."""
        # not that of scvi-tools, whose filters of warnings may stay if two threads train at once
        pl.Trainer.fit(self, *args, **kwargs)


class CoupledTrainRunner(TrainRunner):
    """Runs training, keeps its history and shows its progress, and can resume it from a file.

    Parameters
    ----------
    checkpoint
        File that the state of training is written to, as :class:`~couplevi.train.Checkpoint` does; resumed from if it
        is there.
    callbacks
        Further callbacks.
    logger
        Further loggers, as Lightning takes them.
    early_stopping, enable_progress_bar, simple_progress_bar, progress_bar_refresh_rate
        As for :class:`scvi.train.Trainer`, but with callbacks of our own that print nothing to stdout.
    *args, **kwargs
        Arguments of :class:`scvi.train.TrainRunner`.
    """

    _trainer_cls = CoupledTrainer

    def __init__(
        self,
        *args: Any,
        checkpoint: Path | None = None,
        callbacks: Iterable[Callback] | None = None,
        logger: Any = None,
        early_stopping: bool = False,
        enable_progress_bar: bool = True,
        simple_progress_bar: bool = True,
        progress_bar_refresh_rate: int = 1,
        **kwargs: Any,
    ) -> None:
        if isinstance(kwargs.get("devices"), np.integer):
            kwargs["devices"] = int(kwargs["devices"])  # Lightning knows no others
        callbacks = [*(callbacks or [])]
        stopping = {name: kwargs.pop(name) for name in [*kwargs] if name.startswith("early_stopping_")}
        if early_stopping and not use_distributed_sampler(kwargs.get("strategy")):  # there scvi-tools warns
            chosen = {name.removeprefix("early_stopping_"): value for name, value in stopping.items()}
            callbacks.append(EarlyStopping(**{"monitor": "validation_loss", "patience": 45, **chosen}))
            kwargs["check_val_every_n_epoch"] = kwargs.get("check_val_every_n_epoch") or 1
        shown = enable_progress_bar and progress_bar_refresh_rate > 0
        if shown and simple_progress_bar and not any(isinstance(callback, ProgressBar) for callback in callbacks):
            callbacks.append(EpochProgress())
        if kwargs.get("precision") is not None:
            kwargs["precision"] = self._precision(kwargs)
        with quiet():
            super().__init__(
                *args,
                callbacks=callbacks,
                logger=logger or False,
                enable_progress_bar=shown,
                simple_progress_bar=False,
                **kwargs,
            )
        if history_logger(self.trainer) is None:
            self.trainer.loggers = [*self.trainer.loggers, HistoryLogger()]
        if checkpoint is not None:
            # not an argument of the trainer, which would want Lightning's own checkpoints, too
            self.trainer.callbacks.append(Checkpoint(checkpoint))
            if checkpoint.exists():
                self._check_state(checkpoint)
                self.ckpt_path = checkpoint

    def _precision(self, kwargs: Mapping[str, Any]) -> Any:
        """Precision that the device has, by the name that Lightning prefers."""
        wanted = kwargs["precision"]
        name = PRECISIONS.get(wanted, wanted)
        hardware = kwargs.get("accelerator", "auto"), kwargs.get("devices", "auto")
        with quiet():
            _, _, device = parse_device_args(*hardware, return_device="torch")
        if name != "16-mixed" or device.type != "cpu":
            return name
        warnings.warn(
            f'`precision={wanted!r}` needs a GPU: training on this CPU takes "bf16-mixed" in its place.',
            UserWarning,
            stacklevel=5,
        )
        return "bf16-mixed"

    def _check_state(self, path: Path) -> None:
        """Raise unless training can go on from what a file holds."""
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            weights, epoch = state["state_dict"], state["epoch"] + 1
        except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, TypeError, ValueError) as error:
            remedy = "Name another file, or remove it."
            raise ValueError(
                expected(f"the state of a training in `checkpoint={str(path)!r}`", "another file", remedy)
            ) from error
        own = {name: value.shape for name, value in self.training_plan.state_dict().items()}
        if own != {name: value.shape for name, value in weights.items()}:
            remedy = "Resume with the same data and settings, or remove the file to begin anew."
            raise ValueError(
                expected(f"the state of this model in `checkpoint={str(path)!r}`", "that of another", remedy)
            )
        if epoch >= self.trainer.max_epochs:
            remedy = "Raise it, or remove the file to begin anew."
            what = f"`max_epochs` above {epoch}, as many as `checkpoint={str(path)!r}` has behind it"
            raise ValueError(expected(what, self.trainer.max_epochs, remedy))

    def _run_training_core(self) -> None:
        # that of scvi-tools prints if training fails
        with quiet():
            self.trainer.fit(self.training_plan, self.data_splitter, ckpt_path=self.ckpt_path)
        if not self.trainer.global_step:
            remedy = "Leave out what limits them, such as `max_steps` or `limit_train_batches`."
            raise ValueError(expected("one or more steps of training", "none", remedy))
        self._update_history()
        model = self.model
        model.train_indices = self.data_splitter.train_idx
        model.validation_indices = self.data_splitter.val_idx
        model.test_indices = self.data_splitter.test_idx
        model.module.eval()
        model.is_trained_ = True
        model.to_device(self.device)
        model.trainer = self.trainer

    def _update_history(self) -> None:
        """Let the history of the model go on with what was logged, whatever other loggers there are."""
        before = dict(self.model.history_ or {}) if self.model.is_trained_ else {}
        logger = history_logger(self.trainer)
        n_epochs = max((len(frame) for frame in before.values()), default=0)
        for name, frame in (logger.history if logger else {}).items():
            frame.index = frame.index + n_epochs
            before[name] = pd.concat([before[name], frame]) if name in before else frame
        self.model.history_ = before
