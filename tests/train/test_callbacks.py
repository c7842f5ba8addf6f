import math
from types import SimpleNamespace

import pytest
import torch

from couplevi.train import BestWeights


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
