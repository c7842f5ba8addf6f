import json

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


@pytest.fixture
def typed(cells):
    """Counts of three types, of which one has no name; a layer in which they are not what is asked for."""
    adata = cells["rna"].copy()
    adata.obs["type"] = cells.obs["cell_type"].astype(str).where(cells.obs["cell_type"] != "type2", "unknown")
    return adata


@pytest.fixture
def typed_h5ad(typed, tmp_path):
    path = tmp_path / "in.h5ad"
    typed.write_h5ad(path)
    return path


FEW = pytest.mark.filterwarnings("ignore:With . types none can be held out")
DESCRIPTIONS = {"type0": "A large round cell.", "type1": ["A small cell.", "It is round."], "type2": "A long cell."}


def table_of(path):
    rows = [(label, text) for label, texts in DESCRIPTIONS.items() for text in np.atleast_1d(texts)]
    pd.DataFrame(rows, columns=["label", "text"]).to_csv(path, sep="\t", index=False)
    return path


@FEW
@pytest.mark.parametrize("kind", ["tsv", "json"])
def test_annotate_writes_what_tl_does(typed_h5ad, tmp_path, typed, capsys, kind):
    out, table, folder, texts = (tmp_path / name for name in ("out.h5ad", "named.csv", "model", f"texts.{kind}"))
    table_of(texts) if kind == "tsv" else texts.write_text(json.dumps(DESCRIPTIONS))
    given = ("annotate", typed_h5ad, "--labels-key", "type", "--layer", "raw", "--descriptions", texts, "--seed", 3)
    assert run(*given, "--max-epochs", 5, "--model", folder, "--csv", table, "--out", out) == 0
    assert capsys.readouterr().err.splitlines()[-2:] == [f"couplevi: wrote {out}", f"couplevi: wrote {table}"]
    quick = {"max_epochs": 5, "enable_progress_bar": False}
    own = {"labels_key": "type", "layer": "raw", "descriptions": DESCRIPTIONS}
    model = cvi.tl.celltext(typed, **own, seed=3, train_kwargs=quick)
    cvi.tl.annotate(typed, model, labels=["type0", "type1", "type2"])
    written = ad.read_h5ad(out)
    np.testing.assert_allclose(written.obsm["X_celltext"], typed.obsm["X_celltext"], atol=1e-5)
    np.testing.assert_allclose(written.obsm["celltext_scores"], typed.obsm["celltext_scores"], atol=1e-5)
    assert written.obs["celltext_label"].tolist() == typed.obs["celltext_label"].tolist()
    assert list(written.uns["celltext"]["candidates"]) == ["type0", "type1", "type2"]
    told = pd.read_csv(table, index_col="cell")
    assert told.index.tolist() == typed.obs_names.tolist()
    assert told["label"].tolist() == typed.obs["celltext_label"].tolist()
    np.testing.assert_allclose(told["confidence"], typed.obs["celltext_confidence"], atol=1e-5)
    np.testing.assert_allclose(told["typicality"], typed.obs["celltext_typicality"], atol=1e-5)
    loaded = cvi.model.CellText.load(folder, adata=written)
    np.testing.assert_allclose(loaded.get_latent_representation(), written.obsm["X_celltext"], atol=1e-5)


@FEW
def test_annotate_with_a_saved_model_trains_none(typed_h5ad, tmp_path, typed):
    folder, out, labels = tmp_path / "model", tmp_path / "out.h5ad", tmp_path / "labels.txt"
    given = ("annotate", typed_h5ad, "--labels-key", "type", "--layer", "raw", "--max-epochs", 2)
    assert run(*given, "--model", folder, "--out", out) == 0
    model = cvi.model.CellText.load(folder, adata=False)
    new = typed[:7].copy()
    del new.obs["type"]
    new.write_h5ad(tmp_path / "new.h5ad")
    labels.write_text("type1\n\nlong cell, of any size\n")
    given = ("annotate", tmp_path / "new.h5ad", "--with-model", folder, "--labels", labels, "--unknown-below", 0)
    assert run(*given, "--descriptions", table_of(tmp_path / "t.tsv"), "--out", out) == 0
    written = ad.read_h5ad(out)
    p = model.annotate(new, ["type1", "long cell, of any size"], descriptions=DESCRIPTIONS)
    np.testing.assert_allclose(written.obsm["celltext_scores"], p, atol=1e-5)
    assert written.obs["celltext_label"].tolist() == p.idxmax(axis=1).tolist()
    assert "X_celltext" not in written.obsm
    assert run("annotate", tmp_path / "new.h5ad", "--with-model", folder, "--out", out) == 0
    assert list(ad.read_h5ad(out).uns["celltext"]["candidates"]) == ["type0", "type1"]


