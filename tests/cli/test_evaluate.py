import pandas as pd


def test_evaluate_scores_a_saved_model(run, h5mu, tmp_path, capsys):
    arguments = ("run", h5mu, "--modalities", "rna,ephys", "--out", tmp_path / "o.h5mu", "--max-epochs", 2)
    assert run(*arguments, "--model", tmp_path / "m") == 0
    capsys.readouterr()
    arguments = ("evaluate", h5mu, "--model", tmp_path / "m", "--labels", "cell_type", "--baselines", "knn")
    assert run(*arguments, "--in-sample") == 0
    assert "foscttm" in capsys.readouterr().out
    assert run(*arguments, "--in-sample", "--out", tmp_path / "s.csv", "--training-data", h5mu) == 0
    assert set(pd.read_csv(tmp_path / "s.csv")["method"]) == {"JAMIE", "knn"}


def test_raw_counts_are_scored_as_the_model_was_trained(run, cells, tmp_path, capsys):
    for adata in cells.mod.values():
        del adata.layers["log1p"]
    cells.write(tmp_path / "in.h5mu")
    counts = ("--normalize", "rna=raw,atac=raw")
    given = ("run", tmp_path / "in.h5mu", "--modalities", "rna,atac", *counts, "--max-epochs", 1)
    assert run(*given, "--model", tmp_path / "m", "--out", tmp_path / "o.h5mu") == 0
    given = ("--model", tmp_path / "m", "--in-sample", "--baselines", "ridge")
    assert run("evaluate", tmp_path / "o.h5mu", *given, "--out", tmp_path / "a.csv") == 0
    raw = ("evaluate", tmp_path / "in.h5mu", *given, *counts)
    assert run(*raw, "--training-data", tmp_path / "in.h5mu", "--out", tmp_path / "b.csv") == 0
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "a.csv"), pd.read_csv(tmp_path / "b.csv"))
    given = ("--model", tmp_path / "m", "--source", "rna", "--target", "atac", "--targets", "atac0", "--cells", "cell1")
    for name, more in (("o", ()), ("in", counts)):
        files = ("--csv", tmp_path / f"{name}.csv", "--out", tmp_path / "e.h5mu")
        assert run("explain", tmp_path / f"{name}.h5mu", *given, *more, *files) == 0
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "o.csv"), pd.read_csv(tmp_path / "in.csv"))
