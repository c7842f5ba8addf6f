"""Simulated MuData whose latent, clusters and pairs are known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import anndata as ad
import mudata as md
import numpy as np
import pandas as pd
import scipy.sparse as sp

from couplevi._constants import Key
from couplevi._mudata import without_pulling
from couplevi._validate import check_count, expected

if TYPE_CHECKING:
    from couplevi._types import FloatArray


def branching_manifold(
    n_obs: int = 300,
    *,
    n_features: Mapping[str, int] | None = None,
    paired: float = 1.0,
    noise: float = 0.5,
    sparse: bool = False,
    seed: int = 0,
) -> md.MuData:
    """Cells on a plane with three branches, seen through two smooth maps: RNA and electrophysiology.

    A stand-in for the branching simulation of MMD-MA that the JAMIE paper starts with: both modalities depend on
    the same two-dimensional latent position, each through its own non-linear map, plus Gaussian noise.

    Parameters
    ----------
    n_obs
        Number of cells, at least 10.
    n_features
        Features of ``"rna"`` and ``"ephys"``; the default is ``{"rna": 400, "ephys": 40}``.
    paired
        Share of the cells measured in both modalities, in [0, 1]. Half of the others keep only their RNA, half
        only their ephys. The same seed with ``paired=1`` gives the same cells complete.
    noise
        Standard deviation of the noise relative to that of the signal of each feature, at least 0.
    sparse
        Store RNA as CSR. Its values below the median are zero either way.
    seed
        Reproduces all values, names and which cells are paired.

    Returns
    -------
    MuData with modalities ``"rna"`` (``X``: expression, at least 0; ``layers["log1p"]``: its log1p) and
    ``"ephys"`` (features of different scale and offset), ``obs["cell_type"]`` (the branch, three values),
    ``obs["pseudotime"]`` (in [0, 1]) and ``obsm["latent_true"]`` (the planted position, shape ``(n_obs, 2)``).

    References
    ----------
    Liu et al., Jointly embedding multiple single-cell omics measurements, WABI 2019 (MMD-MA).

    Examples
    --------
    >>> import couplevi as cvi
    >>> mdata = cvi.data.branching_manifold(n_obs=100, paired=0.5, seed=0)
    >>> mdata.shape, mdata["rna"].n_obs, mdata["ephys"].n_obs
    ((100, 440), 75, 75)
    """
    check_count(n_obs, "n_obs", minimum=10)
    features = _features(n_features, {"rna": 400, "ephys": 40})
    rng = np.random.default_rng(seed)
    branch = rng.permutation(np.arange(n_obs) % 3)
    pseudotime = rng.uniform(size=n_obs)
    position = _branch_position(branch, pseudotime, rng)

    log_expression = _smooth_map(position, features["rna"], noise, rng)
    log_expression = np.maximum(log_expression - np.median(log_expression), 0)
    ephys = _smooth_map(position, features["ephys"], noise, rng)
    ephys = rng.lognormal(0, 2, features["ephys"]) * (ephys + rng.normal(0, 3, features["ephys"]))
    obs = pd.DataFrame({"cell_type": pd.Categorical(np.array(["A", "B", "C"])[branch]), "pseudotime": pseudotime})
    return _assemble({"rna": np.expm1(log_expression), "ephys": ephys}, obs, position, paired, sparse, rng)


def count_clusters(
    n_obs: int = 500,
    *,
    n_clusters: int = 5,
    n_features: Mapping[str, int] | None = None,
    paired: float = 1.0,
    depth: float = 2000.0,
    sparse: bool = False,
    seed: int = 0,
) -> md.MuData:
    """Counts of RNA and accessibility from cell types with a gradient inside each.

    Expression is negative binomial with a library size of its own in each cell, accessibility is Poisson; the log
    of both rates is linear in the same latent position.

    Parameters
    ----------
    n_obs
        Number of cells, at least 10.
    n_clusters
        Number of cell types, at least 1.
    n_features
        Features of ``"rna"`` and ``"atac"``; the default is ``{"rna": 500, "atac": 1000}``.
    paired
        Share of the cells measured in both modalities, in [0, 1]; the others are measured in one.
    depth
        Mean total count of a cell in RNA; accessibility has half as many.
    sparse
        Store the counts as CSR.
    seed
        Reproduces all values, names and which cells are paired.

    Returns
    -------
    MuData with integer counts (float32) in ``X`` of ``"rna"`` and ``"atac"``, log1p of counts per 10,000 in their
    ``layers["log1p"]``, ``obs["cell_type"]`` and ``obsm["latent_true"]``, shape ``(n_obs, 6)``.

    Examples
    --------
    >>> import couplevi as cvi
    >>> mdata = cvi.data.count_clusters(n_obs=60, n_clusters=3, sparse=True)
    >>> mdata["rna"].X.dtype, mdata.obs["cell_type"].nunique()
    (dtype('float32'), 3)
    """
    check_count(n_obs, "n_obs", minimum=10)
    check_count(n_clusters, "n_clusters")
    features = _features(n_features, {"rna": 500, "atac": 1000})
    rng = np.random.default_rng(seed)
    n_latent = 6
    cluster = rng.permutation(np.arange(n_obs) % n_clusters)
    centres, gradients = rng.normal(0, 1, (2, n_clusters, n_latent))
    position = centres[cluster] + 0.5 * rng.uniform(-1, 1, (n_obs, 1)) * gradients[cluster]

    counts = {}
    for modality, total in (("rna", depth), ("atac", depth / 2)):
        log_rate = rng.normal(0, 1, features[modality]) + 0.5 * position @ rng.normal(
            0, 1, (n_latent, features[modality])
        )
        rate = np.exp(log_rate - log_rate.max(axis=1, keepdims=True))
        rate *= total * rng.lognormal(0, 0.3, (n_obs, 1)) / rate.sum(axis=1, keepdims=True)
        # a gamma-distributed rate makes the Poisson count negative binomial, with variance mean + mean^2 / 4
        counts[modality] = rng.poisson(rate * rng.gamma(4, 1 / 4, rate.shape) if modality == "rna" else rate)
    obs = pd.DataFrame({"cell_type": pd.Categorical([f"type{c}" for c in cluster])})
    mdata = _assemble(counts, obs, position, paired, sparse, rng)
    for adata in mdata.mod.values():
        total = np.maximum(np.asarray(adata.X.sum(axis=1)).reshape(-1, 1), 1)
        scaled = adata.X.multiply(1e4 / total).tocsr() if sparse else adata.X * (1e4 / total)
        adata.layers[Key.layers.LOG1P] = np.log1p(scaled).astype(np.float32)
    return mdata


def _features(given: Mapping[str, int] | None, default: dict[str, int]) -> dict[str, int]:
    if given is not None and (not isinstance(given, Mapping) or set(given) - set(default)):
        raise ValueError(expected(f"`n_features` to map names among {list(default)} to numbers", repr(given)))
    features = {**default, **(given or {})}
    for modality, n in features.items():
        check_count(n, f"n_features[{modality!r}]")
    return features


def _branch_position(branch: np.ndarray, pseudotime: np.ndarray, rng: np.random.Generator) -> FloatArray:
    """Branches leave the centre in three directions, bend, and have some width."""
    angle = 2 * np.pi * branch / 3 + 0.5 * pseudotime
    radius = 0.15 + pseudotime
    position = radius[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
    return position + rng.normal(0, 0.1, position.shape)


def _smooth_map(position: FloatArray, n_features: int, noise: float, rng: np.random.Generator) -> FloatArray:
    """Each feature is a random wave over the latent plane, with unit variance, plus noise."""
    direction = rng.normal(0, 1.5, (position.shape[1], n_features))
    wave = np.sin(position @ direction + rng.uniform(0, 2 * np.pi, n_features))
    wave = (wave - wave.mean(axis=0)) / wave.std(axis=0)
    return wave + rng.normal(0, noise, wave.shape)


def _assemble(
    values: dict[str, FloatArray],
    obs: pd.DataFrame,
    position: FloatArray,
    paired: float,
    sparse: bool,
    rng: np.random.Generator,
) -> md.MuData:
    if not 0 <= paired <= 1:
        raise ValueError(expected("`paired` to be between 0 and 1", paired))
    n_obs = len(obs)
    names = np.array([f"cell{i}" for i in range(n_obs)])
    single = rng.permutation(n_obs)[round(paired * n_obs) :]
    modalities = {}
    for k, (modality, x) in enumerate(values.items()):
        keep = np.setdiff1d(np.arange(n_obs), single[k :: len(values)])
        x = x[keep].astype(np.float32)
        is_expression = modality != "ephys"
        adata = ad.AnnData(sp.csr_matrix(x) if sparse and is_expression else x)
        adata.obs_names = names[keep]
        adata.var_names = [f"{modality}{j}" for j in range(x.shape[1])]
        if is_expression:
            adata.layers[Key.layers.LOG1P] = np.log1p(adata.X)
        modalities[modality] = adata
    with without_pulling():
        mdata = md.MuData(modalities)
    order = pd.Index(names).get_indexer(mdata.obs_names)
    for column in obs:
        mdata.obs[column] = obs[column].array[order]
    mdata.obsm[Key.obsm.TRUTH] = position[order].astype(np.float32)
    return mdata
