import pytest

from couplevi.model import PRESETS, Settings
from couplevi.model._length import MOST_STEPS, PATIENCE, Length, enough_steps


def length(n_units=100, settings=None, **options):
    given = dict.fromkeys(("max_epochs", "batch_size", "train_size", "validation_size", "early_stopping"))
    return Length.of(settings or Settings(), n_units, **{**given, "train_size": 1.0, **options})


@pytest.mark.parametrize(
    ("n_units", "batch_size", "train_size", "epochs"),
    [(100, 100, 1.0, 800), (101, 100, 1.0, 400), (100, 30, 1.0, 200), (100, 30, 0.6, 400)],
)
def test_passes_are_counted_so_that_the_steps_are_those_of_the_settings(n_units, batch_size, train_size, epochs):
    found = length(n_units, Settings(n_steps=800), batch_size=batch_size, train_size=train_size)
    assert found.max_epochs == epochs


@pytest.mark.parametrize(
    ("n_units", "batch_size", "train_size", "epochs"),
    [
        (100, None, 1.0, 1600),
        (1208, None, 1.0, 320),
        (40_960, None, 1.0, 10),  # 160 steps each: 1,600
        (40_000, None, 1.0, 11),  # 157 steps each
        (100_000, None, 1.0, 10),
        (250_000, None, 1.0, 10),
        (300_000, None, 1.0, 9),  # 1,172 steps each: 10,000 and up to whole epochs
        (3_000_000, None, 1.0, 1),  # never less than one, of 11,719
        (81_920, None, 0.5, 10),
        (81_920, 512, 1.0, 10),
        (81_920, 4096, 1.0, 80),
    ],
)
def test_without_steps_or_epochs_the_number_of_units_says_how_many(n_units, batch_size, train_size, epochs):
    found = length(n_units, batch_size=batch_size, train_size=train_size)
    assert found.max_epochs == epochs


def test_steps_that_are_given_are_neither_raised_nor_lowered():
    assert length(100_000, Settings(n_steps=391)).max_epochs == 1
    assert length(100_000, Settings(n_steps=392)).max_epochs == 2
    assert length(256, Settings(n_steps=20_000)).max_epochs == 20_000
    assert length(100_000, Settings(max_epochs=3)).max_epochs == 3
    assert length(100_000, max_epochs=2).max_epochs == 2


def test_steps_grow_with_the_units_between_two_limits():
    found = [enough_steps(per_epoch, 1600, 10) for per_epoch in (1, 160, 161, 999, 1000, 1001, 10**6)]
    assert found == [1600, 1600, 1610, 9990, MOST_STEPS, MOST_STEPS, MOST_STEPS]
    assert enough_steps(1, MOST_STEPS + 1, 10) == MOST_STEPS + 1
    assert enough_steps(3, 1, 20) == 60


def test_what_is_given_replaces_what_the_settings_say():
    assert length(settings=PRESETS["paper"]).max_epochs == PRESETS["paper"].max_epochs
    found = length(settings=Settings(batch_size=7), max_epochs=5, batch_size=3)
    assert (found.max_epochs, found.batch_size) == (5, 3)
    assert length(settings=Settings(batch_size=7)).batch_size == 7
    with pytest.raises(ValueError, match="`batch_size` to be a whole number of at least 1"):
        length(batch_size=0)


def test_a_training_without_validation_units_goes_to_its_end():
    found = length(max_epochs=11)
    assert (found.stops_early, found.patience, found.n_validation) == (False, None, 0)
    assert found.trainer_arguments() == {"check_val_every_n_epoch": None, "limit_val_batches": 0}
    best = found.best_weights()
    assert (best.monitor, best.restore) == ("train_loss", False)


def test_a_training_with_validation_units_stops_early_after_the_warm_up():
    found = length(warmup=0.3, validated_warmup=0.5, max_epochs=11, train_size=0.8)
    assert (found.stops_early, found.patience, found.n_validation) == (True, PATIENCE, 20)
    assert found.warmup == 5  # of 5.5 and 3.3 epochs
    assert found.trainer_arguments() == {
        "check_val_every_n_epoch": 1,
        "limit_val_batches": None,
        "early_stopping": True,
        "early_stopping_monitor": "validation_loss",
        "early_stopping_patience": PATIENCE,
        "early_stopping_warmup_epochs": 5,
    }
    best = found.best_weights()
    assert (best.monitor, best.warmup_epochs, best.restore) == ("validation_loss", 5, True)
    assert length(warmup=0.6, validated_warmup=0.5, max_epochs=11, train_size=0.8).warmup == 7
    assert length(warmup=0.3, validated_warmup=0.5, max_epochs=11).warmup == 4


def test_early_stopping_can_be_switched_off_though_there_are_validation_units():
    found = length(max_epochs=10, train_size=0.8, early_stopping=False)
    assert (found.stops_early, found.patience, found.n_validation) == (False, None, 20)
    assert found.trainer_arguments() == {"check_val_every_n_epoch": 1, "limit_val_batches": None}


def test_the_patience_of_the_settings_is_for_the_training_loss():
    found = length(settings=PRESETS["paper"], warmup=0.25, max_epochs=100)
    assert (found.monitor, found.patience, found.warmup) == ("train_loss", 500, 25)
    assert found.trainer_arguments()["early_stopping_monitor"] == "train_loss"
    assert length(settings=PRESETS["paper"], max_epochs=100, train_size=0.9).patience == PATIENCE
