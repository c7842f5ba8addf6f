import math
from types import SimpleNamespace

import pytest
import torch

from couplevi.train import BestWeights, Checkpoint


def train(callback, losses, validation=None):
    """Run the hooks of a training whose only weight is the number of the epoch."""
    module = torch.nn.Linear(1, 1, bias=False)
    trainer = SimpleNamespace(callback_metrics={}, should_stop=False, current_epoch=0)
    plan = SimpleNamespace(module=module)
    set_weight = lambda value: module.weight.data.fill_(value)
    set_weight(-1)
    callback.on_train_start(trainer, plan)
    for epoch, loss in enumerate(losses):
        trainer.current_epoch = epoch
        callback.on_train_epoch_start(trainer, plan)
        if trainer.should_stop:
            break
        set_weight(epoch)
        trainer.callback_metrics = {"train_loss": torch.tensor(loss)}
        if validation is not None:
            trainer.callback_metrics["validation_loss"] = torch.tensor(validation[epoch])
    trainer.current_epoch = epoch + 1
    callback.on_train_end(trainer, plan)
    return module.weight.item()


def test_weights_are_left_alone_without_failure():
    assert train(BestWeights("train_loss"), [3.0, 1.0, 2.0]) == 2


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_failure_restores_the_best_weights(bad):
    callback = BestWeights("train_loss")
    assert train(callback, [3.0, 1.0, 2.0, bad, 0.1]) == 1
    assert callback.failed
    assert callback.best == 1.0


def test_failure_in_the_last_epoch_is_seen():
    callback = BestWeights("train_loss")
    assert train(callback, [3.0, 2.0, math.nan]) == 1
    assert callback.failed


def test_failure_in_the_first_epoch_leaves_the_weights_from_before():
    callback = BestWeights("train_loss")
    assert train(callback, [math.nan, 1.0]) == -1
    assert callback.failed
    assert callback.best == math.inf


def test_best_validation_weights_are_restored_on_request():
    callback = BestWeights("validation_loss", restore=True)
    assert train(callback, [4.0, 3.0, 2.0, 1.0], [4.0, 1.0, 2.0, 3.0]) == 1


def test_epochs_of_the_warmup_do_not_compete():
    callback = BestWeights("validation_loss", warmup_epochs=2, restore=True)
    assert train(callback, [1.0] * 5, [0.1, 0.2, 5.0, 4.0, 6.0]) == 3


class Training:
    """The hooks of a callback over epochs with given losses."""

    def __init__(self, callback):
        self.callback, self.module = callback, torch.nn.Linear(1, 1, bias=False)
        self.trainer = SimpleNamespace(callback_metrics={}, should_stop=False, current_epoch=0)
        self.plan = SimpleNamespace(module=self.module)
        callback.on_train_start(self.trainer, self.plan)

    def epoch(self, loss, weight):
        self.callback.on_train_epoch_start(self.trainer, self.plan)
        self.module.weight.data.fill_(weight)
        self.trainer.callback_metrics = {"train_loss": torch.tensor(loss)}
        self.trainer.current_epoch += 1


def test_training_stops_when_the_loss_is_not_a_number():
    training = Training(BestWeights("train_loss"))
    for loss, stopped in ((2.0, False), (float("nan"), False), (1.0, True)):
        training.epoch(loss, 1.0)
        assert training.trainer.should_stop == stopped


def test_a_weight_that_is_not_a_number_is_a_failure_whatever_the_loss():
    callback = BestWeights("train_loss")
    training = Training(callback)
    training.epoch(2.0, 7.0)
    training.epoch(1.0, float("nan"))
    callback.on_train_end(training.trainer, training.plan)
    assert callback.failed
    assert training.module.weight.item() == 7.0


def test_random_numbers_of_a_gpu_go_on_where_they_were(tmp_path, monkeypatch):
    state = torch.arange(16, dtype=torch.uint8)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda: state)
    restored = []
    monkeypatch.setattr(torch.cuda, "set_rng_state", restored.append)
    path = tmp_path / "state"
    before, after = Checkpoint(path, interval=0), Checkpoint(path)

    def save(to):
        torch.save(before.state_dict(), to)

    trainer = SimpleNamespace(
        callbacks=[],
        current_epoch=0,
        max_epochs=2,
        is_global_zero=True,
        save_checkpoint=save,
        loggers=[],
        callback_metrics={},
    )
    plan = SimpleNamespace(device=torch.device("cuda", 0))
    before.on_train_epoch_end(trainer, plan)
    after.load_state_dict(torch.load(path, weights_only=True))
    after.on_train_epoch_start(trainer, plan)
    after.on_train_epoch_start(trainer, plan)  # the epoch after that draws on
    assert [x.tolist() for x in restored] == [state.tolist()]


def test_a_training_may_be_resumed_on_other_hardware(tmp_path):
    callback = Checkpoint(tmp_path / "state")
    random = {"random": torch.get_rng_state(), "device_random": torch.zeros(16, dtype=torch.uint8), "history": {}}
    callback.load_state_dict(random)
    callback.on_train_epoch_start(SimpleNamespace(), SimpleNamespace(device=torch.device("cpu")))
    del random["device_random"]  # as it was written before
    callback.load_state_dict(random)
    callback.on_train_epoch_start(SimpleNamespace(), SimpleNamespace(device=torch.device("cuda")))
