import argparse
import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from couplevi.cli._command import Result
from couplevi.cli._summary import new_slots, shapes, slots, write_summary

KEYS = {
    *("format", "command", "options", "versions", "files", "shapes", "slots", "seconds", "losses", "metrics"),
}


def test_slots_that_are_new_or_changed(mdata):
    mdata["rna"].obs["kind"], mdata["rna"].obsm["X_pca"] = "a", np.zeros((45, 2))
    before = slots(mdata)
    assert new_slots(before, slots(mdata)) == []
    mdata.obs["label"], mdata.uns["jamie"], mdata.uns["_scvi_uuid"] = "a", {}, "1"
    mdata["rna"].obs["kind"], mdata["rna"].obsm["X_pca"] = "b", np.zeros((45, 2))
    mdata["ephys"].layers["x"] = mdata["ephys"].X.copy()
    found = new_slots(before, slots(mdata))
    assert found == [
        'mdata.obs["label"]',
        'mdata.uns["jamie"]',
        'mdata["ephys"].layers["x"]',
        'mdata["rna"].obs["kind"]',
        'mdata["rna"].obsm["X_pca"]',
    ]
    assert 'adata.obs["kind"]' in slots(mdata["rna"])
    assert shapes(mdata["rna"]) == {"adata": [45, 30]}


def test_what_is_not_finite_is_null(tmp_path):
    arguments = argparse.Namespace(name="evaluate", command=print, kinds=(), out=Path("a.h5mu"), seed=0)
    metrics = pd.DataFrame({"metric": ["lta", "foscttm"], "n": [3, 4], "value": [0.5, np.nan]})
    write_summary(tmp_path / "s.json", arguments, {"slots": []}, Result(metrics=metrics))
    found = json.loads((tmp_path / "s.json").read_text(), parse_constant=pytest.fail)
    assert found["metrics"] == [
        {"metric": "lta", "n": 3, "value": 0.5},
        {"metric": "foscttm", "n": 4, "value": None},
    ]
    assert found["options"] == {"out": "a.h5mu", "seed": 0}
    assert found["files"] == {"out": "a.h5mu"}


def test_summary_of_a_training(run, h5mu, tmp_path):
    given = ("run", h5mu, "--modalities", "rna,ephys", "--layer", "rna=log1p", "--impute", "rna:ephys", "--sd")
    paths = {name: tmp_path / file for name, file in {"out": "o.zarr", "model": "m", "summary": "s.json"}.items()}
    files = [word for name, path in paths.items() for word in (f"--{name}", path)]
    assert run(*given, "--max-epochs", 1, *files) == 0
    found = json.loads(paths["summary"].read_text())
    assert found.keys() == KEYS
    assert (found["format"], found["command"]) == (1, "run")
    assert found["shapes"] == {"mdata": [60, 38], 'mdata["rna"]': [45, 30], 'mdata["ephys"]': [45, 8]}
    assert {'mdata.obsm["X_jamie"]', 'mdata["rna"].obsm["jamie_ephys"]', 'mdata.uns["jamie"]'} <= set(found["slots"])
    assert 'mdata["rna"].layers["log1p"]' not in found["slots"]
    assert found["options"]["return_sd"] is True
    assert found["options"]["preset"] == "default"
    assert found["files"] == {name: str(path) for name, path in paths.items()}
    assert found["versions"]["torch"] == version("torch")
    assert all(np.isfinite(value) for value in found["losses"].values())
    assert found["losses"]
    assert found["metrics"] == []
    assert found["seconds"] > 0


def test_summary_of_scores_is_what_the_table_has(run, jamie, tmp_path):
    given = ("evaluate", jamie / "in.h5mu", "--model", jamie / "model", "--labels", "cell_type", "--in-sample")
    assert run(*given, "--out", tmp_path / "s.csv", "--summary", tmp_path / "s.json") == 0
    found = json.loads((tmp_path / "s.json").read_text())
    assert found.keys() == KEYS
    table = pd.read_csv(tmp_path / "s.csv")
    assert [row["metric"] for row in found["metrics"]] == table["metric"].tolist()
    assert (found["slots"], found["losses"]) == ([], {})
