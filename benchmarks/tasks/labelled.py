"""Cells of several batches, whose labels are known in some of these."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import mudata as md
import numpy as np
import scanpy as sc
import scipy.sparse as sp

NO_LABEL = "unknown"


@dataclass(frozen=True)
class Labelled:
    """A data set: columns of its file, and groups of batches whose labels are hidden, one group at a time."""

    labels: str
    hidden: tuple[tuple[str, ...], ...]
    pseudotime: str | None = None


SETS = {
    "bmmc_cite_2donor": Labelled("lineage", (("s1d2",), ("s1d1",)), "pseudotime_order_GEX"),
    "reapseq_pbmc_2sample": Labelled("cell_type_rna", (("pbmc3",), ("pbmc2",))),
    "snare_mouse_cortex": Labelled("cell_type", (("09J", "09K", "09L"),)),
}
"""Those of `reapseq_pbmc_2sample` were made from clusters of the RNA: they are no truth."""


def load_labelled(name: str, folder: Path) -> md.MuData:
    """Labelled cells with counts in ``X`` and ``obs`` columns ``"label"``, ``"batch"`` and ``"pseudotime"``."""
    columns = SETS[name]
    mdata = md.read_h5mu(folder / f"{name}.h5mu")
    labels = mdata.obs[columns.labels].astype(str)
    mdata = mdata[~labels.isin(["nan", "None", "other", "unknown", "Mis"]).to_numpy()].copy()
    mdata.obs["label"] = mdata.obs[columns.labels].astype(str)
    mdata.obs["batch"] = mdata.obs["batch"].astype(str)
    mdata.obs["pseudotime"] = mdata.obs[columns.pseudotime] if columns.pseudotime else np.nan
    for m, adata in mdata.mod.items():
        adata.layers["log1p"] = _centred(adata.X) if m == "protein" else logarithms(adata.X)
    return mdata


def hide(mdata: md.MuData, batches: tuple[str, ...]) -> np.ndarray:
    """Write the labels of all other batches to ``obs["known"]``; cells of these batches."""
    hidden = mdata.obs["batch"].isin(batches).to_numpy()
    mdata.obs["known"] = mdata.obs["label"].where(~hidden, NO_LABEL)
    return hidden


def logarithms(counts: np.ndarray | sp.spmatrix) -> sp.csr_matrix:
    """log1p of counts per 10,000."""
    values = sp.csr_matrix(counts, dtype=np.float32)
    sc.pp.normalize_total(copy := sc.AnnData(values), target_sum=1e4)
    sc.pp.log1p(copy)
    return copy.X


def _centred(counts: np.ndarray | sp.spmatrix) -> np.ndarray:
    """log1p of counts, less its mean over the features of a cell."""
    values = np.log1p(counts.toarray() if sp.issparse(counts) else np.asarray(counts)).astype(np.float32)
    return values - values.mean(axis=1, keepdims=True)
