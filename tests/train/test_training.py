"""What every training holds to, whatever the model: its history, its precision, and what it says."""

import re
import subprocess
import sys
import threading
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.loggers import CSVLogger
from model_table import MODELS, QUICK, build, fresh, gives

import couplevi as cvi

SCRIPT = """
import sys
import scanpy  # of some versions, what it imports warns
sys.stderr.write("QUIET\\n")
import lightning.pytorch.trainer.connectors.data_connector as connector
connector.suggested_max_num_workers = lambda n: 16  # as on a large machine
import couplevi as cvi

both = dict(modalities=("rna", "ephys"), layers={"rna": "log1p"})
mdata = cvi.data.branching_manifold(n_obs=60, n_features={"rna": 30, "ephys": 8}, seed=0)
quiet = {"max_epochs": 3, "enable_progress_bar": False}
model = cvi.tl.jamie(mdata, **both, n_latent=4, train_kwargs=quiet)
cvi.tl.jamie(mdata, **both, use_rep={"ephys": "X_jamie"}, n_latent=4, train_kwargs={**quiet, "logger": False})
cvi.tl.explain(mdata, model, source="rna", target="ephys", progress_bar=False)
adata = cvi.data.count_clusters(n_obs=200, n_features={"rna": 40, "atac": 30}, seed=0)["rna"]
cvi.tl.cplmixvae(adata, n_categories=3, layers="log1p", train_kwargs={**quiet, "prune": False})
sys.stderr.write("LOUD\\n")
stop = {"train_size": 0.8, "early_stopping_patience": 1, "plan_kwargs": {"lr": 1.0, "lr_schedule": "constant"}}
cvi.tl.jamie(mdata, **both, n_latent=4, train_kwargs={"max_epochs": 40, **stop})
cvi.tl.cplmixvae(adata, n_categories=3, layers="log1p", train_kwargs={"max_epochs": 20, "prune": False})
cvi.tl.explain(mdata, model, source="rna", target="ephys")
cvi.tl.ablate(mdata, model, source="rna", target="ephys")
class Stop(Exception): pass
from lightning.pytorch.callbacks import Callback
class Fail(Callback):
    def on_train_epoch_end(self, *args): raise Stop("stop")
try: model.train(max_epochs=3, callbacks=[Fail()])
except Stop: pass
"""


@pytest.fixture(scope="module")
def said():
    """What a script in a pipe writes to stdout, and to stderr without and with progress."""
    run = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    _, silent, loud = re.split("QUIET\n|LOUD\n", run.stderr)
    return run.stdout, silent, loud


def test_nothing_is_written_to_stdout(said):
    assert said[0] == ""


def test_without_progress_nothing_is_said_but_by_us(said):
    ours = re.compile(r".*/couplevi/tl/_cplmixvae.py:\d+: (UserWarning: )?(The categories have|No number)")
    lines = [line for line in said[1].splitlines() if not ours.match(line) and "model.train(" not in line]
    assert lines == []


def test_progress_is_some_lines_of_a_log(said):
    lines = [line for line in said[2].splitlines() if line.startswith("couplevi: ")]
    others = [line for line in said[2].splitlines() if line not in lines]
    assert all("/couplevi/" in line or "model.train(" in line for line in others)
    of = {
        what: [line for line in lines if f" {what} " in line] for what in ("epoch", "explained cell", "ablated group")
    }
    assert len(of["explained cell"]) == len(of["ablated group"]) == 10
    assert 10 < len(of["epoch"]) <= 20
    assert all(re.fullmatch(r"couplevi: epoch \d+ of \d+(, \w+_loss \S+)+, \d+ s", line) for line in of["epoch"])
    assert sum(len(values) for values in of.values()) == len(lines)
    stopped = [line.split()[2] for line in of["epoch"] if " of 40," in line]
    assert 4 < len(stopped) <= 10
    assert int(stopped[-1]) < 40


@pytest.mark.parametrize("name", MODELS)
def test_history_is_kept_beside_the_loggers_of_the_user(name, tmp_path):
    silent = build(name, fresh())
    silent.train(2, **QUICK, **MODELS[name].train, logger=False)
    logger = CSVLogger(tmp_path, name="user", version=0)
    model = build(name, fresh())
    model.train(2, **QUICK, **MODELS[name].train, logger=logger)
    assert model.trainer.logger is logger
    assert "train_loss" in (tmp_path / "user" / "version_0" / "metrics.csv").read_text()
    assert model.history.keys() == silent.history.keys()
    for key, frame in silent.history.items():
        np.testing.assert_array_equal(model.history[key].to_numpy(), frame.to_numpy(), err_msg=key)
    model.train(1, **QUICK, **MODELS[name].train, logger=[logger])
    assert model.history["train_loss"].index.tolist() == [0, 1, 2]
    plt.close(cvi.pl.losses(model, return_fig=True))


@pytest.mark.parametrize("name", MODELS)
def test_mixed_precision_gives_what_single_precision_does(name):
    """bfloat16 has 8 bits for a number: weights stay in single precision and so the results do, nearly."""
    single = build(name, fresh())
    single.train(10, **QUICK, **MODELS[name].train)
    mixed = build(name, fresh())  # which seeds the training, too
    mixed.train(10, **QUICK, **MODELS[name].train, precision="bf16-mixed")
    assert {p.dtype.itemsize for p in mixed.module.parameters()} == {4}
    differ, given = False, gives(mixed)
    for what, expected in gives(single).items():
        found = given[what]
        differ |= not np.array_equal(found, expected, equal_nan=True)
        if what == "states":
            continue  # which axis of a category is which hangs on rounding in single precision, too
        away = np.sqrt(np.nanmean((found - expected) ** 2))
        assert away < 0.05 * np.sqrt(np.nanmean(expected**2)), what
    assert differ  # it was mixed


@pytest.mark.parametrize("name", MODELS)
def test_half_precision_without_a_gpu_says_what_it_takes_in_its_place(name):
    model = build(name, fresh())
    with pytest.warns(UserWarning, match="`precision='16-mixed'` needs a GPU: .*\"bf16-mixed\"") as caught:
        model.train(1, **QUICK, **MODELS[name].train, precision="16-mixed")
    assert [w.filename for w in caught if "needs a GPU" in str(w.message)] == [__file__]


def test_trainings_of_two_threads_leave_filters_as_they_were():
    models = [build("JAMIE", fresh()) for _ in range(2)]
    before = list(warnings.filters)
    threads = [threading.Thread(target=model.train, args=(3,), kwargs=QUICK) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(model.is_trained_ for model in models)
    assert warnings.filters == before


def test_a_bar_of_the_user_stands_for_ours(capsys):
    class Mine(ProgressBar):
        def disable(self):
            pass

    model = build("JAMIE", fresh())
    bar = Mine()
    model.train(2, accelerator="cpu", callbacks=[bar])
    assert model.trainer.progress_bar_callback is bar
    assert capsys.readouterr() == ("", "")
