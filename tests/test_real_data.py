"""The main job on real data: Patch-seq of the mouse motor cortex. Skipped where there are no data."""

import mudata as md
import numpy as np
import pytest

import couplevi as cvi
from couplevi.preparation import log_normalised

BOTH = ("rna", "ephys")
SETUP = {"modalities": BOTH, "layers": {"rna": "log1p"}}
QUIET = {"enable_progress_bar": False}


@pytest.fixture(scope="module")
def half(patchseq):
    """Half of the cells with one modality only: a quarter without ephys, a quarter without RNA."""
    order = patchseq.obs_names[np.random.RandomState(0).permutation(patchseq.n_obs)]
    no_ephys, no_rna = order[:302], order[302:604]
    partial = {
        "rna": patchseq["rna"][~patchseq["rna"].obs_names.isin(no_rna)].copy(),
        "ephys": patchseq["ephys"][~patchseq["ephys"].obs_names.isin(no_ephys)].copy(),
    }
    mdata = md.MuData(partial)
    model = cvi.tl.jamie(mdata, **SETUP, seed=0, n_steps=400, train_kwargs=QUIET)
    return patchseq, mdata, model, no_ephys, no_rna


def test_every_cell_gets_a_latent_and_an_imputation(half):
    patchseq, mdata, model, no_ephys, _ = half
    assert mdata.n_obs == patchseq.n_obs
    assert np.isfinite(mdata.obsm["X_jamie"]).all()
    cvi.tl.impute(mdata, model, source="rna", target="ephys")
    imputed = mdata["rna"].obsm["jamie_ephys"][mdata["rna"].obs_names.get_indexer(no_ephys)]
    assert np.isfinite(imputed).all()
    r = cvi.metrics.pearson_per_feature(patchseq["ephys"][no_ephys].X, imputed)
    assert np.nanmean(r) >= 0.50


def test_dropped_profiles_find_their_cells(half):
    patchseq, mdata, model, no_ephys, no_rna = half
    cells = [*no_ephys, *no_rna]
    z = [model.get_latent_representation(patchseq[m][cells], modality=m) for m in BOTH]
    assert cvi.metrics.foscttm(*z) <= 0.12


def test_three_real_modalities(data_folder):
    mdata = md.read_h5mu(data_folder / "patchseq_motor_tem.h5mu")
    keep = ~np.isnan(mdata["morph"].X).any(axis=0)
    mdata["rna"].layers["log1p"] = log_normalised(mdata["rna"].X)
    three = md.MuData({**{m: mdata[m] for m in BOTH}, "morph": mdata["morph"][:, keep].copy()})
    model = cvi.tl.jamie(
        three,
        modalities=("rna", "ephys", "morph"),
        layers={"rna": "log1p"},
        seed=0,
        train_kwargs={**QUIET, "max_epochs": 20},
    )
    assert np.isfinite(three.obsm["X_jamie"]).all()
    assert model.impute(source="rna", target="morph").shape == (1208, keep.sum())
