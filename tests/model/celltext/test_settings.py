import pytest

from couplevi.model import CellTextSettings
from couplevi.model.celltext.settings import make_celltext_settings


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n_pcs": 0}, "`n_pcs` to be a whole number of at least 1"),
        ({"n_hidden": 1.5}, "`n_hidden` to be a whole number"),
        ({"shrinkage": 0}, "`shrinkage` to be a number from 1e-12 to 1"),
        ({"dropout_rate": 1}, "`dropout_rate` to be at least 0 and below 1"),
        ({"projector": "cnn"}, "`projector` to be one of"),
        ({"lr_schedule": "step"}, "`lr_schedule` to be one of"),
        ({"lr": 0}, "`lr` to be a number"),
        ({"weight_decay": -1}, "`weight_decay` to be a number"),
        ({"n_steps": None}, "one of `n_steps` and `max_epochs`"),
    ],
)
def test_what_is_out_of_range_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        CellTextSettings(**given)


def test_one_length_replaces_the_other():
    assert make_celltext_settings("default", {"max_epochs": 3}).n_steps is None
    assert make_celltext_settings(CellTextSettings(n_pcs=7), {"n_steps": 5}).n_pcs == 7
    with pytest.raises(ValueError, match="`preset` to be one of"):
        make_celltext_settings("paper", {})
    with pytest.raises(TypeError, match="n_pc"):
        make_celltext_settings("default", {"n_pc": 3})
