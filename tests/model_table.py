"""One row for each model: what the tests of contract, documentation and files need to know of it."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import anndata as ad
import mudata as md
import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from small import WORDS, worded

import couplevi as cvi
from couplevi._mudata import without_pulling

BOTH = ("rna", "atac")
LAYERS = {"rna": "log1p", "atac": "log1p"}
QUICK = {"enable_progress_bar": False, "accelerator": "cpu"}


class Row(NamedTuple):
    """A model as the tests know it."""

    cls: type
    settings: Mapping[str, Any]
    """Of a small model."""
    train: Mapping[str, Any]
    """What its training takes besides `max_epochs`."""
    gives: Callable[..., dict[str, np.ndarray]]
    """All that a model says of data: its own, or given ones, or those of one modality."""
    golden: Mapping[str, tuple[Callable[[], Any], Callable[[], Any]]]
    """Models in ``tests/golden`` by name: what makes them, and data like theirs."""
    setup: Mapping[str, Any] = MappingProxyType({})
    """What its set-up takes besides modalities and layers."""


def fresh(n=80):
    """Cells of which a quarter was measured in each modality alone."""
    mdata = cvi.data.count_clusters(n_obs=n, n_features={"rna": 60, "atac": 40}, seed=1)
    parts = {"rna": mdata["rna"][: 3 * n // 4], "atac": mdata["atac"][n // 4 :]}
    varies = {
        m: np.asarray(part.X.todense() if sp.issparse(part.X) else part.X).std(axis=0) > 0 for m, part in parts.items()
    }
    fresh = md.MuData({m: part[:, varies[m]].copy() for m, part in parts.items()})
    fresh.obs["cell_type"] = mdata.obs["cell_type"].reindex(fresh.obs_names)
    return fresh


def build(name, mdata, modalities=BOTH, seed=0):
    """A small model, set up and not trained."""
    row = MODELS[name]
    row.cls.setup_mudata(mdata, modalities=modalities, layers=LAYERS, **row.setup)
    torch.manual_seed(seed)
    return row.cls(mdata, **row.settings)


def fit(name, mdata, modalities=BOTH, seed=0, epochs=2):
    """A small model, trained for some epochs."""
    model = build(name, mdata, modalities, seed)
    model.train(max_epochs=epochs, **QUICK, **MODELS[name].train)
    return model


def gives(model, data=None, modality=None):
    """All that a model says of data."""
    return MODELS[type(model).__name__].gives(model, data, modality)


def assert_same(found, expected, **tolerance):
    """Both say the same of the same things, to the last digit unless a tolerance is given."""
    assert found.keys() == expected.keys()
    for name in found:
        if tolerance:
            np.testing.assert_allclose(found[name], expected[name], err_msg=name, **tolerance)
        else:
            np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def query(data, n=12):
    """New cells with the modalities of `data`: small whole numbers, and so the same on every machine."""
    rng = np.random.default_rng(0)

    def cells(adata):
        x = rng.integers(0, 6, (n, adata.n_vars)).astype(np.float32)
        new = ad.AnnData(x, var=adata.var[[]], layers=dict.fromkeys((k for k in adata.layers if k is not None), x))
        new.obs_names = [f"new{i}" for i in range(n)]
        for key, values in adata.obsm.items():
            new.obsm[key] = x[:, : values.shape[1]]
        return new

    if isinstance(data, ad.AnnData):
        new = cells(data)
        for key, values in data.obs.items():
            new.obs[key] = values.to_numpy()[:n]
        return new
    with without_pulling():
        mdata = md.MuData({m: cells(adata) for m, adata in data.mod.items()})
    for key, values in data.obs.items():
        mdata.obs[key] = values.to_numpy()[:n]
    for key in data.obsp:
        links = sp.diags(np.where(np.arange(n) % 3, 0.5, 1.0).astype(np.float32)).tocsr()
        mdata.obsp[key], mdata.uns[key] = links, data.uns[key]
    return mdata


# JAMIE


def two_modalities():
    """100 cells, 90 of them measured twice."""
    return cvi.data.branching_manifold(n_obs=100, n_features={"rna": 30, "ephys": 6}, paired=0.9, seed=3)


def linked_modalities():
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


def jamie():
    """Two modalities, partly paired."""
    mdata = two_modalities()
    torch.manual_seed(0)
    cvi.model.JAMIE.setup_mudata(mdata, modalities=("rna", "ephys"), layers={"rna": "log1p"})
    model = cvi.model.JAMIE(mdata, n_latent=3, encoder_widths=(8,), n_pcs={"rna": 8})
    model.train(max_epochs=6, batch_size=64, **QUICK)
    return model


def jamie_links():
    """Three modalities, links with confidences, intervals, components of all, batch normalisation."""
    mdata = linked_modalities()
    torch.manual_seed(0)
    keys = {("rna", "ephys"): "correspondence"}
    cvi.model.JAMIE.setup_mudata(
        mdata, modalities=("rna", "ephys", "morph"), layers={"rna": "log1p"}, correspondence_key=keys
    )
    model = cvi.model.JAMIE(
        mdata, n_latent=3, encoder_widths=(8, 1.0), n_pcs={"rna": 8, "ephys": 4}, normalization="batch"
    )
    model.train(max_epochs=6, batch_size=64, **QUICK)
    assert model.has_sd("rna", "ephys")
    return model


def matched_modalities():
    """100 cells: a representation, links that were inferred, and none that are given but those by name."""
    mdata = two_modalities()
    mdata["rna"].obsm["scores"] = mdata["rna"].layers["log1p"][:, :7].copy()
    names = mdata["rna"].obs_names[:40], mdata["ephys"].obs_names[:40]
    table = pd.DataFrame({"ephys": names[1], "rna": names[0], "confidence": np.where(np.arange(40) % 2, 0.5, 1.0)})
    cvi.pp.link(mdata, modalities=("ephys", "rna"), pairs=table, key_added="match")
    return mdata


def jamie_match():
    """A representation in place of a layer, and inferred links."""
    mdata = matched_modalities()
    torch.manual_seed(0)
    keys = {("ephys", "rna"): "match"}
    cvi.model.JAMIE.setup_mudata(mdata, modalities=("rna", "ephys"), use_rep={"rna": "scores"}, match_key=keys)
    model = cvi.model.JAMIE(mdata, n_latent=3, encoder_widths=(8,), match_weight=0.3)
    model.train(max_epochs=6, batch_size=64, **QUICK)
    return model


def gives_jamie(model, data=None, modality=None):
    """Latents of profiles and cells, imputations and their standard deviations where there are some."""
    if modality is not None:
        return {f"latent_{modality}": model.get_latent_representation(data, modality=modality)}
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


# CplMixVAE


def clusters():
    """120 cells of three types with counts."""
    return cvi.data.count_clusters(n_obs=120, n_clusters=3, n_features={"rna": 24, "atac": 20}, seed=5)


def cplmixvae_anndata():
    """One modality, Gaussian."""
    adata = clusters()["rna"].copy()
    torch.manual_seed(0)
    cvi.model.CplMixVAE.setup_anndata(adata, layer="log1p")
    model = cvi.model.CplMixVAE(adata, 4, n_state=2, n_hidden=8, n_pcs=8)
    model.train(max_epochs=6, max_epochs_prune=3, min_categories=3, min_consensus=0.0, batch_size=64, **QUICK)
    return model


def cplmixvae_mudata():
    """Two modalities, zero-inflated counts in one."""
    mdata = clusters()
    torch.manual_seed(0)
    cvi.model.CplMixVAE.setup_mudata(mdata, modalities=BOTH, layers={"rna": None, "atac": "log1p"})
    model = cvi.model.CplMixVAE(mdata, 4, n_state=2, n_hidden=8, n_pcs=8, likelihood={"rna": "zinb"})
    model.train(max_epochs=6, prune=False, batch_size=64, **QUICK)
    return model


def labelled_clusters():
    """120 cells of one modality with counts, two of three types with labels, and two batches."""
    adata = clusters()["rna"].copy()
    cell_type = clusters().obs["cell_type"].astype(str)
    adata.obs["known"] = cell_type.where(cell_type != cell_type.iloc[-1])
    adata.obs["batch"] = np.where(np.arange(adata.n_obs) % 3, "a", "b")
    return adata


def cplmixvae_labels():
    """Counts with effects of depth and batches, categories of labels beside others."""
    adata = labelled_clusters()
    torch.manual_seed(0)
    cvi.model.CplMixVAE.setup_anndata(adata, labels_key="known", batch_key="batch")
    model = cvi.model.CplMixVAE(adata, 4, n_state=2, n_hidden=4, n_pcs=4, likelihood="nb")
    model.train(max_epochs=6, prune=False, batch_size=64, **QUICK)
    return model


def gives_cplmixvae(model, data=None, modality=None):
    """Probabilities, states and, of all modalities, the evidence lower bound."""
    given = {
        "probabilities": model.predict_probabilities(data, modality=modality).to_numpy(),
        "states": model.get_latent_representation(data, modality=modality),
    }
    return given if modality is not None else {**given, "elbo": np.array(model.get_elbo(data))}


# JAE


def labelled_donors():
    """100 cells with counts, 80 of them measured twice; those of one of two donors have labels, all a place in the cycle."""
    mdata = cvi.data.count_clusters(n_obs=100, n_clusters=3, n_features={"rna": 30, "atac": 12}, seed=7)
    cell_type = mdata.obs["cell_type"].astype(str)
    with without_pulling():
        mdata = md.MuData({"rna": mdata["rna"][:90].copy(), "atac": mdata["atac"][10:].copy()})
    n = np.arange(100)
    cells = [f"cell{i}" for i in n]
    mdata.obs["donor"] = pd.Series(np.where(n % 2, "a", "b"), cells).reindex(mdata.obs_names)
    mdata.obs["known"] = cell_type.where(pd.Series(n % 2 == 0, cells)).reindex(mdata.obs_names)
    for i, key in enumerate(("S_score", "G2M_score")):
        mdata.obs[key] = pd.Series(np.where(n % 5, np.sin(n + i), np.nan), cells).reindex(mdata.obs_names)
    return mdata


def jae():
    """Counts of one modality and log values of another, labels of one batch, the cell cycle."""
    mdata = labelled_donors()
    torch.manual_seed(0)
    cycle = ("S_score", "G2M_score")
    keys = {"labels_key": "known", "batch_key": "donor", "cell_cycle_keys": cycle}
    cvi.model.JAE.setup_mudata(mdata, modalities=BOTH, layers={"atac": "log1p"}, **keys)
    model = cvi.model.JAE(mdata, n_free=3, encoder_widths=(8,), n_pcs={"rna": 8})
    model.train(max_epochs=20, batch_size=64, **QUICK)
    return model


def jae_paper():
    """The published blocks: the latent itself, with one for the batch."""
    mdata = labelled_donors()
    torch.manual_seed(0)
    keys = {"labels_key": "known", "batch_key": "donor"}
    cvi.model.JAE.setup_mudata(mdata, modalities=BOTH, layers={"atac": "log1p"}, **keys)
    model = cvi.model.JAE(mdata, "paper", n_free=3, encoder_widths=(8,), n_pcs={"rna": 8})
    model.train(max_epochs=5, batch_size=64, **QUICK)
    return model


def gives_jae(model, data=None, modality=None):
    """Where cells are, their labels and how typical they are of them, and the errors of reconstruction."""
    given = {
        "cells": model.get_latent_representation(data, modality=modality),
        "labels": model.predict_labels(data, modality=modality, soft=True).to_numpy(),
        "typicality": model.get_typicality(data, modality=modality).to_numpy(),
    }
    if modality is not None:
        return given
    given |= {f"cells_{m}": model.get_latent_representation(data, modality=m) for m in model.modalities_}
    return {**given, "errors": np.array(list(model.get_reconstruction_error(data).values()))}


# OTGM


def knock_downs():
    """120 cells of a control and of two knock-downs, with cell types and batches."""
    adata = cvi.data.perturbation_screen(n_obs=120, n_perturbations=2, n_features=50, seed=6)
    adata.obs["type"] = np.where(np.arange(120) // 2 % 2, "s", "t")
    adata.obs["batch"] = np.where(np.arange(120) % 3, "x", "y")
    return adata


def otgm():
    """Within types, batches removed."""
    adata = knock_downs()
    keys = {"state_key": "perturbation", "control": "control", "group_key": "type", "batch_key": "batch"}
    cvi.model.OTGM.setup_anndata(adata, **keys, layer="log1p")
    model = cvi.model.OTGM(adata, n_pcs=4)
    model.train()
    return model


def gives_otgm(model, data=None):
    """Scores and states of cells, shifts of genes, distances, and cells that were moved."""
    moved = model.perturb(data, "gene1")
    return {
        "scores": model.get_latent_representation(data),
        "states": model.predict_state(data, soft=True).to_numpy(),
        "z": model.rank_genes("gene0").set_index("gene").loc[list(model.var_names_["adata"]), "z"].to_numpy(),
        "distances": model.distances(subtract_noise=False).to_numpy(),
        "moved": moved.X,
    }


# CellText


def described():
    """90 cells with counts, of fifteen types."""
    return worded(n=90, n_features=20, counts=True)[0]


def words(texts):
    """Which of six words a text has."""
    return np.array([[word in text for word in WORDS] for text in texts], dtype=float) + 0.01


def celltext():
    """Counts, and texts by a function."""
    adata, texts = described(), worded(n=90)[1]
    torch.manual_seed(0)
    cvi.model.CellText.setup_anndata(adata, labels_key="type")
    model = cvi.model.CellText(adata, descriptions=texts, text_encoder=words, n_pcs=4, n_hidden=4)
    model.train(max_epochs=3, **QUICK)
    return model


def gives_celltext(model, data=None):
    """Where cells are, what they are named and how typical they are of it, of types that were seen; drawn cells."""
    return {
        "cells": model.get_latent_representation(data),
        "labels": model.annotate(data, model.labels_).to_numpy(),
        "typicality": model.get_typicality(data, model.labels_[:5]).to_numpy(),
        "drawn": model.generate(model.labels_[0], 3).X,
    }


SINGLE = {
    "otgm": (otgm, knock_downs, gives_otgm),
    "celltext": (celltext, described, gives_celltext),
}
"""Models in ``tests/golden`` of an AnnData: what makes them, data like theirs, and what they give."""


MODELS = {
    "JAMIE": Row(
        cvi.model.JAMIE,
        settings={"n_latent": 4},
        train={},
        gives=gives_jamie,
        golden={
            "jamie": (jamie, two_modalities),
            "jamie_links": (jamie_links, linked_modalities),
            "jamie_match": (jamie_match, matched_modalities),
        },
    ),
    "JAE": Row(
        cvi.model.JAE,
        settings={"n_free": 3, "encoder_widths": (16,)},
        train={},
        gives=gives_jae,
        golden={"jae": (jae, labelled_donors), "jae_paper": (jae_paper, labelled_donors)},
        setup={"labels_key": "cell_type"},
    ),
    "CplMixVAE": Row(
        cvi.model.CplMixVAE,
        settings={"n_categories": 3, "batch_size": 64},
        train={"prune": False},
        gives=gives_cplmixvae,
        golden={
            "cplmixvae_anndata": (cplmixvae_anndata, lambda: clusters()["rna"].copy()),
            "cplmixvae_mudata": (cplmixvae_mudata, clusters),
            "cplmixvae_labels": (cplmixvae_labels, labelled_clusters),
        },
    ),
}
