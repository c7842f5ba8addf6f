from __future__ import annotations

from pathlib import Path
from typing import Any

from scvi.train import TrainRunner

from couplevi.train._callbacks import Checkpoint


class CoupledTrainRunner(TrainRunner):
    """Runs training, and can resume it from a file.

    Parameters
    ----------
    checkpoint
        File of the state of training, see :class:`~couplevi.train.Checkpoint`; resumed from if it is there.
    *args, **kwargs
        Arguments of :class:`scvi.train.TrainRunner`.
    """

    def __init__(self, *args: Any, checkpoint: Path | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if checkpoint is not None:
            # not an argument of the trainer, which would want Lightning's own checkpoints, too
            self.trainer.callbacks.append(Checkpoint(checkpoint))
            self.ckpt_path = checkpoint if checkpoint.exists() else None
