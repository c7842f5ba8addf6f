"""MultiVI of scvi-tools, as its authors set it: up to 500 epochs, stopped early."""

from __future__ import annotations

import numpy as np
import scvi

from benchmarks.methods._method import Method, Result
from benchmarks.tasks.coupled import Task


class MultiVI(Method):
    def fits(self, task: Task) -> bool:
        return task.complete and set(task.modalities) == {"rna", "atac"}

    def run(self, task: Task, seed: int) -> Result:
        scvi.settings.seed = seed
        train, test = task.train.copy(), task.test.copy()
        for mdata in (train, test):
            mdata["atac"].X = (mdata["atac"].X > 0).astype(np.float32)
            scvi.model.MULTIVI.setup_mudata(mdata, modalities={"rna_layer": "rna", "atac_layer": "atac"})
        model = scvi.model.MULTIVI(train, n_genes=train["rna"].n_vars, n_regions=train["atac"].n_vars)
        model.train(enable_progress_bar=False)
        names = {"rna": "expression", "atac": "accessibility"}
        latents = {
            part: tuple(model.get_latent_representation(mdata, modality=names[m]) for m in task.modalities)
            for part, mdata in (("train", train), ("test", test))
        }
        return Result(latents)
