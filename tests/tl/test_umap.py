import matplotlib.pyplot as plt
import numpy as np
import pytest
import scanpy as sc

import couplevi as cvi


def test_one_umap_for_all(fitted):
    mdata = fitted[1].copy()
    # the cells measured in one modality have the latent of their profile, and so its place
    cvi.tl.umap(mdata, seed=1)
    only_rna = mdata["rna"].obs_names.difference(mdata["ephys"].obs_names)
    cells = mdata.obsm["X_jamie_umap"][mdata.obs_names.get_indexer(only_rna)]
    profiles = mdata["rna"].obsm["X_jamie_umap"][mdata["rna"].obs_names.get_indexer(only_rna)]
    spread = np.ptp(mdata.obsm["X_jamie_umap"], axis=0).max()
    assert np.median(np.linalg.norm(cells - profiles, axis=1)) < 0.1 * spread
    again = fitted[1].copy()
    cvi.tl.umap(again, seed=1)
    np.testing.assert_array_equal(again.obsm["X_jamie_umap"], mdata.obsm["X_jamie_umap"])


def test_cells_without_latent_have_no_place(fitted):
    mdata = fitted[1].copy()
    mdata.obsm["X_jamie_shared"][4] = np.nan
    cvi.tl.umap(mdata, modalities=["rna"])
    assert np.isnan(mdata.obsm["X_jamie_umap"][4]).all()
    assert np.isfinite(np.delete(mdata.obsm["X_jamie_umap"], 4, axis=0)).all()
    assert "X_jamie_umap" not in mdata["ephys"].obsm


def test_scanpy_draws_the_positions_and_keeps_its_own(fitted):
    mdata = fitted[1].copy()
    own = np.zeros((mdata["rna"].n_obs, 2))
    mdata["rna"].obsm["X_umap"] = own
    cvi.tl.umap(mdata)
    ax = sc.pl.embedding(mdata["rna"], "jamie_umap", color="rna0", show=False)
    np.testing.assert_allclose(
        sorted(ax.collections[0].get_offsets().tolist()), sorted(mdata["rna"].obsm["X_jamie_umap"].tolist())
    )
    assert mdata["rna"].obsm["X_umap"] is own or (mdata["rna"].obsm["X_umap"] == 0).all()
    assert "X_umap" not in mdata["ephys"].obsm
    plt.close("all")


def test_missing_latents(mdata, fitted):
    with pytest.raises(KeyError, match=r"latents in `.obsm\['X_jamie'\]`.*Run `cvi.tl.jamie` first"):
        cvi.tl.umap(mdata)
    with pytest.raises(KeyError, match="`modalities` to be one of"):
        cvi.tl.umap(fitted[1].copy(), modalities=["atac"])
    with pytest.raises(ValueError, match="`n_neighbors`"):
        cvi.tl.umap(fitted[1].copy(), n_neighbors=1)
    with pytest.raises(TypeError, match="a MuData"):
        cvi.tl.umap(mdata["rna"])


def test_modality_without_latents_is_named(fitted):
    mdata = fitted[1].copy()
    del mdata["ephys"].obsm["X_jamie"]
    with pytest.raises(KeyError, match=r"found none in \['ephys'\]"):
        cvi.tl.umap(mdata)
