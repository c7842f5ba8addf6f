"""Cells of two modalities, prepared and split in one way for all methods."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import mudata as md
import numpy as np
import scanpy as sc
import scipy.sparse as sp

import couplevi as cvi
from couplevi.preparation import fit_preparation

HELD_OUT = 0.2
REAL = ("patchseq_motor", "cite_pbmc_inhouse", "snare_mouse_cortex_small")
"""Files of the folder of real data that are benchmarked unless others are named."""

NO_TYPE = ("Mis", "unknown")
"""Labels of cells that are left out."""

MAX_FEATURES = 2_000
"""Features of a target that are scored: the most variable ones in training."""


@dataclass
class Task:
    """Cells to learn from, of which some are known pairs, and cells never seen."""

    name: str
    train: md.MuData
    test: md.MuData
    known: np.ndarray
    layers: dict[str, str]

    @property
    def modalities(self) -> tuple[str, str]:
        first, second = self.train.mod
        return first, second

    @property
    def directions(self) -> dict[str, tuple[str, str]]:
        """Source and target of the two imputations."""
        a, b = self.modalities
        return {"forward": (a, b), "backward": (b, a)}

    @property
    def complete(self) -> bool:
        """Whether all pairs of the training cells are known."""
        return bool(self.known.all())

    def values(self, part: str, modality: str) -> Any:
        adata = getattr(self, part)[modality]
        return adata.layers[self.layers[modality]] if modality in self.layers else adata.X

    @cached_property
    def prepared(self) -> dict[str, dict[str, np.ndarray]]:
        """What all baselines read: up to 50 components of each modality, fitted on all training profiles."""
        result = {}
        for m in self.modalities:
            x = self.values("train", m)
            record = fit_preparation(x, 50 if x.shape[1] > 50 else None)
            result[m] = {part: record.transform(self.values(part, m)) for part in ("train", "test")}
        return result

    def scored(self, modality: str) -> np.ndarray:
        x = self.values("train", modality)
        variance = fit_preparation(x).scale
        return np.sort(np.argsort(-variance)[:MAX_FEATURES])

    def target(self, part: str, modality: str) -> np.ndarray:
        x = self.values(part, modality)[:, self.scored(modality)]
        return np.asarray(x.todense() if sp.issparse(x) else x, dtype=np.float64)

    def labels(self, part: str) -> np.ndarray:
        return getattr(self, part).obs["cell_type"].astype(str).to_numpy()

    def restricted(self) -> Task:
        """The known pairs alone."""
        names = self.train.obs_names[self.known]
        return Task(self.name, self.train[names].copy(), self.test, np.ones(len(names), dtype=bool), self.layers)


def load(name: str, folder: Path | None, fraction: float, seed: int) -> Task:
    """A data set with the pairs of a random `fraction` of its training cells known."""
    mdata, layers = SIMULATIONS[name]() if name in SIMULATIONS else _real(name, folder)
    test = np.random.RandomState(0).permutation(mdata.n_obs)[: int(HELD_OUT * mdata.n_obs)]
    train = np.setdiff1d(np.arange(mdata.n_obs), test)
    parts = [mdata[mdata.obs_names[index]].copy() for index in (train, test)]
    known = np.zeros(len(train), dtype=bool)
    known[np.random.RandomState(seed).permutation(len(train))[: int(fraction * len(train))]] = True
    return Task(name, parts[0], parts[1], known, layers)


def _real(name: str, folder: Path | None) -> tuple[md.MuData, dict[str, str]]:
    if folder is None:
        raise SystemExit(f"{name}: pass --data")
    mdata = md.read_h5mu(folder / f"{name}.h5mu")
    labels = next(column for column in ("cell_type", "cell_type_rna") if column in mdata.obs)
    mdata.obs["cell_type"] = mdata.obs[labels].astype(str)
    mdata = mdata[~mdata.obs["cell_type"].isin(NO_TYPE)].copy()
    layers = {m: "log1p" for m in mdata.mod if m != "ephys"}
    for m in layers:
        _log1p(mdata[m], m)
    return mdata, layers


def _log1p(adata: Any, modality: str) -> None:
    """log1p of counts per 10,000; of binary counts for chromatin; of counts for the few proteins."""
    if modality == "protein":
        adata.layers["log1p"] = np.log1p(np.asarray(adata.X.todense() if sp.issparse(adata.X) else adata.X, np.float32))
        return
    copy = adata.copy()
    copy.X = sp.csr_matrix(copy.X, dtype=np.float32)
    if modality == "atac":
        copy.X.data[:] = 1
    sc.pp.normalize_total(copy, target_sum=1e4)
    sc.pp.log1p(copy)
    adata.layers["log1p"] = copy.X


SIMULATIONS = {
    "branching_manifold": lambda: (cvi.data.branching_manifold(600), {"rna": "log1p"}),
    "count_clusters": lambda: (cvi.data.count_clusters(600), {"rna": "log1p", "atac": "log1p"}),
}
