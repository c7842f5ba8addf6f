"""Figures of couplevi from one MuData: Patch-seq cells of the motor cortex, one fifth of the pairs held back.

    python demo/gallery.py patchseq_motor.h5mu --out gallery

The file needs modalities ``rna`` (counts in ``X``) and ``ephys``, and ``obs["cell_type"]``. Perturbations and
texts are of simulated cells.
"""

import argparse
from pathlib import Path

import mudata as md
import pandas as pd
import scanpy as sc

import couplevi as cvi

MODALITIES = ("rna", "ephys")
RANKS = ("first", "second", "third", "fourth", "fifth")


def main() -> None:
    """Train once, then draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", type=Path, help="MuData, .h5mu")
    parser.add_argument("--out", type=Path, default=Path("gallery"), help="folder of the figures")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if hasattr(md, "set_options"):  # mudata before 0.4
        md.set_options(pull_on_update=False)

    mdata = md.read_h5mu(arguments.input)
    mdata["rna"].layers["log1p"] = sc.pp.log1p(
        sc.pp.normalize_total(mdata["rna"], target_sum=1e4, copy=True), copy=True
    ).X
    cvi.pp.link(mdata, modalities=MODALITIES, hide=0.2)
    both = mdata["rna"].obs_names.intersection(mdata["ephys"].obs_names)
    setup = {"modalities": MODALITIES, "layers": {"rna": "log1p"}, "correspondence_key": "correspondence"}
    model = cvi.tl.jamie(mdata, **setup, seed=0)
    held_out = both[~model.is_fitted(both, *MODALITIES)]
    route = {"source": "rna", "target": "ephys"}
    cvi.tl.umap(mdata)
    cvi.tl.impute(mdata, model, **route)
    cvi.tl.impute_baseline(mdata, model, **route, method="knn")
    cvi.tl.predict_labels(mdata, model, labels="cell_type", cells=mdata.obs_names.difference(held_out))
    some = mdata["rna"].obs_names[::6]
    for target in ("ephys", "latent", "cell_type"):
        cvi.tl.explain(mdata, model, source="rna", target=target, cells=some)
    by_gene = cvi.tl.ablate(mdata, model, **route, metric="lta", labels="cell_type", n_seeds=5)
    markers = {"interneurons": ["Gad1", "Gad2", "Slc6a1"], "Pvalb": ["Pvalb"], "all genes": mdata["rna"].var_names}
    by_group = cvi.tl.ablate(mdata, model, **route, groups=markers, cells=held_out)

    def save(name: str) -> dict:
        return {"save": arguments.out / f"{name}.png", "show": False}

    scored = {**route, "cells": held_out}
    cvi.pl.losses(model, **save("losses"))
    cvi.pl.latent(mdata, color="cell_type", **save("latent"))
    cvi.pl.accuracy(accuracy_table(mdata, model, setup), **save("c_accuracy"))
    cvi.pl.embedding_scores(embedding_scores(mdata, held_out), **save("embedding_scores"))
    known = {"labels": "cell_type", "predicted": "jamie_cell_type"}
    cvi.pl.confusion(mdata, **known, cells=held_out, **save("confusion"))
    cvi.pl.distribution_similarity(
        mdata, **scored, labels="cell_type", keys=["jamie", "knn"], **save("d_distribution_similarity")
    )
    cvi.pl.feature_by_type(
        mdata,
        **scored,
        labels="cell_type",
        features=["AP.width..ms.", "Max.number.of.APs"],
        **save("e_feature_by_type"),
    )
    cvi.pl.imputation_comparison(mdata, **scored, **save("f_imputation_comparison"))
    cvi.pl.imputation(mdata[held_out].copy(), **route, **save("imputation"))
    for target in ("ephys", "latent", "cell_type"):
        cvi.pl.explain(mdata, source="rna", target=target, **save(f"explain_{target}"))
    cvi.pl.ablation(by_gene, **save("ablation_genes"))
    cvi.pl.ablation(by_group, **save("ablation_groups"))
    perturbations(arguments.out)
    texts(arguments.out)


def perturbations(out: Path) -> None:
    """Figures of perturbations, those of two genes at once predicted from either: a simulated screen."""
    adata = cvi.data.perturbation_screen(n_obs=1_500, doubles=True)
    model = cvi.tl.otgm(adata, state_key="perturbation", control="control", layer="log1p", n_pcs=20)
    measured = model.rank_genes("gene0+gene1").set_index("gene")["delta"]

    def save(name: str) -> dict:
        return {"save": out / f"{name}.png", "show": False}

    cvi.pl.states(adata, model, **save("states"))
    cvi.pl.ranked_genes(model, "gene0", **save("ranked_genes"))
    cvi.pl.state_distances(model.distances(), **save("state_distances"))
    cvi.pl.shift(model.predict_combination(["gene0", "gene1"]), measured, **save("shift"))


def texts(out: Path) -> None:
    """Figures of cells and texts in one space: simulated types, described by their place in the order."""
    mdata = cvi.data.count_clusters(n_obs=600)
    adata = mdata["rna"].copy()
    adata.obs["type"] = mdata.obs["cell_type"].astype(str)
    types = sorted(adata.obs["type"].unique())
    described = {name: f"cells of the {rank} kind" for name, rank in zip(types, RANKS, strict=True)}
    model = cvi.tl.celltext(adata, labels_key="type", layer="log1p", descriptions=described, seed=0)
    sc.pp.neighbors(adata, use_rep="X_celltext")
    sc.tl.umap(adata)

    def save(name: str) -> dict:
        return {"groupby": "type", "save": out / f"{name}.png", "show": False}

    cvi.pl.nearest_texts(adata, model, corpus=list(described.values()), **save("nearest_texts"))
    cvi.pl.text_similarity(adata, model, **save("text_similarity"))
    cvi.pl.retrieval(adata, model, texts=["cells of the first kind", types[1]], k=100, **save("retrieval"))


def embedding_scores(mdata: md.MuData, cells: pd.Index) -> dict[str, pd.DataFrame]:
    """Scores of the latent of cells, and of principal components of either modality."""
    at = mdata.obs_names.get_indexer(cells)
    embeddings = {"JAMIE": mdata.obsm["X_jamie"][at]}
    for m, layer in (("rna", "log1p"), ("ephys", None)):
        components = sc.pp.pca(sc.pp.scale(mdata[m], layer=layer, copy=True), layer=layer, n_comps=10, copy=True)
        embeddings[f"PCA of {m}"] = components[cells].obsm["X_pca"]
    return {name: cvi.metrics.joint_embedding(z, mdata.obs["cell_type"].loc[cells]) for name, z in embeddings.items()}


def accuracy_table(mdata: md.MuData, model: cvi.model.JAMIE, setup: dict) -> pd.DataFrame:
    """FOSCTTM and label transfer accuracy of the held-out pairs for two presets and three seeds."""
    rows = []
    for preset in ("default", "integration"):
        for seed in range(3):
            if (preset, seed) != ("default", 0):
                model = cvi.tl.jamie(mdata.copy(), **setup, preset=preset, seed=seed)
            scores = cvi.tl.evaluate(mdata, model, labels="cell_type").query(
                "split == 'held_out' and method == 'JAMIE'"
            )
            values = scores.groupby("metric")["value"].mean()
            rows.append({"method": preset, "foscttm": values["foscttm"], "lta": values["lta"]})
    return pd.DataFrame(rows)


if __name__ == "__main__":
    main()
