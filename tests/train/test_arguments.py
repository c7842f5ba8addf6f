"""Arguments of a training, for all models: what is wrong is said before anything is done."""

import numpy as np
import pytest
from lightning.pytorch.loggers import CSVLogger
from model_table import MODELS, QUICK, build, fresh
from small import make_jamie

from couplevi.train import _arguments, check_arguments

BAD = [
    *(({"max_epochs": value}, ValueError, "`max_epochs` to be a whole number") for value in (2.0, "2", 0, -1, True)),
    *(({"batch_size": value}, ValueError, "`batch_size` to be a whole number") for value in (16.0, "16", 0)),
    *(({"train_size": value}, ValueError, "`train_size` to be a number from 0 to 1") for value in ("0.5", None, 2)),
    ({"train_size": 0.0}, ValueError, "`train_size` to be above 0"),
    ({"accelerator": "abacus"}, ValueError, "hardware of this machine, found `accelerator='abacus'`"),
    ({"accelerator": None}, TypeError, "`accelerator` to be a name"),
    ({"accelerator": "cpu", "devices": 0}, ValueError, "hardware of this machine, found .*`devices=0`"),
    ({"devices": 1.5}, TypeError, "`devices` to be a number"),
    ({"accelerator": "cpu", "devices": 2}, ValueError, 'Each would train on all cells. Pass `strategy="ddp"`'),
    ({"datasplitter_kwargs": [1]}, TypeError, "`datasplitter_kwargs` to map names to values"),
    ({"datasplitter_kwargs": {"batch_size": 3}}, TypeError, "found 'batch_size'. Pass `batch_size` to `train` itself"),
    ({"plan_kwargs": 0.1}, TypeError, "`plan_kwargs` to map names to values"),
    ({"plan_kwargs": {"learning_rate": 0.1}}, TypeError, r"`plan_kwargs` of \[.*'lr'.*\], found 'learning_rate'"),
    ({"plan_kwargs": {"lr": "0.1"}}, ValueError, "`lr` to be a number of at least 0"),
    ({"plan_kwargs": {"weight_decay": -1}}, ValueError, "`weight_decay` to be a number of at least 0"),
    ({"lr": 0.1}, TypeError, r"found `lr`. Build the model with it: `\w+\(..., lr=...\)`. Or: Pass `plan_kwargs="),
    ({"n_pcs": 3}, TypeError, r"found `n_pcs`. Build the model with it: `\w+\(..., n_pcs=...\)`.$"),
    ({"max_epoch": 3}, TypeError, "found `max_epoch`. Did you mean `max_epochs`?"),
    ({"precision": "bf16-true"}, ValueError, '"32-true", "16-mixed" or "bf16-mixed", found \'bf16-true\''),
    ({"precision": ["x"]}, ValueError, "`precision`"),
    ({"enable_progress_bar": "no"}, TypeError, "`enable_progress_bar` to be True or False"),
    ({"callbacks": "all"}, TypeError, "`callbacks` to be a list of Lightning's callbacks"),
    ({"logger": "csv"}, TypeError, "`logger` to be one of Lightning's loggers, several, or False"),
    ({"early_stopping_patience": "x"}, ValueError, "`early_stopping_patience` to be a whole number"),
]
OF_LINKS = [
    ({"datasplitter_kwargs": {"n_partners": -1}}, ValueError, "`n_partners` to be a whole number of at least 0"),
    ({"n_partners": 3}, TypeError, "found `n_partners`.*Pass `datasplitter_kwargs={'n_partners': ...}`"),
]
OF_JAMIE = [
    ({"datasplitter_kwargs": {"mixup_alpha": "x"}}, ValueError, "`mixup_alpha` to be a number of at least 0"),
    *(({"validation_size": value}, ValueError, "`validation_size` to be a number from 0 to 1") for value in ("x", 2)),
    ({"early_stopping": "yes"}, TypeError, "`early_stopping` to be True or False"),
    ({"shuffle_set_split": 1}, TypeError, "`shuffle_set_split` to be True or False"),
    ({"checkpoint": 5}, TypeError, "`checkpoint` to be a path, found 5"),
    ({"checkpoint": "absent/x"}, FileNotFoundError, "a folder 'absent' to write to, found none. Create it first"),
    ({"plan_kwargs": {"lr_schedule": "cosine"}}, ValueError, "`lr_schedule` to be one of"),
    ({"plan_kwargs": {"kl_schedule": "cosine"}}, ValueError, "`kl_schedule` to be one of"),
    ({"plan_kwargs": {"kl_warmup": 2}}, ValueError, "`kl_warmup` to be a number from 0 to 1"),
]
OF_JAE = [
    ({"datasplitter_kwargs": {"n_partners": 3}}, TypeError, r"`datasplitter_kwargs` of \[\], found 'n_partners'"),
    ({"plan_kwargs": {"guess_start": 2}}, ValueError, "`guess_start` to be a number from 0 to 1"),
]
OF_MIXTURES = [
    ({"datasplitter_kwargs": {"mixup_alpha": 0.5}}, TypeError, r"`datasplitter_kwargs` of .*, found 'mixup_alpha'"),
    *(({"max_epochs_prune": value}, ValueError, "`max_epochs_prune` to be a whole") for value in (2.0, "2", 0, -1)),
    ({"prune": "no"}, TypeError, "`prune` to be True or False"),
    ({"plan_kwargs": {"temperature": 0}}, ValueError, "`temperature` to be a number"),
]


