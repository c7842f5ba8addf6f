"""Training in two processes."""

import json
import subprocess
import sys

import numpy as np
import pytest

SCRIPT = """
import json, os, sys, warnings
warnings.filterwarnings("ignore")
import numpy as np, torch
torch.set_num_threads(1)
import couplevi as cvi
from couplevi.dataloaders import UnitSampler

drawn = []
draw = UnitSampler._draw

def recorded(self, units, rng):
    drawn.append((self.epoch, units.tolist()))
    return draw(self, units, rng)

UnitSampler._draw = recorded
mdata = cvi.data.branching_manifold(n_obs=300, n_features={"rna": 30, "ephys": 8}, paired=0.5, seed=0)
cvi.model.JAMIE.setup_mudata(mdata, modalities=("rna", "ephys"), layers={"rna": "log1p"})
model = cvi.model.JAMIE(mdata, batch_size=30)
model.train(max_epochs=8, enable_progress_bar=False, accelerator="cpu", devices=2, strategy="ddp")
rank = int(os.environ["LOCAL_RANK"]) if "LOCAL_RANK" in os.environ else 0
history = {name: frame.to_numpy().ravel().tolist() for name, frame in (model.history or {}).items()}
result = {
    "drawn": drawn,
    "z": model.get_latent_representation().tolist(),
    "history": history,
    "sd": model.has_sd("rna", "ephys"),
}
with open(f"{sys.argv[1]}/{rank}.json", "w") as file:
    json.dump(result, file)
"""


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What each of two processes drew, and the model that it ended with."""
    folder = tmp_path_factory.mktemp("ddp")
    (folder / "script.py").write_text(SCRIPT)
    command = [sys.executable, str(folder / "script.py"), str(folder)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr[-2000:]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


def test_each_unit_is_drawn_once_in_an_epoch_by_one_process(ranks):
    """The processes were not given a seed: they agree on that of the first."""
    for epoch in (0, 7):
        parts = [[u for e, units in rank["drawn"] if e == epoch for u in units] for rank in ranks]
        together = np.concatenate(parts)
        n_held_back = 20 if epoch == 0 else 0  # for calibration, in the first half
        assert len(parts[0]) == len(parts[1]) == (300 - n_held_back) / 2
        assert len(np.unique(together)) == 300 - n_held_back


def test_both_processes_end_with_the_same_model(ranks):
    np.testing.assert_array_equal(ranks[0]["z"], ranks[1]["z"])
    assert ranks[0]["sd"] and ranks[1]["sd"]


def test_the_loss_has_the_scale_of_one_process(ranks):
    import torch

    import couplevi as cvi

    mdata = cvi.data.branching_manifold(n_obs=300, n_features={"rna": 30, "ephys": 8}, paired=0.5, seed=0)
    torch.manual_seed(0)
    cvi.model.JAMIE.setup_mudata(mdata, modalities=("rna", "ephys"), layers={"rna": "log1p"})
    model = cvi.model.JAMIE(mdata, batch_size=30)
    model.train(max_epochs=8, enable_progress_bar=False, accelerator="cpu")
    for name in ("reconstruction_train", "contrastive_train"):
        one = model.history[name].to_numpy().ravel()[0]
        assert ranks[0]["history"][name][0] == pytest.approx(one, rel=0.15), name
