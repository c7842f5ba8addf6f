import mudata as md
import numpy as np

import couplevi as cvi


def test_match_writes_what_tl_does(run, tmp_path, mdata):
    mdata, out = mdata[:24].copy(), tmp_path / "out.h5mu"
    mdata.write(tmp_path / "in.h5mu")
    arguments = (
        "match",
        tmp_path / "in.h5mu",
        "--modalities",
        "rna,ephys",
        "--layer",
        "rna=log1p",
        "--known",
        "by_name",
    )
    assert run(*arguments, "--method", "gw", "--group", "cell_type", "--seed", 1, "--out", out) == 0
    given = {"known": "by_name", "method": "gw", "group_key": "cell_type", "seed": 1}
    cvi.tl.match(mdata, modalities=("rna", "ephys"), layers={"rna": "log1p"}, **given)
    assert abs(md.read_h5mu(out).obsp["match"] - mdata.obsp["match"]).max() < 1e-6


def test_match_of_representations_and_counts(run, cells, tmp_path):
    for adata in cells.mod.values():
        del adata.layers["log1p"]
    cells["atac"].obsm["X_pca"] = np.log1p(cells["atac"].layers["raw"][:, :5])
    cells.write(tmp_path / "in.h5mu")
    given = ("--normalize", "rna=raw", "--use-rep", "atac=X_pca", "--known", "by_name")
    assert run("match", tmp_path / "in.h5mu", "--modalities", "rna,atac", *given, "--out", tmp_path / "o.h5mu") == 0
    written = md.read_h5mu(tmp_path / "o.h5mu")
    found = written.obsp["match"].copy()
    cvi.tl.match(
        written, modalities=("rna", "atac"), layers={"rna": "log1p"}, use_rep={"atac": "X_pca"}, known="by_name", seed=0
    )
    assert abs(found - written.obsp["match"]).max() < 1e-6
