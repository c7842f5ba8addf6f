import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import couplevi as cvi


@pytest.fixture
def screen():
    adata = cvi.data.perturbation_screen(n_obs=120, n_perturbations=2, n_features=60)
    adata.obs["type"] = np.where(np.arange(adata.n_obs) % 3, "T cells", "B cells")
    adata.obs["plate"] = np.where(np.arange(adata.n_obs) % 2, "p1", "p2")
    return adata


@pytest.fixture
def h5ad(screen, tmp_path):
    path = tmp_path / "in.h5ad"
    screen.write_h5ad(path)
    return path


def test_perturb_writes_what_tl_does(run, h5ad, tmp_path, screen, capsys):
    out, genes = tmp_path / "out.h5ad", tmp_path / "genes.csv"
    out.write_text("older")
    given = ("--state-key", "perturbation", "--control", "control", "--layer", "log1p", "--group-key", "type")
    assert run("perturb", h5ad, *given, "--batch-key", "plate", "--out", out, "--genes", genes) == 0
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines()[-2:] == [f"couplevi: wrote {out}", f"couplevi: wrote {genes}"]
    columns = {"layer": "log1p", "group_key": "type", "batch_key": "plate"}
    model = cvi.tl.otgm(screen, state_key="perturbation", control="control", **columns)
    written = ad.read_h5ad(out)
    np.testing.assert_array_equal(written.obsm["X_otgm"], screen.obsm["X_otgm"])
    assert written.obs["otgm_state"].tolist() == screen.obs["otgm_state"].tolist()
    names = written.uns["otgm_rank_genes"]["names"]
    assert names.dtype.names == ("gene0", "gene1")
    table = pd.read_csv(genes)
    ranked = {state: model.rank_genes(state) for state in ("gene0", "gene1")}
    assert table.columns.tolist() == ["state", *ranked["gene0"].columns]
    for state, frame in ranked.items():
        own = table[table["state"] == state].drop(columns="state").reset_index(drop=True)
        pd.testing.assert_frame_equal(own, frame)
        assert own["gene"].tolist() == names[state].tolist()


def test_perturb_without_genes_takes_x_and_writes_one_file(run, h5ad, tmp_path, screen):
    out = tmp_path / "out.h5ad"
    screen.X = screen.layers["log1p"]
    screen.write_h5ad(h5ad)
    assert run("perturb", h5ad, "--state-key", "perturbation", "--control", "control", "--out", out) == 0
    assert {p.name for p in tmp_path.iterdir()} == {"in.h5ad", "out.h5ad"}
    cvi.tl.otgm(screen, state_key="perturbation", control="control")
    np.testing.assert_array_equal(ad.read_h5ad(out).obsm["X_otgm"], screen.obsm["X_otgm"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--control", "none"), "cells of the control 'none'"),
        (("--state-key", "guide"), "'guide'"),
        (("--layer", "raw"), "layers['raw']"),
        (("--group-key", "lineage"), "'lineage'"),
        (("--batch-key", "donor"), "'donor'"),
        (("--genes", "o.h5ad"), "two files for `--out` and `--genes`"),
        (("--genes", "no/genes.csv"), "Create it first"),
        (("--genes", "."), "Name a file in it"),
        (("--target", "gene1"), "no `--target` with `--state-key`, found it"),
        (("--out", "o.h5mu"), "'o.h5mu' to be an AnnData (.h5ad or .zarr)"),
    ],
)
def test_bad_input_writes_nothing(refuses, h5ad, arguments, message):
    given = ("--state-key", "perturbation", "--control", "control", "--layer", "log1p", "--out", "o.h5ad")
    refuses("perturb", "in.h5ad", *given, *arguments, message=message)


@pytest.mark.parametrize("missing", ["control", "out"])
def test_what_a_fit_needs(refuses, h5ad, missing):
    given = {"--state-key": "perturbation", "--control": "control", "--out": "o.h5ad"}
    del given[f"--{missing}"]
    words = [word for option in given.items() for word in option]
    refuses("perturb", "in.h5ad", *words, message=f"`--{missing}` with `--state-key`, found none")


def test_cells_are_told_by_a_saved_model(run, screen_model, tmp_path):
    written = ad.read_h5ad(screen_model / "out.h5ad")
    fitted = pd.read_csv(screen_model / "told.csv", index_col="cell")
    assert fitted["label"].tolist() == written.obs["otgm_state"].tolist()
    np.testing.assert_allclose(fitted["confidence"], written.obsm["otgm_posterior"].max(axis=1), atol=1e-6)
    new = ad.read_h5ad(screen_model / "in.h5ad")[::-3].copy()
    new.write_h5ad(tmp_path / "new.h5ad")
    given = ("perturb", tmp_path / "new.h5ad", "--with-model", screen_model / "model", "--normalize", "X")
    assert run(*given, "--csv", tmp_path / "told.csv") == 0
    assert {path.name for path in tmp_path.iterdir()} == {"new.h5ad", "told.csv"}
    told = pd.read_csv(tmp_path / "told.csv", index_col="cell")
    assert told.index.tolist() == new.obs_names.tolist()
    assert told["label"].tolist() == fitted["label"].reindex(new.obs_names).tolist()
    np.testing.assert_allclose(told["confidence"], fitted["confidence"].reindex(new.obs_names), atol=1e-5)


def test_cells_are_moved_by_a_saved_model(run, screen_model, tmp_path):
    written = ad.read_h5ad(screen_model / "out.h5ad")
    control = written[written.obs["perturbation"] == "control"].copy()
    control.write_h5ad(tmp_path / "control.h5ad")
    given = ("perturb", tmp_path / "control.h5ad", "--with-model", screen_model / "model", "--target", "gene1")
    assert run(*given, "--amount", 0.5, "--summary", tmp_path / "s.json", "--out", tmp_path / "moved.zarr") == 0
    model = cvi.model.OTGM.load(screen_model / "model", adata=False)
    expected = model.perturb(control, "gene1", amount=0.5)
    np.testing.assert_allclose(ad.read_zarr(tmp_path / "moved.zarr").X, expected.X, atol=1e-5)
    summary = json.loads((tmp_path / "s.json").read_text())
    assert (summary["shapes"], summary["slots"]) == ({"adata": list(control.shape)}, [])
    assert run(*given, "--source", "gene0", "--out", tmp_path / "moved.h5ad") == 0
    expected = model.perturb(control, "gene1", source="gene0")
    np.testing.assert_allclose(ad.read_h5ad(tmp_path / "moved.h5ad").X, expected.X, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "`--csv` with `--with-model`, found none. It says where the states of the cells are written; or name"),
        (("--csv", "t.csv", "--out", "o.h5ad"), "`--target` with `--out`, found none. Name the state"),
        (("--csv", "t.csv", "--amount", "2"), "`--target` with `--amount`, found none"),
        (("--target", "gene1"), "`--out` with `--with-model`, found none. It says where cells are written"),
        (("--target", "gene9", "--out", "o.h5ad"), "'gene9'"),
        (("--csv", "t.csv", "--control", "control"), "no `--control` with `--with-model`"),
        (("--csv", "t.csv", "--batch-key", "plate"), "no `--batch-key` with `--with-model`"),
    ],
)
def test_bad_use_of_a_saved_model_writes_nothing(refuses, screen_model, tmp_path, arguments, message):
    (tmp_path / "m").symlink_to(screen_model / "model")
    (tmp_path / "in.h5ad").symlink_to(screen_model / "in.h5ad")
    refuses("perturb", "in.h5ad", "--with-model", "m", "--normalize", "X", *arguments, message=message)
