"""Every figure of couplevi, on simulated cells: two modalities, a screen of perturbations, types described by texts.

    python demo/gallery.py --out gallery
    python demo/gallery.py --out docs/_static/gallery --dpi 75  # those of the documentation

With a MuData, modalities are those of Patch-seq cells: ``rna`` (counts in ``X``), ``ephys`` and ``obs["cell_type"]``.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import mudata as md
import numpy as np
import pandas as pd
import scanpy as sc
from PIL import Image

import couplevi as cvi

MODALITIES = ("rna", "ephys")
ROUTE = {"source": "rna", "target": "ephys"}
DPI = 150
"""Of saved figures."""
RANKS = ("first", "second", "third", "fourth", "fifth")


def main() -> None:
    """Train once, then draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", type=Path, nargs="?", help="MuData, .h5mu; simulated cells without one")
    parser.add_argument("--out", type=Path, default=Path("gallery"), help="folder of the figures")
    parser.add_argument("--dpi", type=int, help="dots per inch to which figures are shrunk, in 96 colours")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if hasattr(md, "set_options"):  # mudata before 0.4
        md.set_options(pull_on_update=False)

    def save(name: str) -> dict:
        return {"save": arguments.out / f"{name}.png", "show": False}

    modalities(
        cvi.data.branching_manifold(n_obs=300) if arguments.input is None else md.read_h5mu(arguments.input), save
    )
    chromatin(save)
    links(save)
    categories(save)
    perturbations(save)
    texts(save)
    if arguments.dpi is not None:
        for path in arguments.out.glob("*.png"):
            shrink(path, arguments.dpi / DPI)


def modalities(mdata: md.MuData, save: Callable[[str], dict]) -> None:
    """Figures of two modalities in one space, one fifth of the pairs held back."""
    mdata["rna"].layers["log1p"] = sc.pp.log1p(
        sc.pp.normalize_total(mdata["rna"], target_sum=1e4, copy=True), copy=True
    ).X
    cvi.pp.link(mdata, modalities=MODALITIES, hide=0.2)
    both = mdata["rna"].obs_names.intersection(mdata["ephys"].obs_names)
    setup = {"modalities": MODALITIES, "layers": {"rna": "log1p"}, "correspondence_key": "correspondence"}
    model = cvi.tl.jamie(mdata, **setup, seed=0)
    held_out = both[~model.is_fitted(both, *MODALITIES)]
    cvi.tl.umap(mdata)
    cvi.tl.impute(mdata, model, **ROUTE)
    cvi.tl.impute_baseline(mdata, model, **ROUTE, method="knn")
    cvi.tl.predict_labels(mdata, model, labels="cell_type", cells=mdata.obs_names.difference(held_out))
    for target in ("ephys", "latent", "cell_type"):
        cvi.tl.explain(mdata, model, source="rna", target=target, cells=mdata["rna"].obs_names[::6])
        cvi.pl.explain(mdata, source="rna", target=target, **save(f"explain_{target}"))
    cvi.pl.ablation(cvi.tl.ablate(mdata, model, **ROUTE, cells=held_out), **save("ablation_genes"))
    genes = mdata["rna"].var_names
    first = genes[np.argsort(-np.nansum(mdata["ephys"].varm["jamie_shap_from_rna"], axis=0))[:20]]
    groups = {"20 that matter most": first, "20 at random": genes[::20][:20], "all": genes}
    cvi.pl.ablation(cvi.tl.ablate(mdata, model, **ROUTE, groups=groups, cells=held_out), **save("ablation_groups"))
    cvi.pl.losses(model, **save("losses"))
    cvi.pl.latent(mdata, color=["cell_type", genes[0]], **save("latent"))
    cvi.pl.accuracy(accuracy_table(mdata, model, setup), **save("accuracy"))
    cvi.pl.embedding_scores(embedding_scores(mdata, held_out), **save("embedding_scores"))
    known = {"labels": "cell_type", "predicted": "jamie_cell_type"}
    cvi.pl.confusion(mdata, **known, cells=held_out, **save("confusion"))
    scored = {**ROUTE, "cells": held_out}
    shown = {"labels": "cell_type", "keys": ["jamie", "knn"]}
    cvi.pl.distribution_similarity(mdata, **scored, **shown, **save("distribution_similarity"))
    features = {"labels": "cell_type", "features": list(mdata["ephys"].var_names[:2])}
    cvi.pl.feature_by_type(mdata, **scored, **features, **save("feature_by_type"))
    cvi.pl.imputation_comparison(mdata, **scored, **save("imputation_comparison"))
    cvi.pl.imputation(mdata, **scored, n_features=4, **save("imputation"))


