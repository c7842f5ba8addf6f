import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from model_table import QUICK
from small import FourUnits, LittleModel, StepPlan

from couplevi.train import CoupledTrainRunner

QUIET = {"log_every_n_steps": 1, "limit_val_batches": 0, **QUICK}


class Logged(StepPlan):
    """Logs a loss that falls by one with each epoch."""

    def training_step(self, batch, batch_idx):
        self.log("train_loss", torch.tensor(10.0 - self.current_epoch), on_epoch=True, on_step=False)
        return super().training_step(batch, batch_idx)


class StopAfter(Callback):
    """An interruption at the start of an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_train_epoch_start(self, trainer, module):
        if trainer.current_epoch == self.epoch:
            raise ValueError("stop")


def run(model, max_epochs=2, **options):
    model.module.train()
    CoupledTrainRunner(
        model, training_plan=Logged(model.module), data_splitter=FourUnits(), max_epochs=max_epochs, **QUIET, **options
    )()
    return model


@pytest.fixture
def every_epoch(monkeypatch):
    """Let the state of training be written after each epoch."""
    monkeypatch.setattr("couplevi.train._callbacks.Checkpoint.__init__.__defaults__", (0.0,))


def test_a_model_knows_that_it_is_trained_on_what_and_how_it_went():
    model = run(LittleModel())
    assert model.is_trained_
    assert not model.module.training
    assert (list(model.train_indices), list(model.validation_indices)) == ([0, 1, 2, 3], [])
    assert model.trainer.current_epoch == 2
    assert model.history_["train_loss"]["train_loss"].tolist() == [10, 9]


def test_a_further_training_goes_on_in_the_history_of_the_first():
    model = run(run(LittleModel(), 3), 2)
    losses = model.history_["train_loss"]["train_loss"]
    assert losses.tolist() == [10, 9, 8, 10, 9]
    assert losses.index.tolist() == [0, 1, 2, 3, 4]


def test_the_history_of_a_training_that_came_to_nothing_does_not_count():
    model = LittleModel()
    model.history_ = {"train_loss": "of a failure"}
    assert len(run(model).history_["train_loss"]) == 2


def test_a_training_is_resumed_where_it_was_and_leaves_no_file(tmp_path, every_epoch):
    path = tmp_path / "state"
    model = LittleModel()
    before = model.module.weight.detach().clone()
    with pytest.raises(ValueError, match="stop"):
        run(model, 5, checkpoint=path, callbacks=[StopAfter(3)])
    assert path.is_file()
    again = run(LittleModel(), 5, checkpoint=path)
    torch.testing.assert_close(again.module.weight.data, before - 10)  # two steps of one in each of five epochs
    assert again.module.seen == 10
    assert again.history_["train_loss"]["train_loss"].tolist() == [10, 9, 8, 7, 6]
    assert list(tmp_path.iterdir()) == []


def test_only_the_state_of_this_model_that_is_not_at_its_end_is_resumed(tmp_path, every_epoch):
    path = tmp_path / "state"
    with pytest.raises(ValueError, match="stop"):
        run(LittleModel(), 5, checkpoint=path, callbacks=[StopAfter(3)])
    with pytest.raises(ValueError, match=r"`max_epochs` above 3, as many as `checkpoint=.*has behind it, found 3"):
        run(LittleModel(), 3, checkpoint=path)
    other = LittleModel()
    other.module = torch.nn.Linear(3, 1)
    with pytest.raises(ValueError, match="the state of this model in .*found that of another. Resume with the same"):
        run(other, 5, checkpoint=path)
    for content in (b"", b"no state", path.read_bytes()[:100]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="the state of a training in .*found another file. Name another"):
            run(LittleModel(), 5, checkpoint=path)
    torch.save({"epoch": 1}, path)
    with pytest.raises(ValueError, match="the state of a training in"):
        run(LittleModel(), 5, checkpoint=path)


def test_a_training_without_a_step_is_none():
    model = LittleModel()
    with pytest.raises(ValueError, match="one or more steps of training, found none"):
        run(model, limit_train_batches=0)
    assert not model.is_trained_


def test_training_stops_early_on_what_is_watched():
    model = run(
        LittleModel(),
        20,
        early_stopping=True,
        early_stopping_monitor="train_loss",
        early_stopping_patience=2,
        early_stopping_mode="max",  # the loss falls: after the first epoch none is higher
    )
    assert len(model.history_["train_loss"]) == 3


def test_a_number_of_devices_may_be_of_numpy():
    assert run(LittleModel(), devices=np.int64(1)).is_trained_


def test_half_precision_on_a_cpu_is_the_one_that_it_has():
    with pytest.warns(UserWarning, match='`precision=16` needs a GPU: training on this CPU takes "bf16-mixed"'):
        model = run(LittleModel(), precision=16)
    assert model.trainer.precision == "bf16-mixed"
    assert run(LittleModel(), precision=32).trainer.precision == "32-true"
