"""Training that is interrupted, and goes on."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback

import couplevi as cvi

ARGUMENTS = {"max_epochs": 12, "enable_progress_bar": False, "accelerator": "cpu"}


class Interrupt(Callback):
    """Ctrl-C in the middle of an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_train_batch_end(self, trainer, *args):
        if trainer.current_epoch == self.epoch and trainer.global_step % 3 == 1:
            raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def _every_epoch(monkeypatch):
    monkeypatch.setattr("couplevi.train._callbacks.Checkpoint.__init__.__defaults__", (0.0,))


def new(seed=0, **settings):
    mdata = cvi.data.branching_manifold(n_obs=120, n_features={"rna": 30, "ephys": 8}, paired=0.8, seed=1)
    torch.manual_seed(seed)
    cvi.model.JAMIE.setup_mudata(mdata, modalities=("rna", "ephys"), layers={"rna": "log1p"})
    return cvi.model.JAMIE(mdata, batch_size=32, **settings)


def interrupted(path, epoch, **kwargs):
    model = new(**kwargs.pop("settings", {}))
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        model.train(**ARGUMENTS, checkpoint=path, callbacks=[Interrupt(epoch)], **kwargs)
    assert not model.is_trained_
    return model


@pytest.mark.parametrize("epoch", [3, 8])  # before and after the pairs for calibration are released
def test_resumed_training_is_training_without_interruption(tmp_path, epoch):
    whole = new()
    whole.train(**ARGUMENTS)
    path = tmp_path / "state.ckpt"
    interrupted(path, epoch)
    assert path.is_file()
    model = new(seed=99)
    model.train(**ARGUMENTS, checkpoint=path)
    np.testing.assert_array_equal(model.get_latent_representation(), whole.get_latent_representation())
    np.testing.assert_array_equal(
        model.impute(source="rna", target="ephys", return_sd=True).layers["sd"],
        whole.impute(source="rna", target="ephys", return_sd=True).layers["sd"],
    )
    for name, frame in whole.history.items():
        np.testing.assert_array_equal(model.history[name].to_numpy(), frame.to_numpy(), err_msg=name)
        assert model.history[name].index.tolist() == frame.index.tolist()
    assert list(tmp_path.iterdir()) == []  # it is of no use any more


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_training_on_a_gpu_is_resumed_as_well(tmp_path):
    path, arguments = tmp_path / "state.ckpt", ARGUMENTS | {"accelerator": "gpu"}
    whole, first, model = new(), new(), new(seed=99)
    whole.train(**arguments)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        first.train(**arguments, checkpoint=path, callbacks=[Interrupt(6)])
    model.train(**arguments, checkpoint=path)
    z, expected = model.get_latent_representation(), whole.get_latent_representation()
    np.testing.assert_allclose(z, expected, rtol=1e-3, atol=1e-4)  # sums there have no order


def test_early_stopping_and_the_best_weights_are_resumed(tmp_path):
    options = {"train_size": 0.8, "early_stopping_patience": 2}
    settings = {"kl_warmup": 0.1, "lr": 0.05, "calibration_size": 0.0}
    whole = new(**settings)
    whole.train(**ARGUMENTS | options)
    path = tmp_path / "state.ckpt"
    epoch = len(whole.history["train_loss"]) - 2
    interrupted(path, epoch, settings=settings, **options)
    model = new(**settings)
    model.train(**ARGUMENTS | options, checkpoint=path)
    assert len(model.history["train_loss"]) == len(whole.history["train_loss"])
    np.testing.assert_array_equal(model.get_latent_representation(), whole.get_latent_representation())


def test_a_checkpoint_holds_no_code(tmp_path):
    path = tmp_path / "state.ckpt"
    interrupted(path, 2)
    assert torch.load(path, weights_only=True)["epoch"] == 1


SCRIPT = """
import sys
sys.path.insert(0, {folder!r})
import couplevi.train._callbacks as callbacks
callbacks.Checkpoint.__init__.__defaults__ = (0.0,)
from test_checkpoint import new
new().train(max_epochs=100_000, enable_progress_bar=False, accelerator="cpu", checkpoint={path!r})
"""


def test_a_killed_process_leaves_a_whole_file(tmp_path):
    path = tmp_path / "state.ckpt"
    script = SCRIPT.format(folder=os.path.dirname(__file__), path=str(path))
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not path.exists() and process.poll() is None:
        time.sleep(0.05)
    time.sleep(0.3)  # in the middle of anything
    process.send_signal(signal.SIGKILL)
    process.wait()
    epoch = torch.load(path, weights_only=True)["epoch"]
    model = new()
    model.train(max_epochs=epoch + 2, enable_progress_bar=False, accelerator="cpu", checkpoint=path)
    assert len(model.history["train_loss"]) == epoch + 2


def test_bad_paths(tmp_path):
    model = new()
    with pytest.raises(FileNotFoundError, match="a folder .*absent' to write to, found none. Create it first"):
        model.train(max_epochs=1, checkpoint=tmp_path / "absent" / "x.ckpt")
    with pytest.raises(ValueError, match="`checkpoint` to be a file, found a folder"):
        model.train(max_epochs=1, checkpoint=tmp_path)
