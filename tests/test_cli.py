import anndata as ad
import mudata as md
import numpy as np
import pandas as pd
import pytest

import couplevi as cvi
from couplevi.cli import main


@pytest.fixture
def h5mu(mdata, tmp_path):
    path = tmp_path / "in.h5mu"
    mdata.write(path)
    return path


def run(*arguments):
    return main([str(a) for a in arguments])


def test_run_writes_the_slots_of_tl(h5mu, tmp_path, mdata, quick):
    out = tmp_path / "out.h5mu"
    code = run(
        *("run", h5mu, "--modalities", "rna,ephys", "--layer", "rna=log1p", "--impute", "rna:ephys", "--out", out),
        *("--max-epochs", 3, "--umap", "--n-latent", 4, "--seed", 3, "--checkpoint", tmp_path / "state.ckpt"),
    )
    assert code == 0
    assert not (tmp_path / "state.ckpt").exists()  # complete
    written = md.read_h5mu(out)
    model = cvi.tl.jamie(
        mdata, modalities=("rna", "ephys"), layers={"rna": "log1p"}, n_latent=4, seed=3, train_kwargs=quick
    )
    np.testing.assert_allclose(written.obsm["X_jamie"], model.get_latent_representation(part="joint"), atol=1e-5)
    assert written["rna"].obsm["jamie_ephys"].shape == (45, 8)
    assert np.isfinite(written["rna"].obsm["jamie_ephys"]).all()
    assert written["ephys"].layers["jamie_from_rna"].shape == (45, 8)
    assert "X_jamie_umap" in written["ephys"].obsm


@pytest.mark.parametrize("n", [60, 200])
def test_run_writes_standard_deviations_where_pairs_allow(n, tmp_path, capsys):
    mdata = cvi.data.branching_manifold(n_obs=n, n_features={"rna": 30, "ephys": 8}, seed=1)
    mdata.write(tmp_path / "in.h5mu")
    out = tmp_path / "out.h5mu"
    arguments = ("--modalities", "rna,ephys", "--impute", "rna:ephys", "--sd", "--max-epochs", 4, "--out", out)
    assert run("run", tmp_path / "in.h5mu", *arguments) == 0
    assert ("jamie_ephys_sd" in md.read_h5mu(out)["rna"].obsm) == (n == 200)
    assert ("no standard deviations of ephys from rna: they take 80 pairs" in capsys.readouterr().err) == (n == 60)


def test_evaluate_scores_a_saved_model(h5mu, tmp_path, capsys):
    arguments = ("run", h5mu, "--modalities", "rna,ephys", "--out", tmp_path / "o.h5mu", "--max-epochs", 2)
    assert run(*arguments, "--model", tmp_path / "m") == 0
    capsys.readouterr()
    arguments = ("evaluate", h5mu, "--model", tmp_path / "m", "--labels", "cell_type", "--baselines", "knn")
    assert run(*arguments, "--in-sample") == 0
    assert "foscttm" in capsys.readouterr().out
    assert run(*arguments, "--in-sample", "--out", tmp_path / "s.csv", "--training-data", h5mu) == 0
    assert set(pd.read_csv(tmp_path / "s.csv")["method"]) == {"JAMIE", "knn"}


def test_match_writes_what_tl_does(h5mu, tmp_path, mdata):
    out = tmp_path / "out.h5mu"
    arguments = ("match", h5mu, "--modalities", "rna,ephys", "--layer", "rna=log1p", "--known", "by_name")
    assert run(*arguments, "--method", "gw", "--group", "cell_type", "--seed", 1, "--out", out) == 0
    given = {"known": "by_name", "method": "gw", "group_key": "cell_type", "seed": 1}
    cvi.tl.match(mdata, modalities=("rna", "ephys"), layers={"rna": "log1p"}, **given)
    assert abs(md.read_h5mu(out).obsp["match"] - mdata.obsp["match"]).max() < 1e-6