def chromatin(save: Callable[[str], dict]) -> None:
    """Figures of open and closed chromatin, imputed from RNA."""
    mdata = cvi.data.count_clusters(n_obs=400, n_features={"rna": 200, "atac": 400})
    mdata["atac"].X = (mdata["atac"].X > 0).astype(np.float32)
    cvi.pp.link(mdata, modalities=("rna", "atac"), hide=0.3)
    setup = {"modalities": ("rna", "atac"), "layers": {"rna": "log1p"}, "correspondence_key": "correspondence"}
    model = cvi.tl.jamie(mdata, **setup, seed=0)
    route = {"source": "rna", "target": "atac"}
    cvi.tl.impute(mdata, model, **route)
    cvi.tl.impute_baseline(mdata, model, **route, method="knn")
    cvi.pl.imputation(mdata, **route, n_features=4, **save("imputation_chromatin"))
    cvi.pl.imputation_comparison(mdata, **route, **save("imputation_comparison_chromatin"))
    features = {"labels": "cell_type", "features": list(mdata["atac"].var_names[:2])}
    cvi.pl.feature_by_type(mdata, **route, **features, **save("feature_by_type_chromatin"))


def links(save: Callable[[str], dict]) -> None:
    """Figure of links that were inferred."""
    mdata = cvi.data.branching_manifold(n_obs=150)
    cvi.tl.match(mdata, modalities=MODALITIES, layers={"rna": "log1p"})
    cvi.pl.match(mdata, labels="cell_type", **save("match"))


def categories(save: Callable[[str], dict]) -> None:
    """Figures of types and states that were found without labels."""
    adata = cvi.data.count_clusters(n_obs=600, n_clusters=6)["rna"]
    model = cvi.tl.cplmixvae(
        adata, n_categories=9, layers="log1p", seed=0, train_kwargs={"max_epochs": 60, "max_connectivity": 0.6}
    )
    cvi.pl.pruning(adata, **save("pruning"))
    cvi.pl.consensus(adata, **save("consensus"))
    cvi.pl.state_traversal(model, "0", n_features=20, **save("state_traversal"))


def perturbations(save: Callable[[str], dict]) -> None:
    """Figures of perturbations, those of two genes at once predicted from either."""
    adata = cvi.data.perturbation_screen(n_obs=1_500, doubles=True)
    model = cvi.tl.otgm(adata, state_key="perturbation", control="control", layer="log1p", n_pcs=20)
    measured = model.rank_genes("gene0+gene1").set_index("gene")["delta"]
    cvi.pl.states(adata, model, **save("states"))
    cvi.pl.ranked_genes(model, "gene0", **save("ranked_genes"))
    cvi.pl.state_distances(model.distances(), **save("state_distances"))
    cvi.pl.shift(model.predict_combination(["gene0", "gene1"]), measured, **save("shift"))


def texts(save: Callable[[str], dict]) -> None:
    """Figures of cells and texts in one space: types, described by their place in the order."""
    mdata = cvi.data.count_clusters(n_obs=600)
    adata = mdata["rna"].copy()
    adata.obs["type"] = mdata.obs["cell_type"].astype(str)
    types = sorted(adata.obs["type"].unique())
    described = {name: f"cells of the {rank} kind" for name, rank in zip(types, RANKS, strict=True)}
    model = cvi.tl.celltext(adata, labels_key="type", layer="log1p", descriptions=described, seed=0)
    sc.pp.neighbors(adata, use_rep="X_celltext")
    sc.tl.umap(adata)
    shown = {"groupby": "type"}
    cvi.pl.nearest_texts(adata, model, corpus=list(described.values()), **shown, **save("nearest_texts"))
    cvi.pl.text_similarity(adata, model, **shown, **save("text_similarity"))
    asked = {"texts": ["cells of the first kind", types[1]], "k": 100}
    cvi.pl.retrieval(adata, model, **asked, **shown, **save("retrieval"))


def embedding_scores(mdata: md.MuData, cells: pd.Index) -> dict[str, pd.DataFrame]:
    """Scores of the latent of cells, and of principal components of either modality."""
    at = mdata.obs_names.get_indexer(cells)
    embeddings = {"JAMIE": mdata.obsm["X_jamie"][at]}
    for m, layer in (("rna", "log1p"), ("ephys", None)):
        components = sc.pp.pca(sc.pp.scale(mdata[m], layer=layer, copy=True), layer=layer, n_comps=10, copy=True)
        embeddings[f"PCA of {m}"] = components[cells].obsm["X_pca"]
    return {name: cvi.metrics.joint_embedding(z, mdata.obs["cell_type"].loc[cells]) for name, z in embeddings.items()}


def accuracy_table(mdata: md.MuData, model: cvi.model.JAMIE, setup: dict) -> pd.DataFrame:
    """FOSCTTM and label transfer accuracy of the held-out pairs for two presets and two seeds."""
    rows = []
    for preset in ("default", "integration"):
        for seed in range(2):
            if (preset, seed) != ("default", 0):
                model = cvi.tl.jamie(mdata.copy(), **setup, preset=preset, seed=seed)
            scores = cvi.tl.evaluate(mdata, model, labels="cell_type").query(
                "split == 'held_out' and method == 'JAMIE'"
            )
            values = scores.groupby("metric")["value"].mean()
            rows.append({"method": preset, "foscttm": values["foscttm"], "lta": values["lta"]})
    return pd.DataFrame(rows)


def shrink(path: Path, scale: float) -> None:
    """Make a figure as small as a page needs it."""
    image = Image.open(path).convert("RGB")
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
    few = image.quantize(96, method=Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


if __name__ == "__main__":
    main()
