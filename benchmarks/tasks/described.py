"""Cells of types that an ontology describes."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import mudata as md
import pandas as pd

from benchmarks.tasks.labelled import logarithms

DESCRIBED = {"bone marrow": "bmmc_cite_2donor.h5mu", "cerebellum": "cerebellum_reference_mouse.h5ad"}
"""Files by name."""

FEWEST_CELLS = 5
"""Types with fewer are left out."""


def load_described(name: str, folder: Path) -> tuple[ad.AnnData, dict[str, str]]:
    """Cells with ``obs["cell_type"]`` and ``layers["log1p"]``, and the text of each type: name and definition."""
    file = DESCRIBED[name]
    if file.endswith(".h5mu"):
        mdata = md.read_h5mu(folder / file)
        adata = mdata["rna"].copy()
        adata.obs["cell_type"] = mdata.obs["cell_type"].reindex(adata.obs_names)
    else:
        adata = ad.read_h5ad(folder / file)
    terms = pd.read_csv(folder / "label_to_cell_ontology.tsv", sep="\t").query("dataset == @file")
    texts = {row.label: f"{row.cl_label}. {row.definition}" for row in terms.itertuples()}
    counts = adata.obs["cell_type"].astype(str).value_counts()
    texts = {name: text for name, text in texts.items() if counts.get(name, 0) >= FEWEST_CELLS}
    adata = adata[adata.obs["cell_type"].isin(texts)].copy()
    adata.obs["cell_type"] = adata.obs["cell_type"].astype(str)
    adata.layers["log1p"] = logarithms(adata.X)
    return adata, texts