def test_links_in_the_file_are_used(mdata, tmp_path):
    cvi.pp.link(mdata, modalities=("rna", "ephys"), hide=0.5)
    mdata.write(tmp_path / "in.h5mu")
    arguments = ("run", tmp_path / "in.h5mu", "--modalities", "rna,ephys", "--max-epochs", 1)
    assert (
        run(*arguments, "--out", tmp_path / "o.h5mu", "--model", tmp_path / "m", "--correspondence", "correspondence")
        == 0
    )
    model = cvi.model.JAMIE.load(tmp_path / "m", adata=False)
    assert model.fitted_links_["ephys|rna"].shape == (15, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--modalities", "rna,atac"), "`modalities` to be one of ['rna', 'ephys'], found 'atac'"),
        (("--modalities", "rna"), "at least two `modalities`"),
        (("--modalities", "rna,ephys", "--layer", "rna=raw"), "layers['raw']"),
        (("--modalities", "rna,ephys", "--impute", "rna:atac"), "`--impute` to be one of"),
        (("--modalities", "rna,ephys", "--correspondence", "x"), "obsp['x']"),
        (("--modalities", "rna,ephys", "--preset", "best"), "`preset` to be one of"),
        (("--modalities", "rna,ephys", "--n-latent", "0"), "`n_latent`"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(h5mu, tmp_path, capsys, arguments, message):
    assert run("run", h5mu, *arguments, "--out", tmp_path / "o.h5mu") == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("couplevi: ")
    assert "Expected" in error
    assert message in error
    assert not (tmp_path / "o.h5mu").exists()


def test_files_that_are_not_there_or_not_mudata(h5mu, tmp_path, capsys):
    out = tmp_path / "o.h5mu"
    assert run("run", tmp_path / "no.h5mu", "--modalities", "a,b", "--out", out) == 2
    assert "found no such file" in capsys.readouterr().err
    (tmp_path / "bad.h5mu").write_text("x")
    assert run("run", tmp_path / "bad.h5mu", "--modalities", "a,b", "--out", out) == 2
    assert "to be a MuData (.h5mu)" in capsys.readouterr().err
    assert run("run", h5mu, "--modalities", "rna,ephys", "--out", tmp_path / "no" / "o.h5mu") == 2
    assert "Create it first" in capsys.readouterr().err
    assert run("evaluate", h5mu, "--model", tmp_path / "no") == 2
    assert "a saved model" in capsys.readouterr().err


@pytest.fixture
def cells():
    mdata = cvi.data.count_clusters(n_obs=90, n_clusters=3, n_features={"rna": 120, "atac": 40}, seed=2)
    mdata.obs["donor"] = np.where(np.arange(90) % 3, "d1", "d2")
    mdata.obs["known"] = mdata.obs["cell_type"].astype(str).where(mdata.obs["donor"] == "d1", "unknown")
    for adata in mdata.mod.values():
        adata.layers["raw"] = adata.X.copy()
        adata.X = adata.X[::-1].copy()  # not what is asked for
    return mdata


@pytest.fixture
def cells_h5mu(cells, tmp_path):
    path = tmp_path / "in.h5mu"
    cells.write(path)
    return path


def test_embed_writes_what_tl_does(cells_h5mu, tmp_path, cells, capsys):
    out, table, folder = (tmp_path / name for name in ("out.h5mu", "labels.csv", "model"))
    layers = ("--layer", "rna=raw", "--layer", "atac=raw")
    keys = ("--labels-key", "known", "--batch-key", "donor", "--seed", 3, "--max-epochs", 8)
    given = ("embed", cells_h5mu, "--modalities", "rna,atac", *layers, *keys)
    assert run(*given, "--model", folder, "--csv", table, "--out", out) == 0
    printed = capsys.readouterr()
    assert printed.err.splitlines()[-2:] == [f"couplevi: wrote {out}", f"couplevi: wrote {table}"]
    columns = {"layers": {"rna": "raw", "atac": "raw"}, "labels_key": "known", "batch_key": "donor"}
    quick = {"max_epochs": 8, "enable_progress_bar": False}
    cvi.tl.jae(cells, modalities=("rna", "atac"), **columns, seed=3, train_kwargs=quick)
    written = md.read_h5mu(out)
    np.testing.assert_allclose(written.obsm["X_jae"], cells.obsm["X_jae"], atol=1e-5)
    np.testing.assert_allclose(written["atac"].obsm["X_jae"], cells["atac"].obsm["X_jae"], atol=1e-5)
    np.testing.assert_allclose(written.obsm["jae_label"], cells.obsm["jae_label"], atol=1e-5)
    assert written.obs["jae_label"].tolist() == cells.obs["jae_label"].tolist()
    assert written.uns["jae"]["labels"].tolist() == ["type0", "type1", "type2"]
    told = pd.read_csv(table, index_col="cell")
    assert told.index.tolist() == cells.obs_names.tolist()
    assert told["label"].tolist() == cells.obs["jae_label"].tolist()
    np.testing.assert_allclose(told["confidence"], cells.obs["jae_label_confidence"], atol=1e-5)
    np.testing.assert_allclose(told["typicality"], cells.obs["jae_label_typicality"], atol=1e-4)
    loaded = cvi.model.JAE.load(folder, adata=written)
    np.testing.assert_allclose(loaded.get_latent_representation(), written.obsm["X_jae"], atol=1e-5)


def test_embed_without_labels_writes_no_labels(cells_h5mu, tmp_path):
    out = tmp_path / "out.h5mu"
    given = ("embed", cells_h5mu, "--modalities", "rna", "--preset", "paper", "--max-epochs", 2, "--out", out)
    assert run(*given) == 0
    assert {p.name for p in tmp_path.iterdir()} == {"in.h5mu", "out.h5mu"}
    written = md.read_h5mu(out)
    assert written.obsm["X_jae"].shape == (90, 5)
    assert written.uns["jae"]["preset"] == "paper"
    assert "jae_label" not in written.obs


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--modalities", "rna,protein"), "'protein'"),
        (("--layer", "rna=none"), "layers['none']"),
        (("--labels-key", "type"), "'type'"),
        (("--batch-key", "plate"), "'plate'"),
        (("--preset", "best"), "`preset` to be one of"),
        (("--csv", "labels.csv"), "`--labels-key` with `--csv`"),
        (("--labels-key", "known", "--csv", "o.h5mu"), "two files for `--out` and `--csv`"),
        (("--labels-key", "known", "--csv", "no/labels.csv"), "Create it first"),
        (("--labels-key", "one", "--csv", "labels.csv", "--max-epochs", "1"), "two or more labels in column 'one'"),
        (("--model", "in.h5mu"), "a folder for the model"),
    ],
)
@pytest.mark.filterwarnings("ignore:Column 'one' has 1 label")
def test_bad_input_of_embed_writes_nothing(cells, tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    cells.obs["one"] = "type0"
    cells.write("in.h5mu")
    assert run("embed", "in.h5mu", "--modalities", "rna,atac", "--out", "o.h5mu", *arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("couplevi: ")
    assert "Expected" in error
    assert message in error
    assert {p.name for p in tmp_path.iterdir()} == {"in.h5mu"}


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


def test_perturb_writes_what_tl_does(h5ad, tmp_path, screen, capsys):
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
    table = pd.read_csv(genes, float_precision="round_trip")
    ranked = {state: model.rank_genes(state) for state in ("gene0", "gene1")}
    assert table.columns.tolist() == ["state", *ranked["gene0"].columns]
    for state, frame in ranked.items():
        own = table[table["state"] == state].drop(columns="state").reset_index(drop=True)
        pd.testing.assert_frame_equal(own, frame)
        assert own["gene"].tolist() == names[state].tolist()


def test_perturb_without_genes_takes_x_and_writes_one_file(h5ad, tmp_path, screen):
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
    ],
)
def test_bad_input_of_perturb_writes_nothing(h5ad, tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    given = ("--state-key", "perturbation", "--control", "control", "--layer", "log1p", "--out", "o.h5ad")
    assert run("perturb", h5ad, *given, *arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("couplevi: Expected")
    assert message in error
    assert {p.name for p in tmp_path.iterdir()} == {"in.h5ad"}


def test_perturb_refuses_files_that_are_not_anndata(h5mu, tmp_path, capsys):
    given = ("--state-key", "perturbation", "--control", "control", "--out", tmp_path / "o.h5ad")
    assert run("perturb", tmp_path / "no.h5ad", *given) == 2
    assert "found no such file" in capsys.readouterr().err
    (tmp_path / "bad.h5ad").write_text("x")
    for path in (tmp_path / "bad.h5ad", h5mu):
        assert run("perturb", path, *given) == 2
        assert "to be an AnnData (.h5ad), found a file that is not: " in capsys.readouterr().err
    assert not (tmp_path / "o.h5ad").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("run",),
        ("perturb", "x"),
        ("embed", "x", "--out", "y"),
        ("nope",),
        (),
        ("run", "x", "--modalities", "a,b", "--out", "y", "--layer", "a"),
    ],
)
def test_usage_errors_have_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        run(*arguments)
    assert stop.value.code == 2


@pytest.mark.parametrize(
    "arguments", [("--help",), ("run", "--help"), ("embed", "--help"), ("perturb", "--help"), ("--version",)]
)
def test_help_needs_no_heavy_import(arguments):
    import subprocess
    import sys

    code = "import sys; from couplevi.cli import main\ntry: main(sys.argv[1:])\nfinally: print(sorted(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert "couplevi" in result.stdout
    if "--help" in arguments:
        assert "example:" in result.stdout
    for heavy in ("torch", "scvi", "mudata", "pandas", "numpy"):
        assert f"'{heavy}'" not in result.stdout
