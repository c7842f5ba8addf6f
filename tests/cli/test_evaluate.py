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