@pytest.fixture(scope="module")
def models():
    """Models that are set up and not trained, by name."""
    return {name: build(name, fresh()) for name in MODELS}


def assert_refused(model, arguments, error, message):
    """A training with these arguments changes nothing."""
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    with pytest.raises(error, match=message):
        model.train(**{"max_epochs": 1, **QUICK, **arguments})
    assert not model.is_trained_
    assert all(
        value.equal(before[name]) for name, value in model.module.state_dict().items() if not value.isnan().any()
    )


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("arguments", "error", "message"), BAD, ids=str)
def test_wrong_arguments_are_told_apart_by_all_models(models, name, arguments, error, message):
    assert_refused(models[name], arguments, error, message)


@pytest.mark.parametrize("name", ["JAMIE", "CplMixVAE"])
@pytest.mark.parametrize(("arguments", "error", "message"), OF_LINKS, ids=str)
def test_wrong_arguments_of_models_with_partners(models, name, arguments, error, message):
    assert_refused(models[name], arguments, error, message)


@pytest.mark.parametrize(("arguments", "error", "message"), OF_JAE, ids=str)
def test_wrong_arguments_of_a_joint_autoencoder(models, arguments, error, message):
    assert_refused(models["JAE"], arguments, error, message)


@pytest.mark.parametrize(("arguments", "error", "message"), OF_JAMIE, ids=str)
def test_wrong_arguments_of_jamie(models, arguments, error, message):
    assert_refused(models["JAMIE"], arguments, error, message)


@pytest.mark.parametrize(("arguments", "error", "message"), OF_MIXTURES, ids=str)
def test_wrong_arguments_of_a_mixture(models, arguments, error, message):
    assert_refused(models["CplMixVAE"], arguments, error, message)


@pytest.mark.parametrize("name", MODELS)
def test_numbers_of_numpy_are_numbers(name):
    model = build(name, fresh())
    arguments = {"train_size": np.float32(0.8), "batch_size": np.int32(50), "devices": np.int64(1)}
    model.train(np.int64(2), **QUICK, **MODELS[name].train, **arguments)
    assert len(model.history["train_loss"]) == 2


def test_what_is_not_given_takes_the_default(paired, tmp_path):
    model = make_jamie(paired)
    nothing = dict.fromkeys(("batch_size", "validation_size", "early_stopping", "checkpoint", "callbacks", "logger"))
    nothing |= dict.fromkeys(("precision", "datasplitter_kwargs", "plan_kwargs"))
    model.train(1, **QUICK, **nothing)
    assert model.is_trained_


def test_nothing_is_read_or_fitted_before_the_check(paired, monkeypatch):
    model = make_jamie(paired)
    monkeypatch.setattr(type(model), "_registered", lambda *_: pytest.fail("read"))
    with pytest.raises(ValueError, match="hardware"):
        model.train(1, accelerator="abacus")


@pytest.mark.parametrize("logger", [True, False, CSVLogger("."), [CSVLogger("."), CSVLogger(".")], []])
def test_loggers_are_taken_as_lightning_takes_them(paired, logger):
    given = {"accelerator": "cpu", "devices": 1}
    free = {"splitter": None, "splitter_takes": (), "plan": None, "plan_takes": ()}
    check_arguments(make_jamie(paired), given, **free, trainer={"logger": logger})


def test_all_that_is_checked_is_an_argument_of_some_training():
    known = _arguments._arguments(_arguments.Trainer)
    assert {"max_steps", "callbacks", "early_stopping_patience"} <= known
    assert "trainer_kwargs" not in known
    assert "kwargs" not in known
