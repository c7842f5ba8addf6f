"""totalVI of scvi-tools, as its authors set it: up to 400 epochs, stopped early."""

from __future__ import annotations

import warnings

import anndata as ad
import numpy as np
import scipy.sparse as sp
import scvi

from benchmarks.methods._method import Method, Result
from benchmarks.tasks.coupled import Task


class TotalVI(Method):
    """Proteins of the test cells are given as missing."""

    def fits(self, task: Task) -> bool:
        return task.complete and set(task.modalities) == {"rna", "protein"}

    def run(self, task: Task, seed: int) -> Result:
        scvi.settings.seed = seed
        cells = ad.concat({"train": task.train["rna"], "test": task.test["rna"]}, label="part")
        counts = task.train["protein"].X
        counts = counts.toarray() if sp.issparse(counts) else np.asarray(counts)
        cells.obsm["protein"] = np.concatenate([counts, np.zeros(task.test["protein"].shape)])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scvi.model.TOTALVI.setup_anndata(cells, protein_expression_obsm_key="protein", batch_key="part")
            model = scvi.model.TOTALVI(cells)
            model.train(enable_progress_bar=False)
            test = np.flatnonzero(cells.obs["part"] == "test")
            _, protein = model.get_normalized_expression(
                indices=test, transform_batch="train", include_protein_background=True, n_samples=10, return_numpy=True
            )
        return Result(imputed={("rna", "protein"): np.log1p(protein)[:, task.scored("protein")]})
