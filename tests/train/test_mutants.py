"""Facts that the mutation check (tests/mutation.py) found to be tested nowhere else."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scvi.module.base import LossOutput

import couplevi as cvi
from couplevi.train import BestWeights, Calibration, CoupledTrainingPlan, Rounds


@pytest.fixture
def model(mdata):
    cvi.model.JAMIE.setup_mudata(mdata, modalities=("rna", "ephys"))
    return cvi.model.JAMIE(mdata, n_latent=4)


def losses_of(value):
    parameter = torch.tensor([value, 3 * value], requires_grad=True)
    return LossOutput(
        loss=parameter.sum(), reconstruction_loss=2 * parameter, kl_local=0.5 * parameter, extra_metrics={}
    )


def test_metrics_are_per_profile_and_hold_no_gradient(model):
    plan = CoupledTrainingPlan(model.module)
    plan._collect("train", losses_of(1.0))
    (metrics,) = plan._metrics["train"]
    assert {name: value.item() for name, value in metrics.items()} == {
        "train_loss": 4.0,
        "elbo_train": 5.0,
        "reconstruction_loss_train": 4.0,
        "kl_local_train": 1.0,
    }
    assert not any(value.requires_grad for value in metrics.values())


def test_metrics_of_an_epoch_are_those_of_its_batches_alone(model, monkeypatch):
    plan = CoupledTrainingPlan(model.module)
    logged = []
    monkeypatch.setattr(CoupledTrainingPlan, "use_sync_dist", False)
    monkeypatch.setattr(plan, "log", lambda name, value, **_: logged.append(value.item()))
    monkeypatch.setattr(plan, "log_dict", lambda values, **_: None)
    for values in ((1.0, 2.0), (5.0,)):
        for value in values:
            plan._collect("train", losses_of(value))
        plan._log_means("train")
    assert logged == [6.0, 20.0]


def callbacks_of(callback, epochs):
    data = SimpleNamespace(
        train_idx=np.arange(6), val_idx=np.arange(6, 8), calibration_idx=np.array([1, 4]), release_epoch=2
    )
    trainer = SimpleNamespace(optimizers=[], current_epoch=0, should_stop=False, datamodule=data)
    module = torch.nn.Linear(1, 1)
    callback.on_train_start(trainer, module)
    for trainer.current_epoch in range(epochs):
        callback.on_train_epoch_start(trainer, module.eval())
        callback.on_train_epoch_end(trainer, module)
        if trainer.should_stop:
            break
    return trainer.current_epoch, module


@pytest.mark.parametrize(("n_good", "last"), [(0, 2), (1, 4), (9, 7)])
def test_training_goes_on_after_a_round_as_long_as_the_judge_says(n_good, last):
    begun, judged = [], []

    def judge(train, validation):
        judged.append((train.tolist(), validation.tolist()))
        return len(judged) <= n_good

    epoch, module = callbacks_of(Rounds([3, 2, 3], lambda train: begun.append(train.tolist()), judge), 8)
    assert epoch == last
    assert begun == [list(range(6))]
    assert judged == [(list(range(6)), [6, 7])] * len(judged)
    assert len(judged) == min(n_good + 1, 3)
    assert module.training


def test_calibration_measures_once_when_units_are_released():
    measured = []
    _, module = callbacks_of(Calibration(lambda held, fitted: measured.append((held.tolist(), fitted.tolist()))), 5)
    assert measured == [([1, 4], [0, 2, 3, 5])]


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
