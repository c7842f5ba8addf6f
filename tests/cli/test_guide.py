"""Pipelines of the guide, run as they stand there."""

import re
import shlex
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import mudata as md
import numpy as np
import pandas as pd
import pytest

import couplevi as cvi
from couplevi.model.jamie import settings

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "tasks" / "pipelines.md"

pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="the tests are not in a clone")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)


class Files(SimpleNamespace):
    """Files of a rule, by name or as they are."""

    def __init__(self, *paths, **named):
        super().__init__(**named)
        self.paths = [*paths, *named.values()]

    def __str__(self):
        return " ".join(self.paths)


def rules(snakefile):
    """Input, output and shell command of each rule, by name."""
    found = {}
    for name, body in re.findall(r"^rule (\w+):\n((?:    .*\n|\n)+)", snakefile, flags=re.MULTILINE):
        parts = re.findall(r"^    (\w+):\n((?:        .*\n)+)", body, flags=re.MULTILINE)
        names = {"Files": Files, "directory": str}
        calls = {key: f"{'str' if key == 'shell' else 'Files'}({text})" for key, text in parts}
        found[name] = {key: eval(call, names) for key, call in calls.items()}
    return found


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Files that both pipelines read."""
    monkeypatch.chdir(tmp_path)
    few = {**settings.PRESETS, "default": replace(settings.DEFAULT, n_steps=4)}  # a reader takes 1,600
    monkeypatch.setattr(settings, "PRESETS", few)
    mdata = cvi.data.count_clusters(n_obs=36, n_clusters=2, n_features={"rna": 30, "atac": 12}, seed=0)
    for adata in mdata.mod.values():
        del adata.layers["log1p"]
    mdata.obs["donor"] = np.where(np.arange(36) < 24, "d1", "d2")
    mdata[:24].copy().write("cells.h5mu")
    mdata[24:].copy().write("others.h5mu")
    [options] = blocks("yaml")
    Path("jamie.yaml").write_text(options)
    return tmp_path


def test_snakemake_rules_run_one_after_the_other(project, run):
    [snakefile] = blocks("python")
    found = rules(snakefile)
    assert list(found) == ["all", "run", "evaluate", "explain", "map"]
    Path("results").mkdir()  # as Snakemake does
    for rule in list(found.values())[1:]:
        assert all(Path(path).exists() for path in rule["input"].paths)
        given = shlex.split(rule["shell"].format(**rule))
        assert given[0] == "couplevi"
        assert run(*given[1:]) == 0
        assert all(Path(path).exists() for path in rule["output"].paths)
    assert all(Path(path).exists() for path in found["all"]["input"].paths)
    integrated = md.read_h5mu("results/integrated.h5mu")
    assert integrated["rna"].obsm["jamie_atac"].shape == (24, 12)
    assert pd.read_csv("results/drivers.csv", index_col="feature").shape == (30, 12)
    assert set(pd.read_csv("results/labels.csv")["label"]) <= set(integrated.obs["cell_type"])


def test_nextflow_processes_run_one_after_the_other(project, run):
    [workflow] = blocks("groovy")
    values = {"cells": "cells.h5mu", "options": "jamie.yaml", "others": "others.h5mu", "sample": "others"}
    for process in re.findall(r"^process .*?^}", workflow, flags=re.MULTILINE | re.DOTALL):
        [script] = re.findall(r'"""\n(.*?)"""', process, flags=re.DOTALL)
        given = shlex.split(re.sub(r"\$\{(\w+)\}", lambda match: {**values, "model": "jamie"}[match[1]], script))
        assert run(*given[1:]) == 0
        for path in re.findall(r'path[ (]"(.+?)"', process):
            assert Path(path.replace("${sample}", "others")).exists()
    assert md.read_h5mu("others.mapped.h5mu")["rna"].obsm["jamie_atac"].shape == (12, 12)


def test_every_subcommand_and_key_is_in_the_guide(project, run, capsys):
    with pytest.raises(SystemExit):
        run("--help")
    listed = capsys.readouterr().out.split("{")[1].split("}")[0].split(",")
    assert re.findall(r"^\| `(\w+)` \| `tl", PAGE.read_text(), flags=re.MULTILINE) == listed
    given = ("--modalities", "rna,atac", "--normalize", "rna,atac", "--max-epochs", 1, "--out", "o.h5mu")
    assert run("run", "cells.h5mu", *given, "--summary", "s.json") == 0
    keys = pd.read_json("s.json", typ="series").index.tolist()
    table = PAGE.read_text().split("| key | what |")[1].split("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE) == keys
