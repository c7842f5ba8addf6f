from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import torch
from scvi.train import TrainingPlan

from couplevi.losses import annealing, one_cycle

if TYPE_CHECKING:
    from scvi.module.base import BaseModuleClass, LossOutput

    from couplevi._types import Batch


class CoupledTrainingPlan(TrainingPlan):
    """Schedules the optimiser and the weight of the divergence; all terms come from the module.

    Metrics stay on the device and are logged once per epoch, as means over its batches. The validation loss is
    computed with the final weights, whatever the state of the annealing, so that epochs can be compared.

    Parameters
    ----------
    module
        Module whose ``loss`` takes `kl_weight`.
    lr
        Learning rate: constant, or the highest of the cycle.
    weight_decay
        Decoupled weight decay (AdamW) of weight matrices; biases, norms and scalars are not decayed.
    lr_schedule
        ``"constant"``, or ``"one_cycle"``: rise over the first 30 % of all steps, then cosine decay to zero
        (Smith and Topin, 2019).
    kl_warmup
        Share of all steps, in [0, 1], over which the weight of the divergence rises from 0 to 1.
    kl_schedule
        Shape of that rise.
    **kwargs
        Further arguments of :class:`scvi.train.TrainingPlan`.
    """

    is_variational = True
    """Whether there is a divergence, and so a bound of the evidence, to log."""
    reconstructs = True
    """Whether there is a reconstruction to log."""

    def __init__(
        self,
        module: BaseModuleClass,
        *,
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        lr_schedule: Literal["constant", "one_cycle"] = "constant",
        kl_warmup: float = 0.0,
        kl_schedule: Literal["linear", "sigmoid"] = "linear",
        **kwargs: Any,
    ) -> None:
        super().__init__(module, lr=lr, weight_decay=weight_decay, **kwargs)
        self.lr_schedule = lr_schedule
        self.kl_warmup = kl_warmup
        self.kl_schedule = kl_schedule
        self._n_steps = 1  # known when training starts; the schedules ask before, for step 0
        self._metrics: dict[str, list[dict[str, torch.Tensor]]] = {"train": [], "validation": []}

    def scheduled(self) -> dict[str, float]:
        """What changes during training, as arguments of the module's ``loss``."""
        return {"kl_weight": annealing(self.global_step / self._n_steps, self.kl_warmup, self.kl_schedule)}

    def final(self) -> dict[str, float]:
        """Its values at the end of training."""
        return {"kl_weight": 1.0}

    def configure_optimizers(self) -> dict[str, Any]:
        parameters = [p for p in self.module.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": self.weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        # it clips no gradients in mixed precision; None lets PyTorch choose what is best on other devices
        fused = True if self.device.type == "cpu" and self.trainer.precision == "32-true" else None
        optimizer = torch.optim.AdamW(groups, lr=self.lr, fused=fused)
        if self.lr_schedule == "constant":
            return {"optimizer": optimizer}
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: one_cycle(step / self._n_steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_start(self) -> None:
        self._n_steps = self.trainer.max_epochs * self.trainer.num_training_batches

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        losses = self._losses(batch, self.scheduled())
        self._collect("train", losses)
        return losses.loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._collect("validation", self._losses(batch, self.final()))

    def on_train_epoch_end(self) -> None:
        self._log_means("train", self.scheduled())

    def on_validation_epoch_end(self) -> None:
        self._log_means("validation")

    def _losses(self, batch: Batch, scheduled: dict[str, float]) -> LossOutput:
        _, _, losses = self.forward(batch, loss_kwargs={**self.loss_kwargs, **scheduled})
        return losses

    def _collect(self, mode: str, losses: LossOutput) -> None:
        reconstruction, kl = (
            total.detach() / losses.n_obs_minibatch for total in (losses.reconstruction_loss_sum, losses.kl_local_sum)
        )
        bound = {f"elbo_{mode}": reconstruction + kl, f"kl_local_{mode}": kl} if self.is_variational else {}
        self._metrics[mode].append(
            {
                f"{mode}_loss": losses.loss.detach(),
                **({f"reconstruction_loss_{mode}": reconstruction} if self.reconstructs else {}),
                **bound,
                **{f"{name}_{mode}": value for name, value in losses.extra_metrics.items()},
            }
        )

    def _log_means(self, mode: str, scheduled: Mapping[str, float] = MappingProxyType({})) -> None:
        steps = self._metrics[mode]
        if steps:
            means = torch.stack([torch.stack([step[name] for step in steps]).mean().float() for name in steps[0]])
            if self.use_sync_dist:
                means = self.trainer.strategy.reduce(means, reduce_op="mean")
            weights = {name: torch.tensor(value) for name, value in scheduled.items()}
            self._log({**weights, **dict(zip(steps[0], means, strict=True))}, shown=f"{mode}_loss")
        steps.clear()

    def _log(self, metrics: dict[str, torch.Tensor], shown: str) -> None:
        """Log metrics of an epoch, one of them in the progress bar.

        As ``log_dict`` does, in which Lightning takes as long as for the steps of a small epoch.
        """
        numbers = {name: value.item() for name, value in metrics.items()}
        self.trainer.callback_metrics.update(metrics)
        self.trainer.logged_metrics.update(metrics)
        self.trainer.progress_bar_metrics[shown] = numbers[shown]
        for logger in self.loggers:
            logger.log_metrics({**numbers, "epoch": self.current_epoch}, step=self.global_step - 1)
            logger.save()
