"""The benchmarks start, ask what they say they ask, and score methods of which the outcome is known."""

import csv
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import mudata as md
import numpy as np
import pytest

import couplevi as cvi

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(not (ROOT / "benchmarks").is_dir(), reason="the tests are not in a clone")

RUNS = sorted(path.stem for path in (ROOT / "benchmarks" / "runs").glob("[!_]*.py"))
CHEAP = ["5-NN", "ridge", "kernel ridge", "PLS", "reduced rank", "CCA", "Procrustes"]


@pytest.fixture(autouse=True)
def _root_on_path(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)


@pytest.fixture
def linear():
    """A task in which both modalities are linear in the same three coordinates, and half of the pairs are known."""
    from benchmarks.tasks.coupled import Task

    mdata = cvi.data.branching_manifold(n_obs=200, n_features={"rna": 12, "ephys": 9}, seed=0)
    rng = np.random.default_rng(0)
    position = rng.normal(size=(200, 3)) * [3, 2, 1]
    for adata in mdata.mod.values():
        basis, _ = np.linalg.qr(rng.normal(size=(adata.n_vars, 3)))
        adata.X = (position @ basis.T + 0.01 * rng.normal(size=adata.shape)).astype(np.float32)
    train, test = mdata[:150].copy(), mdata[150:].copy()
    return Task("linear", train, test, np.arange(150) < 75, {})


