"""Our model, by preset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

import couplevi as cvi
from benchmarks.methods._method import Method, Result
from benchmarks.tasks.coupled import Task


@dataclass(frozen=True)
class Jamie(Method):
    settings: Mapping[str, object] = field(default_factory=dict)
    max_epochs: int | None = None
    known_alone: bool = False
    """Whether the cells whose pair is hidden are left out of training."""

    def fits(self, task: Task) -> bool:
        return not (self.known_alone and task.complete)

    def run(self, task: Task, seed: int) -> Result:
        if self.known_alone:
            task = task.restricted()
        mdata = task.train.copy()
        cvi.pp.link(mdata, modalities=task.modalities, pairs=np.diag(task.known.astype(np.float32)))
        model = cvi.tl.jamie(
            mdata,
            modalities=task.modalities,
            layers=task.layers,
            correspondence_key="correspondence",
            seed=seed,
            train_kwargs={"enable_progress_bar": False, "max_epochs": self.max_epochs},
            **self.settings,
        )
        latents = {
            part: tuple(model.get_latent_representation(getattr(task, part)[m], modality=m) for m in task.modalities)
            for part in ("train", "test")
        }
        imputed = {
            (s, t): model.impute(source=s, target=t, adata=task.test[s]).X[:, task.scored(t)]
            for s, t in task.directions.values()
        }
        return Result(latents, imputed)
