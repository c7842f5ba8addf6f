import anndata as ad
import mudata as md
import numpy as np
import pandas as pd
import pytest

import couplevi as cvi

QUICK = ("--n-categories", 3, "--max-epochs", 2, "--no-prune", "--seed", 4)
TRAINING = {"max_epochs": 2, "prune": False, "enable_progress_bar": False}


def test_cplmixvae_writes_what_tl_does(run, typed_h5ad, typed, tmp_path):
    out, table, folder = (tmp_path / name for name in ("out.h5ad", "types.csv", "model"))
    given = ("cplmixvae", typed_h5ad, *QUICK, "--layer", "log1p")
    assert run(*given, "--csv", table, "--model", folder, "--out", out) == 0
    cvi.tl.cplmixvae(typed, n_categories=3, layers="log1p", seed=4, train_kwargs=TRAINING)
    written = ad.read_h5ad(out)
    np.testing.assert_allclose(written.obsm["X_cplmixvae"], typed.obsm["X_cplmixvae"], atol=1e-5)
    told = pd.read_csv(table, index_col="cell", dtype={"label": str})
    assert told["label"].tolist() == typed.obs["cplmixvae_category"].tolist()
    np.testing.assert_allclose(told["confidence"], typed.obs["cplmixvae_confidence"], atol=1e-5)
    assert cvi.model.CplMixVAE.load(folder, adata=written).modalities_ == ["adata"]


def test_labels_batches_and_several_trainings(run, typed_h5ad, typed, tmp_path):
    table = tmp_path / "types.csv"
    typed.obs["known"] = np.where(np.arange(typed.n_obs) % 2, "one", "two")
    typed.obs["batch"] = np.where(np.arange(typed.n_obs) % 3, "x", "y")
    typed.write_h5ad(typed_h5ad)
    asked = ("--labels-key", "known", "--batch-key", "batch", "--n-init", 2, "--layer", "log1p")
    out = ("--csv", table, "--out", tmp_path / "out.h5ad")
    assert run("cplmixvae", typed_h5ad, *QUICK, *asked, *out) == 0
    given = {"labels_key": "known", "batch_key": "batch", "n_init": 2, "layers": "log1p"}
    cvi.tl.cplmixvae(typed, n_categories=3, **given, seed=4, train_kwargs=TRAINING)
    told = pd.read_csv(table, index_col="cell")
    assert list(told) == ["label", "confidence", "stability"]
    assert told["label"].tolist() == typed.obs["cplmixvae_category"].tolist()
    np.testing.assert_allclose(told["stability"], typed.obs["cplmixvae_stability"])


def test_several_modalities_or_one_of_them(run, cells_h5mu, cells, tmp_path):
    out = tmp_path / "out.h5mu"
    layers = ("--layer", "rna=log1p", "--layer", "atac=log1p")
    assert run("cplmixvae", cells_h5mu, *QUICK, "--modalities", "rna,atac", *layers, "--out", out) == 0
    given = {"modalities": ("rna", "atac"), "layers": {"rna": "log1p", "atac": "log1p"}}
    cvi.tl.cplmixvae(cells, n_categories=3, **given, seed=4, train_kwargs=TRAINING)
    np.testing.assert_allclose(md.read_h5mu(out).obsm["X_cplmixvae"], cells.obsm["X_cplmixvae"], atol=1e-5)
    assert run("cplmixvae", cells_h5mu, *QUICK, "--modalities", "atac", "--layer", "atac=log1p", "--out", out) == 0
    cvi.tl.cplmixvae(cells["atac"], n_categories=3, layers="log1p", seed=4, train_kwargs=TRAINING)
    written = md.read_h5mu(out)
    np.testing.assert_allclose(written["atac"].obsm["X_cplmixvae"], cells["atac"].obsm["X_cplmixvae"], atol=1e-5)
    assert "X_cplmixvae" not in written.obsm


def test_counts_or_a_representation_of_an_anndata(run, typed, tmp_path):
    del typed.layers["log1p"]
    typed.obsm["X_pca"] = np.random.default_rng(0).normal(size=(90, 5)).astype(np.float32)
    typed.write_h5ad(tmp_path / "in.h5ad")
    given = ("cplmixvae", tmp_path / "in.h5ad", *QUICK, "--model", tmp_path / "m", "--out", tmp_path / "o.h5ad")
    assert run(*given, "--normalize", "adata=raw") == 0
    assert cvi.model.CplMixVAE.load(tmp_path / "m", adata=False).get_setup_arg("layer") == "log1p"
    assert run(*given, "--use-rep", "X_pca") == 0
    assert cvi.model.CplMixVAE.load(tmp_path / "m", adata=False).get_setup_arg("use_rep") == "X_pca"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("in.h5ad", "--layer", "none"), "layers['none']"),
        (("in.h5ad", "--layer", "rna=log1p"), "no modality in `--layer` with an AnnData, found 'rna'. Give the layer"),
        (("in.h5ad", "--modalities", "rna"), "no `modalities` for an AnnData"),
        (("in.h5ad", "--correspondence", "x"), "no `correspondence_key` for an AnnData"),
        (("in.h5ad", "--n-categories", "1"), "`n_categories`"),
        (("in.h5mu", "--n-categories", "3"), "`modalities` of a MuData, found None"),
        (("in.h5mu", "--modalities", "protein"), "`modalities` to be one of ['rna', 'atac'], found 'protein'"),
        (("in.h5mu", "--modalities", "rna", "--layer", "log1p"), "in `--layer` among ['rna', 'atac'], found 'adata'"),
    ],
)
def test_bad_input_writes_nothing(refuses, cells_h5mu, typed_h5ad, arguments, message):
    refuses("cplmixvae", *QUICK, *arguments, "--out", f"o{arguments[0][2:]}", message=message)
