import mudata as md
import numpy as np
import pandas as pd
import pytest

import couplevi as cvi


def test_map_writes_what_tl_does(run, jamie, tmp_path, quick):
    out, table, folder = (tmp_path / name for name in ("out.h5mu", "labels.csv", "model"))
    given = ("map", jamie / "new.h5mu", "--with-model", jamie / "model", "--max-epochs", 3, "--seed", 5)
    labels = ("--labels-key", "cell_type", "--reference", jamie / "in.h5mu", "--impute", "rna:ephys")
    assert run(*given, *labels, "--csv", table, "--model", folder, "--out", out) == 0
    new, reference = md.read_h5mu(jamie / "new.h5mu"), md.read_h5mu(jamie / "in.h5mu")
    model = cvi.tl.map_query(new, jamie / "model", seed=5, train_kwargs=quick)
    cvi.tl.predict_labels(new, model, labels="cell_type", reference=reference)
    cvi.tl.impute(new, model, source="rna", target="ephys")
    written = md.read_h5mu(out)
    np.testing.assert_allclose(written.obsm["X_jamie"], new.obsm["X_jamie"], atol=1e-5)
    np.testing.assert_allclose(written["rna"].obsm["jamie_ephys"], new["rna"].obsm["jamie_ephys"], atol=1e-4)
    told = pd.read_csv(table, index_col="cell")
    assert list(told) == ["label", "confidence"]
    assert told["label"].tolist() == new.obs["jamie_cell_type"].tolist()
    loaded = cvi.model.JAMIE.load(folder, adata=False)
    np.testing.assert_allclose(
        loaded.get_latent_representation(written, part="joint"), written.obsm["X_jamie"], atol=1e-5
    )


def test_map_with_jae_predicts_the_labels_that_it_learned(run, cells, tmp_path):
    cells[cells.obs["donor"] == "d1"].copy().write(tmp_path / "in.h5mu")
    cells[cells.obs["donor"] == "d2"].copy().write(tmp_path / "new.h5mu")
    keys = ("--layer", "rna=raw", "--layer", "atac=raw", "--labels-key", "known", "--batch-key", "donor")
    given = (
        "--modalities",
        "rna,atac",
        *keys,
        "--max-epochs",
        4,
        "--model",
        tmp_path / "m",
        "--out",
        tmp_path / "o.h5mu",
    )
    assert run("embed", tmp_path / "in.h5mu", *given) == 0
    given = ("map", tmp_path / "new.h5mu", "--with-model", tmp_path / "m", "--max-epochs", 1)
    assert run(*given, "--out", tmp_path / "out.h5mu", "--csv", tmp_path / "told.csv") == 0
    written = md.read_h5mu(tmp_path / "out.h5mu")
    assert written.obsm["X_jae"].shape == (30, 23)
    told = pd.read_csv(tmp_path / "told.csv", index_col="cell")
    assert told["label"].tolist() == written.obs["jae_label"].tolist()
    np.testing.assert_allclose(told["typicality"], written.obs["jae_label_typicality"], atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--with-model", "no"), "a saved model at"),
        (("--with-model", "text"), "a JAMIE or JAE in `--with-model`, found a CellText. Cells are named"),
        (("--with-model", "m", "--csv", "t.csv"), "`--labels-key` with `--csv` of a JAMIE, found none"),
        (("--with-model", "m", "--reference", "in.h5mu"), "`--labels-key` with `--reference` of a JAMIE"),
        (("--with-model", "m", "--normalize", "rna"), "no layer 'log1p' of 'rna' with `--normalize`, found one"),
        (("--with-model", "m", "--impute", "rna:atac", "--max-epochs", "1"), "in `--impute` among ['rna', 'ephys']"),
        (("--with-model", "m", "--model", "m"), "`--model` to be no input, found 'm', which is read"),
    ],
)
def test_bad_input_writes_nothing(refuses, jamie, celltext, tmp_path, arguments, message):
    (tmp_path / "m").symlink_to(jamie / "model")
    (tmp_path / "text").symlink_to(celltext / "model")
    (tmp_path / "in.h5mu").symlink_to(jamie / "in.h5mu")
    (tmp_path / "new.h5mu").symlink_to(jamie / "new.h5mu")
    refuses("map", "new.h5mu", *arguments, "--out", "o.h5mu", message=message)


def test_what_a_jae_does_not_take(refuses, run, cells, tmp_path):
    cells.write(tmp_path / "in.h5mu")
    given = ("--modalities", "rna", "--layer", "rna=raw", "--max-epochs", 1, "--model", tmp_path / "m")
    assert run("embed", tmp_path / "in.h5mu", *given, "--out", tmp_path / "out.h5mu") == 0
    given = ("map", "in.h5mu", "--with-model", "m", "--out", "o.h5mu")
    refuses(*given, "--labels-key", "known", message="no `--labels-key` with a JAE")
    refuses(*given, "--impute", "rna:atac", message="no `--impute` with a JAE, found it. It predicts the labels")
    with pytest.warns(UserWarning, match="Nothing was fitted"):
        refuses(*given, "--csv", "t.csv", message="a model with labels with `--csv`, found one without")
