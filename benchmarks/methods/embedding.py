"""Embeddings of cells measured in two modalities, with what is taken for their labels where these are hidden."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import mudata as md
import numpy as np
import scipy.sparse as sp
import scvi
from sklearn.decomposition import TruncatedSVD

import couplevi as cvi
from benchmarks.tasks.labelled import logarithms

QUIET = {"enable_progress_bar": False}
N_COMPONENTS = 100
FEW_FEATURES = 150
"""Up to which there are no components."""

Embedding: TypeAlias = Callable[[md.MuData, int, str | None], tuple[np.ndarray, np.ndarray | None]]
"""Takes cells with counts in ``X`` and ``obs["batch"]``, a seed and the column of known labels, or None; gives where
cells are, and labels, None if the method predicts none."""


def svd(mdata: md.MuData, seed: int, labels: str | None) -> tuple[np.ndarray, None]:
    """Components of the log10 of counts per 10,000 of each modality, side by side."""
    parts = []
    for adata in mdata.mod.values():
        values = logarithms(adata.X) / np.log(10)
        few = values.shape[1] <= FEW_FEATURES
        parts.append(values.toarray() if few else TruncatedSVD(N_COMPONENTS, random_state=seed).fit_transform(values))
    return np.hstack(parts), None


def jae(
    mdata: md.MuData, seed: int, labels: str | None, train_size: float = 1.0, **settings: Any
) -> tuple[np.ndarray, np.ndarray | None]:
    cvi.tl.jae(
        mdata,
        modalities=list(mdata.mod),
        labels_key=labels,
        batch_key="batch",
        seed=seed,
        train_kwargs={**QUIET, "train_size": train_size},
        **settings,
    )
    return mdata.obsm["X_jae"], mdata.obs["jae_label"].astype(str).to_numpy() if labels else None


def jamie(mdata: md.MuData, seed: int, labels: str | None) -> tuple[np.ndarray, None]:
    modalities = list(mdata.mod)
    layers = dict.fromkeys(modalities, "log1p")
    cvi.tl.jamie(mdata, modalities=modalities, layers=layers, batch_key="batch", seed=seed, train_kwargs=QUIET)
    return mdata.obsm["X_jamie"], None


def totalvi(mdata: md.MuData, seed: int, labels: str | None) -> tuple[np.ndarray, None]:
    scvi.settings.seed = seed
    cells = mdata["rna"].copy()
    cells.X = sp.csr_matrix(cells.X, dtype=np.float32)
    cells.obs["batch"] = mdata.obs["batch"].to_numpy()
    counts = mdata["protein"].X
    cells.obsm["protein"] = counts.toarray() if sp.issparse(counts) else np.asarray(counts)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scvi.model.TOTALVI.setup_anndata(cells, protein_expression_obsm_key="protein", batch_key="batch")
        model = scvi.model.TOTALVI(cells)
        model.train(**QUIET)
        return model.get_latent_representation(), None


EMBEDDINGS: dict[str, Embedding] = {
    "SVD": svd,
    "totalVI": totalvi,
    "JAMIE": jamie,
    "JAE, paper": partial(jae, preset="paper", train_size=0.9),
    "JAE": jae,
}
LABELLING = ("JAE, paper", "JAE")
"""Methods that use labels."""
