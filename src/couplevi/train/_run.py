from __future__ import annotations

import copy
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from couplevi.train._arguments import checkpoint_path
from couplevi.train._runner import CoupledTrainRunner

if TYPE_CHECKING:
    from types import TracebackType

    import lightning.pytorch as pl

ABSENT = object()


class TrainingRun:
    """A training of a model from start to end; the model is as before if any of it fails or is interrupted.

    A context: what is done to the model before and after the epochs belongs to the training.

    Parameters
    ----------
    model
        Model whose `module` is trained, and whose attributes named in `saved` are put back.
    frozen
        Whether the entry of this name in the module's state stays as it is: its parameters take no gradients, its
        buffers are put back at the end. None freezes nothing.

    Examples
    --------
    .. code-block:: python

        with TrainingRun(self) as run:
            run.fit(splitter, plan, max_epochs=10)
            self.fitted_links_ = ...
    """

    def __init__(self, model: Any, *, frozen: Callable[[str], bool] | None = None) -> None:
        self.model = model
        self.frozen = frozen or (lambda name: False)

    def __enter__(self) -> Self:
        model = self.model
        self._weights = copy.deepcopy(model.module.state_dict())
        self._was_training = model.module.training
        self._device = next(model.module.parameters()).device
        self._before = {name: vars(model).get(name, ABSENT) for name in (*model.saved, "trainer")}
        self._free = [p for name, p in model.module.named_parameters() if p.requires_grad and self.frozen(name)]
        for parameter in self._free:
            parameter.requires_grad_(False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for parameter in self._free:
            parameter.requires_grad_(True)
        module = self.model.module
        kept = self._weights if kind is not None else {n: w for n, w in self._weights.items() if self.frozen(n)}
        module.load_state_dict(kept, strict=False)
        if kind is not None:
            module.train(self._was_training)
            self.model.to_device(self._device)  # Lightning leaves the module of a failed training on the CPU
            for name, value in self._before.items():
                if value is not ABSENT:
                    setattr(self.model, name, value)
                elif hasattr(self.model, name):
                    delattr(self.model, name)
            if isinstance(error, SystemExit) and isinstance(error.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from error  # Lightning makes an exit of it

    def fit(
        self,
        data: pl.LightningDataModule,
        plan: pl.LightningModule,
        *,
        max_epochs: int,
        checkpoint: str | os.PathLike[str] | None = None,
        **trainer: Any,
    ) -> None:
        """Train, and let the model know its history and the units of each set.

        Parameters
        ----------
        data
            Loads the units to train and to validate on; any data that the module reads.
        plan
            Schedule of the training.
        max_epochs
            Passes through the data.
        checkpoint
            File of the state of training, see :class:`~couplevi.train.Checkpoint`; resumed from if it is there.
        **trainer
            Arguments of :class:`~couplevi.train.CoupledTrainRunner`.

        Raises
        ------
        FileNotFoundError, ValueError
            If the checkpoint cannot be written to, or is that of another model.
        """
        self.model.module.train()
        CoupledTrainRunner(
            self.model,
            training_plan=plan,
            data_splitter=data,
            max_epochs=max_epochs,
            checkpoint=None if checkpoint is None else checkpoint_path(checkpoint),
            **{"log_every_n_steps": 1, **trainer},
        )()