@FEW
@pytest.mark.parametrize("column", ["cell_type", "own"])
def test_annotate_a_modality_with_texts_of_an_ontology(cells, tmp_path, column):
    cells["rna"].obs["own"] = cells.obs["cell_type"].astype(str)
    cells.write(tmp_path / "in.h5mu")
    term = '[Term]\nid: X:{0}\nname: type{0}\ndef: "Cell of kind {0}." []\n'
    (tmp_path / "terms.obo").write_text("\n".join(term.format(i) for i in range(4)))
    table_of(tmp_path / "texts.tsv")
    given = ("annotate", tmp_path / "in.h5mu", "--modality", "rna", "--labels-key", column, "--layer", "raw")
    texts = ("--ontology", tmp_path / "terms.obo", "--descriptions", tmp_path / "texts.tsv", "--max-epochs", 2)
    assert run(*given, *texts, "--labels", "type3,type0", "--out", tmp_path / "o.h5mu", "--model", tmp_path / "m") == 0
    written = md.read_h5mu(tmp_path / "o.h5mu")
    assert written["rna"].obsm["celltext_scores"].shape == (90, 2)
    assert set(written.mod) == {"rna", "atac"}
    known = cvi.model.CellText.load(tmp_path / "m", adata=False).descriptions_
    assert known["type3"] == ["type3. Cell of kind 3."]  # of a type without cells
    assert known["type1"] == DESCRIPTIONS["type1"]  # what is given comes first


@FEW
def test_annotate_by_texts_of_cells(typed, tmp_path):
    typed.obs["text"] = typed.obs["type"].map({"type0": "large cells", "type1": "small cells"})
    typed.write_h5ad(tmp_path / "in.h5ad")
    out = tmp_path / "o.h5ad"
    given = ("annotate", tmp_path / "in.h5ad", "--text-key", "text", "--layer", "raw", "--max-epochs", 2)
    assert run(*given, "--out", out) == 0
    assert list(ad.read_h5ad(out).uns["celltext"]["candidates"]) == ["large cells", "small cells"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--labels-key", "lineage"), "'lineage'"),
        (("--labels-key", "type", "--layer", "none"), "layers['none']"),
        (("--labels-key", "type", "--use-rep", "X_pca"), "'X_pca'"),
        (("--labels-key", "type", "--modality", "rna"), "no `--modality` with an AnnData"),
        (("--labels-key", "type", "--labels", ","), "one or more types in `--labels`"),
        (("--labels-key", "type", "--labels", "a,a", "--max-epochs", "1"), "each of `labels` once"),
        (("--labels-key", "type", "--descriptions", "no.tsv"), "found no such file"),
        (("--labels-key", "type", "--descriptions", "bad.tsv"), "found columns ['name', 'text']"),
        (("--labels-key", "type", "--descriptions", "bad.json"), "found a list"),
        (("--labels-key", "type", "--descriptions", "worse.json"), "found a file that is not"),
        (("--labels-key", "type", "--ontology", "no.obo"), "a file with an ontology"),
        (("--labels-key", "type", "--text-encoder", "no/such"), "a sentence-transformers model"),
        (("--labels-key", "type", "--model", "in.h5ad"), "a folder for the model"),
        (("--labels-key", "type", "--csv", "o.h5ad"), "two files for `--out` and `--csv`"),
        (("--labels-key", "type", "--unknown-below", "2", "--max-epochs", "1"), "`unknown_below`"),
        (("--with-model", "none"), "a saved model"),
        (("--with-model", "none", "--max-epochs", "1"), "no `--max-epochs` with `--with-model`"),
        (("--with-model", "none", "--use-rep", "X"), "no `--use-rep` with `--with-model`"),
    ],
)
@FEW
def test_bad_input_of_annotate_writes_nothing(typed_h5ad, tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    files = {"bad.tsv": "name\ttext\n", "bad.json": "[]", "worse.json": "{"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert run("annotate", "in.h5ad", "--out", "o.h5ad", *arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("couplevi: Expected")
    assert message in error
    assert {p.name for p in tmp_path.iterdir()} == {"in.h5ad", *files}


def test_annotate_asks_for_the_modality(cells_h5mu, tmp_path, capsys):
    assert run("annotate", cells_h5mu, "--labels-key", "known", "--out", tmp_path / "o.h5mu") == 2
    assert "`--modality` to be one of ['rna', 'atac'], found None" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ("run",),
        ("perturb", "x"),
        ("annotate", "x", "--out", "y"),
        ("annotate", "x", "--out", "y", "--labels-key", "a", "--text-key", "b"),
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
    "arguments",
    [
        ("--help",),
        ("run", "--help"),
        ("embed", "--help"),
        ("perturb", "--help"),
        ("annotate", "--help"),
        ("--version",),
    ],
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
