from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import scanpy as sc

from couplevi._constants import Key
from couplevi._validate import check_count, check_modality, check_mudata, check_obs_names, check_slot, expected, listing

if TYPE_CHECKING:
    from mudata import MuData

FEWEST = 4
"""Points that UMAP's start needs: more than the three eigenvectors that it computes."""


def umap(
    mdata: MuData,
    *,
    modalities: Sequence[str] | None = None,
    n_neighbors: int = 15,
    min_dist: float = 0.5,
    seed: int = 0,
    key_added: str = "jamie",
) -> None:
    """One UMAP for the profiles of all modalities and for the cells, so that their positions can be compared.

    :func:`couplevi.pl.latent` draws it, and so does ``sc.pl.embedding(mdata["rna"], "jamie_umap")``. ``sc.pl.umap`` does
    not: it reads ``obsm["X_umap"]``, which is left to scanpy's own UMAP of a modality.

    Parameters
    ----------
    mdata
        MuData with latents, as written by :func:`couplevi.tl.jamie`.
    modalities
        Modalities to place; None takes those of the model.
    n_neighbors
        Neighbours of each profile and cell in the graph that is drawn: more show the whole, fewer the detail. As of
        :func:`scanpy.pp.neighbors`.
    min_dist
        How close to each other points may be drawn: less makes tighter groups. As of :func:`scanpy.tl.umap`.
    seed
        Reproduces the positions.
    key_added
        Name of the latents that are read, and of the slots that are written.

    Returns
    -------
    Nothing; writes ``mdata[m].obsm["X_jamie_umap"]`` and ``mdata.obsm["X_jamie_umap"]``, shapes ``(n_m, 2)`` and
    ``(n_obs, 2)``, float32; NaN for cells without a latent.

    Raises
    ------
    TypeError
        If `mdata` is not a MuData.
    KeyError
        If there are no latents.
    ValueError
        If fewer than 4 profiles and cells have one.

    Examples
    --------
    >>> import couplevi as cvi
    >>> mdata = cvi.data.branching_manifold(n_obs=100)
    >>> quick = {"max_epochs": 2, "enable_progress_bar": False}
    >>> model = cvi.tl.jamie(mdata, modalities=("rna", "ephys"), train_kwargs=quick)
    >>> cvi.tl.umap(mdata)
    >>> mdata["rna"].obsm["X_jamie_umap"].shape
    (100, 2)
    >>> import scanpy as sc
    >>> ax = sc.pl.embedding(mdata["rna"], "jamie_umap", color="rna0", layer="log1p", show=False)
    """
    check_mudata(mdata)
    check_slot(key_added, "key_added")
    check_count(n_neighbors, "n_neighbors", minimum=2)
    latent, shared = Key.obsm.latent(key_added), Key.obsm.shared(key_added)
    if modalities is None:
        modalities = list(mdata.uns.get(key_added, {}).get(Key.uns.MODALITIES, []))
    places = [mdata]
    check_obs_names(mdata, [m for m in modalities if m in mdata.mod])
    for m in modalities:
        check_modality(mdata, m, "modalities")
        places.append(mdata[m])
    if any(latent not in place.obsm for place in places):
        found = "none in " + listing([m for m in modalities if latent not in mdata[m].obsm] or ["mdata.obsm"])
        raise KeyError(expected(f"latents in `.obsm[{latent!r}]`", found, "Run `cvi.tl.jamie` first."))
    stacked = np.concatenate([place.obsm[shared if shared in place.obsm else latent] for place in places])
    placed = np.isfinite(stacked).all(axis=1)
    if placed.sum() < FEWEST:
        remedy = "The graph of so few has no layout: draw the latents themselves."
        raise ValueError(expected(f"at least {FEWEST} profiles and cells with a latent", int(placed.sum()), remedy))
    together = ad.AnnData(obsm={latent: stacked[placed]}, shape=(int(placed.sum()), 0))
    sc.pp.neighbors(together, n_neighbors=n_neighbors, use_rep=latent, random_state=seed)
    sc.tl.umap(together, min_dist=min_dist, random_state=seed)
    positions = np.full((len(stacked), 2), np.nan, dtype=np.float32)
    positions[placed] = together.obsm["X_umap"]
    for place, part in zip(places, np.split(positions, np.cumsum([p.n_obs for p in places])[:-1]), strict=True):
        place.obsm[Key.obsm.umap(key_added)] = part
