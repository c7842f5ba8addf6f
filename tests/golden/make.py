"""Writes the golden models: what a version of couplevi saved, and what it then gave.

Run it once for each new format or model, from the version that saves it: ``python tests/golden/make.py [NAME ...]``.
Files that are there are never written again: they stand for what users have on their disks.
"""

import sys
from pathlib import Path

import anndata as ad
import mudata as md
import numpy as np
import scipy.sparse as sp
import torch

import couplevi as cvi
from couplevi._mudata import without_pulling

FOLDER = Path(__file__).parent
QUICK = {"max_epochs": 6, "enable_progress_bar": False, "accelerator": "cpu", "batch_size": 64}


def query(data, n=12):
    """New cells with the modalities of `data`: small whole numbers, and so the same on every machine."""
    rng = np.random.default_rng(0)

    def cells(adata):
        x = rng.integers(0, 6, (n, adata.n_vars)).astype(np.float32)
        new = ad.AnnData(x, var=adata.var[[]], layers=dict.fromkeys((k for k in adata.layers if k is not None), x))
        new.obs_names = [f"new{i}" for i in range(n)]
        return new

    if isinstance(data, ad.AnnData):
        return cells(data)
    with without_pulling():
        mdata = md.MuData({m: cells(adata) for m, adata in data.mod.items()})
    for key in data.obsp:
        links = sp.diags(np.where(np.arange(n) % 3, 0.5, 1.0).astype(np.float32)).tocsr()
        mdata.obsp[key], mdata.uns[key] = links, data.uns[key]
    return mdata


def two_modalities():
    """100 cells, 90 of them measured twice."""
    return cvi.data.branching_manifold(n_obs=100, n_features={"rna": 30, "ephys": 6}, paired=0.9, seed=3)


def three_modalities():
    """100 cells in three modalities; two are linked by a matrix of confidences, the others by name."""
    mdata = cvi.data.branching_manifold(n_obs=100, n_features={"rna": 30, "ephys": 6}, seed=4)
    morph = mdata["ephys"].copy()
    morph.X = morph.X[:, ::-1].copy()
    morph.var_names = [f"morph{j}" for j in range(morph.n_vars)]
    with without_pulling():
        mdata = md.MuData({"rna": mdata["rna"].copy(), "ephys": mdata["ephys"].copy(), "morph": morph[:60].copy()})
    cvi.pp.link(mdata, modalities=("rna", "ephys"), hide=0.1, seed=0)
    mdata.obsp["correspondence"].data[::3] = 0.5
    return mdata


def clusters():
    """120 cells of three types with counts."""
    return cvi.data.count_clusters(n_obs=120, n_clusters=3, n_features={"rna": 24, "atac": 20}, seed=5)


def jamie(seed=0):
    """Two modalities, partly paired."""
    mdata = two_modalities()
    torch.manual_seed(seed)
    cvi.model.JAMIE.setup_mudata(mdata, modalities=("rna", "ephys"), layers={"rna": "log1p"})
    model = cvi.model.JAMIE(mdata, n_latent=3, encoder_widths=(8,), n_pcs={"rna": 8})
    model.train(**QUICK)
    return model


def jamie_links(seed=0):
    """Three modalities, links with confidences, intervals, components of all, batch normalisation."""
    mdata = three_modalities()
    torch.manual_seed(seed)
    keys = {("rna", "ephys"): "correspondence"}
    cvi.model.JAMIE.setup_mudata(
        mdata, modalities=("rna", "ephys", "morph"), layers={"rna": "log1p"}, correspondence_key=keys
    )
    model = cvi.model.JAMIE(
        mdata, n_latent=3, encoder_widths=(8, 1.0), n_pcs={"rna": 8, "ephys": 4}, normalization="batch"
    )
    model.train(**QUICK)
    assert model.has_sd("rna", "ephys")
    return model


def cplmixvae_anndata(seed=0):
    """One modality, Gaussian."""
    adata = clusters()["rna"].copy()
    torch.manual_seed(seed)
    cvi.model.CplMixVAE.setup_anndata(adata, layer="log1p")
    model = cvi.model.CplMixVAE(adata, 4, n_state=2, n_hidden=8, n_pcs=8)
    model.train(max_epochs_prune=3, min_categories=3, min_consensus=0.0, **QUICK)
    return model


def cplmixvae_mudata(seed=0):
    """Two modalities, zero-inflated counts in one."""
    mdata = clusters()
    torch.manual_seed(seed)
    layers = {"rna": None, "atac": "log1p"}
    cvi.model.CplMixVAE.setup_mudata(mdata, modalities=("rna", "atac"), layers=layers)
    model = cvi.model.CplMixVAE(mdata, 4, n_state=2, n_hidden=8, n_pcs=8, likelihood={"rna": "zinb"})
    model.train(prune=False, **QUICK)
    return model


def outputs_jamie(model, data):
    """Latents of profiles and cells, imputations and their standard deviations where there are some."""
    given = {"cells": model.get_latent_representation(data)}
    for source in model.modalities_:
        given[f"latent_{source}"] = model.get_latent_representation(data, modality=source)
        for target in model.modalities_:
            if source != target:
                sd = model.has_sd(source, target)
                imputed = model.impute(source=source, target=target, adata=data, return_sd=sd)
                given[f"{target}_from_{source}"] = imputed.X
                if sd:
                    given[f"{target}_from_{source}_sd"] = imputed.layers["sd"]
    return given


def outputs_cplmixvae(model, data):
    """Probabilities, states and the evidence lower bound."""
    return {
        "probabilities": model.predict_probabilities(data).to_numpy(),
        "states": model.get_latent_representation(data),
        "elbo": np.array(model.get_elbo(data)),
    }


GOLDEN = {
    "jamie": (jamie, two_modalities, outputs_jamie),
    "jamie_links": (jamie_links, three_modalities, outputs_jamie),
    "cplmixvae_anndata": (cplmixvae_anndata, lambda: clusters()["rna"].copy(), outputs_cplmixvae),
    "cplmixvae_mudata": (cplmixvae_mudata, clusters, outputs_cplmixvae),
}
"""Name of each golden model: what makes it, its data, and what it gives."""


def main(names):
    for name in names or GOLDEN:
        folder = FOLDER / name
        if folder.exists():
            print(f"{name}: there already")
            continue
        make, data, outputs = GOLDEN[name]
        model = make()
        model.save(folder)
        np.savez_compressed(folder / "outputs.npz", **outputs(model, query(data())))
        print(name, *(f"{file.name} {file.stat().st_size / 1e3:.0f} kB" for file in sorted(folder.iterdir())))


if __name__ == "__main__":
    main(sys.argv[1:])
