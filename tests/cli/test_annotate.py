import json

import anndata as ad
import mudata as md
import numpy as np
import pandas as pd
import pytest

import couplevi as cvi

FEW = pytest.mark.filterwarnings("ignore:With . types none can be held out")
DESCRIPTIONS = {"type0": "A large round cell.", "type1": ["A small cell.", "It is round."], "type2": "A long cell."}


def table_of(path):
    rows = [(label, text) for label, texts in DESCRIPTIONS.items() for text in np.atleast_1d(texts)]
    pd.DataFrame(rows, columns=["label", "text"]).to_csv(path, sep="\t", index=False)
    return path


@FEW
@pytest.mark.parametrize("kind", ["tsv", "json"])
def test_annotate_writes_what_tl_does(run, typed_h5ad, tmp_path, typed, capsys, kind):
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
def test_annotate_with_a_saved_model_trains_none(run, typed_h5ad, tmp_path, typed):
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
def test_annotate_a_modality_with_texts_of_an_ontology(run, cells, tmp_path, column):
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
def test_annotate_by_texts_of_cells(run, typed, tmp_path):
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
        (("--labels-key", "type", "--labels", ","), "one or more names in `--labels`"),
        (("--labels-key", "type", "--labels", "a,a", "--max-epochs", "1"), "each of `labels` once"),
        (("--labels-key", "type", "--descriptions", "no.tsv"), "found no such file"),
        (("--labels-key", "type", "--descriptions", "bad.tsv"), "found columns ['name', 'text']"),
        (("--labels-key", "type", "--descriptions", "bad.json"), "found a list"),
        (("--labels-key", "type", "--descriptions", "worse.json"), "found a file that is not"),
        (("--labels-key", "type", "--labels", "latin.txt"), "names and texts in UTF-8, found a file that is not"),
        (("--labels-key", "type", "--descriptions", "latin.txt"), "names and texts in UTF-8"),
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
def test_bad_input_writes_nothing(refuses, typed_h5ad, tmp_path, arguments, message):
    files = {"bad.tsv": "name\ttext\n", "bad.json": "[]", "worse.json": "{"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "latin.txt").write_bytes("Müller glia".encode("latin-1"))
    refuses("annotate", "in.h5ad", "--out", "o.h5ad", *arguments, message=message)


def test_the_modality_has_to_be_named(refuses, cells_h5mu):
    given = ("--labels-key", "known", "--out", "o.h5mu")
    refuses("annotate", "in.h5mu", *given, message="`--modality` to be one of ['rna', 'atac'], found None")
