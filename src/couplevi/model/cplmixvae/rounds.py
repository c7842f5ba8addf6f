"""Training in rounds: each has a schedule of its own, and after each the model is judged and pruned."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.callbacks import Callback

from couplevi.train import CoupledTrainingPlan

if TYPE_CHECKING:
    import lightning.pytorch as pl
    from scvi.module.base import BaseModuleClass, LossOutput

    from couplevi._types import Batch, IntArray

RISE = 0.1
"""Share of a round over which the learning rate rises."""
COUPLING_WARMUP = 0.3
"""Share of the first round over which the coupling rises from nothing to its weight."""
INITIAL_TEMPERATURE = 1.0


class RoundsTrainingPlan(CoupledTrainingPlan):
    """Restarts the learning rate in each round; temperature falls and coupling rises in the first alone.

    Parameters
    ----------
    module
        Module whose ``inference`` takes `temperature` and whose ``loss`` takes `coupling_scale`.
    rounds
        Number of epochs of each round.
    temperature
        Temperature of the Gumbel-softmax at the end of the first round, and from then on.
    lr
        Highest learning rate of a round.
    weight_decay
        Decoupled weight decay, see :class:`~couplevi.train.CoupledTrainingPlan`.
    """

    def __init__(
        self,
        module: BaseModuleClass,
        *,
        rounds: Sequence[int],
        temperature: float = 0.5,
        lr: float = 3e-3,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(module, lr=lr, weight_decay=weight_decay)
        self.rounds = list(rounds)
        self.temperature = temperature

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW with a learning rate that restarts."""
        optimizer = super().configure_optimizers()["optimizer"]
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: self._relative_rate())
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def scheduled(self) -> dict[str, float]:
        """Temperature and scale of the coupling."""
        number, progress = self._place()
        if number:
            return self.final()
        temperature = INITIAL_TEMPERATURE + (self.temperature - INITIAL_TEMPERATURE) * progress
        return {"temperature": temperature, "coupling_scale": min(1.0, progress / COUPLING_WARMUP)}

    def final(self) -> dict[str, float]:
        """Their values at the end of training."""
        return {"temperature": self.temperature, "coupling_scale": 1.0}

    def _losses(self, batch: Batch, scheduled: dict[str, float]) -> LossOutput:
        temperature, scale = scheduled["temperature"], scheduled["coupling_scale"]
        _, _, losses = self.forward(
            batch, inference_kwargs={"temperature": temperature}, loss_kwargs={"coupling_scale": scale}
        )
        return losses

    def _place(self) -> tuple[int, float]:
        """Number of the round that the next step belongs to, and the share of its steps that is done."""
        per_epoch = max(1, self._n_steps // sum(self.rounds))
        ends = [per_epoch * epochs for epochs in accumulate(self.rounds)]
        number = min(bisect_right(ends, self.global_step), len(ends) - 1)
        length = per_epoch * self.rounds[number]
        return number, min(1.0, (self.global_step - ends[number] + length) / length)

    def _relative_rate(self) -> float:
        _, progress = self._place()
        return 0.02 + 0.98 * progress / RISE if progress < RISE else (1 + math.cos(math.pi * progress)) / 2


class Rounds(Callback):
    """Calls a function before training, and another one at the end of each round, which says whether to go on.

    The moments of the optimiser start anew with each round.

    Parameters
    ----------
    rounds
        Number of epochs of each round.
    begin
        Takes the units trained on, rows of ``dataset.units``.
    judge
        Takes the units trained and validated on, rows of ``dataset.units``; returns whether to go on.
    """

    def __init__(
        self,
        rounds: Sequence[int],
        begin: Callable[[IntArray], None],
        judge: Callable[[IntArray, IntArray], bool],
    ) -> None:
        self.ends = set(accumulate(rounds))
        self.begin = begin
        self.judge = judge

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Begin."""
        self.begin(trainer.datamodule.train_idx)  # type: ignore[attr-defined]
        pl_module.train()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Judge at the end of a round."""
        if trainer.current_epoch + 1 in self.ends:
            data: Any = trainer.datamodule  # type: ignore[attr-defined]
            trainer.should_stop |= not self.judge(data.train_idx, data.val_idx)
            for optimizer in trainer.optimizers:
                # moments of a removed category would decay to denormal numbers, which are slow beyond measure
                optimizer.state.clear()
            pl_module.train()
