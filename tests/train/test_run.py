"""A training from start to end, whatever the model."""

import pytest
import torch
from model_table import QUICK
from small import FourUnits, LittleModel, StepPlan

from couplevi.train import TrainingRun


def fit(model, **options):
    with TrainingRun(model, **options) as run:
        run.fit(FourUnits(), StepPlan(model.module), max_epochs=2, limit_val_batches=0, **QUICK)
        model.note_ = "after"


def state(model):
    return {name: value.clone() for name, value in model.module.state_dict().items()}


def test_training_is_kept():
    model = LittleModel()
    before = state(model)
    fit(model)
    torch.testing.assert_close(model.module.weight.data, before["weight"] - 4)
    assert model.module.seen == 4
    assert model.is_trained_
    assert model.note_ == "after"
    assert not model.module.training


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, SystemExit])
@pytest.mark.parametrize("was_trained", [False, True])
def test_nothing_changes_if_what_belongs_to_the_training_fails_after_the_epochs(error, was_trained):
    model = LittleModel()
    if was_trained:
        fit(model)
    before, attributes = state(model), {name: getattr(model, name) for name in model.saved}
    trainer = getattr(model, "trainer", None)
    with pytest.raises(error), TrainingRun(model) as run:
        run.fit(FourUnits(), StepPlan(model.module), max_epochs=2, limit_val_batches=0, **QUICK)
        assert not model.module.weight.equal(before["weight"])
        model.note_ = "after"
        raise error
    assert all(value.equal(before[name]) for name, value in model.module.state_dict().items())
    assert {name: getattr(model, name) for name in model.saved} == attributes
    assert getattr(model, "trainer", None) is trainer
    assert model.module.training != was_trained


def test_frozen_entries_stay_and_the_others_are_trained():
    model = LittleModel()
    before = state(model)
    fit(model, frozen=lambda name: name in ("weight", "seen"))
    assert model.module.weight.equal(before["weight"])
    assert model.module.seen == 0
    torch.testing.assert_close(model.module.bias.data, before["bias"] - 4)
    assert model.module.weight.requires_grad


def test_parameters_are_free_again_after_a_failure():
    model = LittleModel()
    model.module.bias.requires_grad_(False)
    with pytest.raises(ValueError, match="stop"), TrainingRun(model, frozen=lambda name: True):
        assert not model.module.weight.requires_grad
        raise ValueError("stop")
    assert model.module.weight.requires_grad
    assert not model.module.bias.requires_grad


def test_a_checkpoint_has_to_be_a_file_in_a_folder(tmp_path):
    model = LittleModel()
    for path, error, message in (
        (tmp_path / "absent" / "state", FileNotFoundError, "to write to, found none. Create it first"),
        (tmp_path, ValueError, "`checkpoint` to be a file, found a folder"),
    ):
        with pytest.raises(error, match=message), TrainingRun(model) as run:
            run.fit(FourUnits(), StepPlan(model.module), max_epochs=1, checkpoint=path, **QUICK)
