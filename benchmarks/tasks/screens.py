"""Perturbation screens of which the state of each cell is known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import mudata as md

from benchmarks.tasks.labelled import logarithms


@dataclass(frozen=True)
class Screen:
    """File of a screen, and its state without perturbation."""

    file: str
    control: str


SCREENS = {
    "K562": Screen("perturb_k562_norman.h5ad", "control"),
    "THP-1": Screen("perturb_thp1_papalexi.h5mu", "non-targeting"),
}


def load_screen(name: str, folder: Path) -> ad.AnnData:
    """Logarithms of normalised expression in ``X``, the state of each cell in ``obs["perturbation"]``."""
    path = folder / SCREENS[name].file
    if path.suffix == ".h5ad":
        return ad.read_h5ad(path)
    mdata = md.read_h5mu(path)
    adata = mdata["rna"].copy()
    adata.obs["perturbation"] = mdata.obs["perturbation"].reindex(adata.obs_names)
    adata.X = logarithms(adata.X)
    return adata