def test_imports_leave_threads_alone():
    modules = [m.name for m in pkgutil.walk_packages([str(ROOT / "benchmarks")], "benchmarks.")]
    assert len(modules) > len(RUNS)
    code = f"""
import importlib, os, torch
torch.set_num_threads(3)
threads = lambda: (torch.get_num_threads(), {{k: v for k, v in os.environ.items() if "THREADS" in k}})
before = threads()
for name in {modules}:
    importlib.import_module(name)
assert threads() == before, threads()
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("name", RUNS)
def test_runs_say_how_they_are_called(name, monkeypatch, capsys):
    main = importlib.import_module(f"benchmarks.runs.{name}").main
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit, match="0"):
        main()
    assert f"python -m benchmarks.runs.{name}" in capsys.readouterr().out


def test_commands_in_the_documentation_are_the_runs():
    texts = [*(ROOT / "docs").glob("**/*.md"), *(ROOT / "benchmarks").glob("*.md"), ROOT / "README.md"]
    named = {name for path in texts for name in re.findall(r"-m benchmarks([.\w]*)", path.read_text())}
    assert named - {".runs.NAME"} == {f".runs.{name}" for name in RUNS}


def test_held_out_cells_are_the_same_for_every_seed_and_share():
    from benchmarks.tasks.coupled import load

    first, other = load("branching_manifold", None, 1.0, 0), load("branching_manifold", None, 0.25, 1)
    assert first.complete and not other.complete
    assert other.known.sum() == 120
    assert list(first.test.obs_names) == list(other.test.obs_names)
    assert set(first.train.obs_names).isdisjoint(first.test.obs_names)
    assert first.train.n_obs + first.test.n_obs == 600
    assert list(other.restricted().train.obs_names) == list(other.train.obs_names[other.known])


@pytest.mark.parametrize("name", CHEAP)
def test_methods_solve_a_linear_task_from_the_known_pairs(name, linear):
    from benchmarks.methods import METHODS

    assert METHODS[name].fits(linear)
    result = METHODS[name].run(linear, 0)
    assert bool(result.latents) != bool(result.imputed)
    for part, (a, b) in result.latents.items():
        assert len(a) == len(b) == getattr(linear, part).n_obs
        assert cvi.metrics.foscttm(a, b) < 0.01
    for (_, target), imputed in result.imputed.items():
        r = cvi.metrics.pearson_per_feature(linear.target("test", target), imputed)
        assert r.min() > {"5-NN": 0.8, "kernel ridge": 0.95}.get(name, 0.98)


@pytest.mark.parametrize("name", CHEAP)
def test_methods_do_not_see_hidden_pairs(name, linear):
    from benchmarks.methods import METHODS
    from benchmarks.tasks.coupled import Task

    mixed = linear.train.copy()
    a, b = linear.modalities
    hidden = np.flatnonzero(~linear.known)
    mixed[b].X[hidden] = mixed[b].X[hidden[::-1]]
    before = METHODS[name].run(linear, 0)
    after = METHODS[name].run(Task("mixed", mixed, linear.test, linear.known, {}), 0)
    for direction, imputed in before.imputed.items():
        np.testing.assert_allclose(after.imputed[direction], imputed, rtol=1e-3, atol=1e-3)
    for x, y in zip(before.latents.get("test", ()), after.latents.get("test", ()), strict=True):
        np.testing.assert_allclose(np.abs(x), np.abs(y), rtol=1e-3, atol=1e-3)


def test_methods_are_run_where_they_are_made_for(linear):
    from benchmarks.methods import METHODS

    def fitting(task):
        return {name for name, method in METHODS.items() if method.fits(task)}

    everywhere = set(METHODS) - {"MultiVI", "totalVI", "couplevi, known pairs alone"}
    assert fitting(linear) == everywhere | {"couplevi, known pairs alone"}
    linear.known[:] = True
    assert fitting(linear) == everywhere
    linear.train.mod["protein"] = linear.train.mod.pop("ephys")
    assert fitting(linear) == everywhere | {"totalVI"}
    linear.train.mod["atac"] = linear.train.mod.pop("protein")
    assert fitting(linear) == everywhere | {"MultiVI"}


def test_clusterings_find_planted_groups():
    from benchmarks.methods import CLUSTERINGS
    from sklearn.metrics import adjusted_rand_score

    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], 40)
    values = rng.normal(0, 0.3, (120, 5)).astype(np.float32) + 4 * np.eye(3, 5, dtype=np.float32)[truth]
    for cluster in CLUSTERINGS.values():
        assert adjusted_rand_score(truth, cluster(values, 3)) == 1


def test_embeddings_are_scored_and_hidden_labels_read_off(tmp_path, monkeypatch, capsys):
    cells = cvi.data.count_clusters(n_obs=120, n_clusters=3, n_features={"rna": 200, "atac": 30}, seed=1)
    mdata = md.MuData({"rna": cells["rna"].copy(), "protein": cells["atac"].copy()})
    mdata.mod["protein"].var_names = [f"protein{j}" for j in range(30)]
    mdata.update()
    mdata.obs["lineage"] = cells.obs["cell_type"].astype(str).where(np.arange(120) > 4, "other")
    mdata.obs["batch"] = np.where(np.arange(120) % 3, "s1d1", "s1d2")
    mdata.obs["pseudotime_order_GEX"] = np.linspace(0, 1, 120)
    mdata.write(tmp_path / "bmmc_cite_2donor.h5mu")
    out = tmp_path / "scores.csv"
    arguments = ["embedding", "--data", tmp_path, "--methods", "SVD", "--out", out]
    monkeypatch.setattr(sys, "argv", list(map(str, arguments)))
    importlib.import_module("benchmarks.runs.embedding").main()
    [row] = csv.DictReader(out.read_text().splitlines())
    assert (row["method"], row["labels of"], row["cell_cycle"]) == ("SVD", "none", "")
    assert float(row["accuracy s1d1"]) == float(row["accuracy s1d2"]) == 1
    assert float(row["nmi"]) > 0.95
    assert "| SVD | none |" in capsys.readouterr().out


def test_labels_of_the_batches_named_are_hidden():
    from benchmarks.tasks.labelled import hide

    mdata = cvi.data.count_clusters(n_obs=30, n_clusters=2)
    mdata.obs["label"] = mdata.obs["cell_type"].astype(str)
    mdata.obs["batch"] = np.repeat(["a", "b", "c"], 10)
    hidden = hide(mdata, ("b", "c"))
    assert hidden.tolist() == [False] * 10 + [True] * 20
    assert set(mdata.obs["known"][hidden]) == {"unknown"}
    assert mdata.obs["known"][~hidden].tolist() == mdata.obs["label"][~hidden].tolist()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # it forks
def test_quality_writes_a_row_a_method_and_does_not_repeat_itself(tmp_path, monkeypatch):
    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        importlib.import_module(f"benchmarks.runs.{name}").main()

    out, table, figure = (tmp_path / name for name in ("results.csv", "table.md", "figure.png"))
    options = ["--sets", "branching_manifold", "--known", 1.0, 0.5, "--methods", "ridge", "Procrustes", "--seeds", 1]
    run("quality", *options, "--out", out)
    written = out.read_text()
    ridge, procrustes, *of_half = csv.DictReader(written.splitlines())
    assert [(row["method"], row["known"]) for row in of_half] == [("ridge", "0.5"), ("Procrustes", "0.5")]
    assert (ridge["method"], procrustes["method"]) == ("ridge", "Procrustes")
    assert float(ridge["forward_r"]) > 0.8
    assert float(ridge["forward_wins_against_ridge"]) == 0
    assert float(procrustes["held_out_foscttm"]) < 0.2
    assert procrustes["forward_r"] == ridge["held_out_foscttm"] == ""
    run("quality", *options, "--out", out)
    assert out.read_text() == written
    run("summary", out, "--table", table, "--figure", figure)
    forward, backward = (f"{float(ridge[f'{d}_r']):.3f}" for d in ("forward", "backward"))
    foscttm = f"{float(procrustes['held_out_foscttm']):.3f}"
    summary, details = table.read_text().split("## Every set")
    assert f"simulated branches (120 cells): 40 of electrophysiology | **{forward}** |" in summary
    assert f"simulated branches (120 cells): 400 of RNA | **{backward}** |" in summary
    assert f"simulated branches (120 cells): FOSCTTM | **{foscttm}** |" in summary
    assert f"| ridge |  |  |  | {float(of_half[0]['forward_r']):.3f} |" in details
    assert figure.stat().st_size > 0


def test_summary_marks_the_best_and_says_how_seeds_differ(tmp_path, monkeypatch):
    rows = [("couplevi", 0, 0.5, 0.2), ("couplevi", 1, 0.7, 0.4), ("ridge", 0, 0.4, ""), ("CCA", 0, "", 0.1)]
    lines = [f"new,1.0,{m},{seed},10,3,{r},{f},1.5,0.5" for m, seed, r, f in rows]
    names = "data,known,method,seed,n_held_out,forward_n_features,forward_r,held_out_foscttm,seconds,peak_gb"
    missing = (
        "held_out_lta,in_sample_foscttm,forward_relative_rmse,backward_r,backward_n_features,forward_wins_against_ridge"
    )
    (results := tmp_path / "results.csv").write_text("\n".join([f"{names},{missing}", *(f"{x},,,,,," for x in lines)]))
    table = tmp_path / "table.md"
    monkeypatch.setattr(
        sys, "argv", ["summary", str(results), "--table", str(table), "--figure", str(tmp_path / "f.png")]
    )
    importlib.import_module("benchmarks.runs.summary").main()
    summary, details = table.read_text().split("## Every set")
    assert "| new (10 cells): 3 of second | **0.600 ± 0.141** | 0.400 |" in summary
    assert "| new (10 cells): FOSCTTM | 0.300 ± 0.141 | **0.100** |" in summary
    assert "| couplevi | 0.300 ± 0.141 |" in details
