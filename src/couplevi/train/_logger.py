from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd
from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

if TYPE_CHECKING:
    import lightning.pytorch as pl


class HistoryLogger(Logger):
    """Collects metrics per epoch in lists; scvi-tools' logger grows a data frame by one row at a time."""

    name = "couplevi"
    version = ""  # a number would be shown in the progress bar

    def __init__(self) -> None:
        super().__init__()
        self._epochs: dict[str, list[float]] = defaultdict(list)
        self._values: dict[str, list[float]] = defaultdict(list)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        epoch = int(metrics.get("epoch", step or 0))
        for name, value in metrics.items():
            if name != "epoch":
                self._epochs[name].append(epoch)
                self._values[name].append(float(value))

    @rank_zero_only
    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Hyper-parameters are kept by the model."""

    def state(self, epoch: int, metrics: Mapping[str, Any]) -> dict[str, dict[str, list[float]]]:
        """All that was logged, and the metrics of an epoch that were not yet, as numbers."""
        together = copy.deepcopy(self)
        missing = {name: value for name, value in metrics.items() if epoch not in together._epochs[name][-1:]}
        together.log_metrics({**missing, "epoch": epoch})
        return {"epochs": dict(together._epochs), "values": dict(together._values)}

    def resume(self, state: Mapping[str, Mapping[str, list[float]]]) -> None:
        """Go on after what was logged before."""
        self._epochs.update(copy.deepcopy(state["epochs"]))
        self._values.update(copy.deepcopy(state["values"]))

    @property
    def history(self) -> dict[str, pd.DataFrame]:
        """One data frame per metric, indexed by epoch."""
        return {
            name: pd.DataFrame({name: values}, index=pd.Index(self._epochs[name], name="epoch"))
            for name, values in self._values.items()
        }


def history_logger(trainer: pl.Trainer) -> HistoryLogger | None:
    """Logger of a trainer that keeps the history, beside others."""
    return next((logger for logger in trainer.loggers if isinstance(logger, HistoryLogger)), None)
