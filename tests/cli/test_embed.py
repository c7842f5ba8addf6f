import mudata as md
import numpy as np
import pandas as pd
import pytest

import couplevi as cvi


def test_embed_writes_what_tl_does(run, cells_h5mu, tmp_path, cells, capsys):
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


def test_embed_without_labels_writes_no_labels(run, cells_h5mu, tmp_path):
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
def test_bad_input_writes_nothing(refuses, cells, tmp_path, arguments, message):
    cells.obs["one"] = "type0"
    cells.write(tmp_path / "in.h5mu")
    refuses("embed", "in.h5mu", "--modalities", "rna,atac", "--out", "o.h5mu", *arguments, message=message)


def test_a_representation(run, cells, tmp_path):
    cells["rna"].obsm["X_pca"] = np.random.default_rng(0).normal(size=(90, 5)).astype(np.float32)
    cells.write(tmp_path / "in.h5mu")
    given = ("embed", tmp_path / "in.h5mu", "--modalities", "rna", "--use-rep", "rna=X_pca", "--max-epochs", 1)
    assert run(*given, "--model", tmp_path / "m", "--out", tmp_path / "o.h5mu") == 0
    assert cvi.model.JAE.load(tmp_path / "m", adata=False).get_setup_arg("use_rep") == {"rna": "X_pca"}
