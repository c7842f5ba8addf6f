import anndata as ad
import mudata as md
import numpy as np
import pandas as pd
import pytest

import couplevi as cvi


def test_explain_writes_what_tl_does(run, jamie, tmp_path):
    out, table = tmp_path / "out.h5mu", tmp_path / "drivers.csv"
    (tmp_path / "cells.txt").write_text("cell3\ncell5\n")
    given = ("explain", jamie / "in.h5mu", "--model", jamie / "model", "--source", "rna", "--target", "ephys")
    chosen = ("--targets", "ephys0,ephys3", "--cells", tmp_path / "cells.txt")
    assert run(*given, *chosen, "--csv", table, "--out", out) == 0
    mdata = md.read_h5mu(jamie / "in.h5mu")
    model = cvi.model.JAMIE.load(jamie / "model", adata=False)
    asked = {"targets": ["ephys0", "ephys3"], "cells": ["cell3", "cell5"]}
    e = cvi.tl.explain(mdata, model, source="rna", target="ephys", **asked, progress_bar=False)
    told = pd.read_csv(table, index_col="feature")
    assert list(told) == ["ephys0", "ephys3"]
    assert told.index.tolist() == mdata["rna"].var_names.tolist()
    np.testing.assert_allclose(told, np.abs(e.values).mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(md.read_h5mu(out)["ephys"].varm["jamie_shap_from_rna"][3], told["ephys3"], atol=1e-6)


def test_labels_that_run_predicted_are_explained(run, jamie, tmp_path):
    given = ("explain", jamie / "out.h5mu", "--model", jamie / "model", "--source", "rna", "--target", "cell_type")
    assert run(*given, "--cells", "cell1", "--out", tmp_path / "o.h5mu", "--csv", tmp_path / "t.csv") == 0
    classes = md.read_h5mu(jamie / "out.h5mu").uns["jamie"]["classifiers"]["cell_type"]["classes"]
    assert list(pd.read_csv(tmp_path / "t.csv", index_col="feature")) == list(classes)


@pytest.mark.parametrize("kind", ["h5ad", "h5mu"])
def test_texts_are_explained(run, celltext, tmp_path, kind):
    given = ("explain", celltext / f"in.{kind}", "--model", celltext / "model", "--texts", "type0,a round cell")
    modality = ("--modality", "rna") if kind == "h5mu" else ()
    out, table = tmp_path / f"o.{kind}", tmp_path / "t.csv"
    assert run(*given, *modality, "--cells", "cell1,cell2", "--csv", table, "--out", out) == 0
    written = md.read_h5mu(out)["rna"] if kind == "h5mu" else ad.read_h5ad(out)
    told = pd.read_csv(table, index_col="feature")
    assert list(told) == ["type0", "a round cell"]
    np.testing.assert_allclose(told, written.varm["celltext_shap"], atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--model", "m", "--source", "rna"),
            "`--target` with a JAMIE, found none. It takes `--source` and `--target`",
        ),
        (("--model", "m", "--source", "rna", "--target", "ephys", "--texts", "a"), "no `--texts` with a JAMIE"),
        (("--model", "m", "--source", "rna", "--target", "atac"), "'atac'"),
        (("--model", "m", "--source", "rna", "--target", "ephys", "--cells", "cell999"), "'cell999'"),
        (("--model", "m", "--source", "rna", "--target", "ephys", "--method", "exact"), "`method` to be one of"),
        (("--model", "text", "--modality", "rna"), "`--texts` with a CellText, found none. It takes `--texts`"),
        (("--model", "text", "--texts", "a"), "`--modality` to be one of ['rna', 'ephys'], found None"),
    ],
)
def test_bad_input_writes_nothing(refuses, jamie, celltext, tmp_path, arguments, message):
    (tmp_path / "m").symlink_to(jamie / "model")
    (tmp_path / "text").symlink_to(celltext / "model")
    (tmp_path / "in.h5mu").symlink_to(jamie / "in.h5mu")
    refuses("explain", "in.h5mu", *arguments, "--out", "o.h5mu", message=message)


def test_data_and_models_that_do_not_suit(refuses, run, jamie, celltext, screen_model, tmp_path):
    (tmp_path / "m").symlink_to(jamie / "model")
    (tmp_path / "otgm").symlink_to(screen_model / "model")
    (tmp_path / "in.h5ad").symlink_to(celltext / "in.h5ad")
    given = ("--source", "rna", "--target", "ephys", "--out", "o.h5ad")
    refuses("explain", "in.h5ad", "--model", "m", *given, message="a MuData, found anndata")
    refuses("explain", "in.h5ad", "--model", "otgm", *given, message="a JAMIE or CellText in `--model`, found a OTGM")
