import mudata as md
import numpy as np
import pytest

import couplevi as cvi


def test_run_writes_the_slots_of_tl(run, h5mu, tmp_path, mdata, quick):
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
def test_run_writes_standard_deviations_where_pairs_allow(run, n, tmp_path, capsys):
    mdata = cvi.data.branching_manifold(n_obs=n, n_features={"rna": 30, "ephys": 8}, seed=1)
    mdata.write(tmp_path / "in.h5mu")
    out = tmp_path / "out.h5mu"
    arguments = ("--modalities", "rna,ephys", "--impute", "rna:ephys", "--sd", "--max-epochs", 4, "--out", out)
    assert run("run", tmp_path / "in.h5mu", *arguments) == 0
    assert ("jamie_ephys_sd" in md.read_h5mu(out)["rna"].obsm) == (n == 200)
    assert ("no standard deviations of ephys from rna: they take 80 pairs" in capsys.readouterr().err) == (n == 60)


def test_links_in_the_file_are_used(run, mdata, tmp_path):
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
        (("--modalities", "rna,ephys", "--impute", "rna:atac"), "modalities in `--impute` among"),
        (("--modalities", "rna,ephys", "--impute", "rna:rna"), "`target` to differ from `source`, found 'rna'"),
        (("--modalities", "rna,ephys", "--correspondence", "x"), "obsp['x']"),
        (("--modalities", "rna,ephys", "--preset", "best"), "`preset` to be one of"),
        (("--modalities", "rna,ephys", "--n-latent", "0"), "`n_latent`"),
    ],
)
def test_bad_input_writes_nothing(refuses, h5mu, arguments, message):
    refuses("run", "in.h5mu", *arguments, "--out", "o.h5mu", message=message)


def test_batches_representations_and_labels(run, h5mu, mdata, tmp_path):
    mdata["rna"].obsm["X_pca"] = mdata["rna"].layers["log1p"][:, :5]
    mdata.obs["donor"] = ["a", "b"] * 30
    mdata.write(h5mu)
    keys = ("--use-rep", "rna=X_pca", "--batch-key", "donor", "--labels-key", "cell_type", "--max-epochs", 1)
    given = ("run", h5mu, "--modalities", "rna,ephys", *keys, "--impute", "rna:ephys", "--impute", "rna:ephys")
    assert run(*given, "--model", tmp_path / "m", "--out", tmp_path / "o.h5mu") == 0
    model = cvi.model.JAMIE.load(tmp_path / "m", adata=False)
    assert (model.get_setup_arg("use_rep"), model.get_setup_arg("batch_key")) == ({"rna": "X_pca"}, "donor")
    assert set(md.read_h5mu(tmp_path / "o.h5mu").obs["jamie_cell_type"]) <= set(mdata.obs["cell_type"])
