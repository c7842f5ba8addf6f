import pytest

from couplevi.model.otgm.settings import OTGM_PRESETS, OTGMSettings, make_otgm_settings


def test_a_preset_is_replaced_field_by_field():
    settings = make_otgm_settings("paper", {"n_pcs": 7})
    assert settings == OTGMSettings(n_pcs=7, pooled_share=0.0, em_iterations=1, shifts="components")
    assert make_otgm_settings(settings, {"shifts": "genes"}).n_pcs == 7
    assert make_otgm_settings("default", {}) == OTGM_PRESETS["default"] == OTGMSettings()


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"n_pcs": 0}, ValueError),
        ({"pooled_share": 1.5}, ValueError),
        ({"em_iterations": -1}, ValueError),
        ({"shifts": "cells"}, ValueError),
        ({"n_components": 3}, TypeError),
    ],
)
def test_settings_out_of_range(given, error):
    with pytest.raises(error, match=next(iter(given))):
        make_otgm_settings("default", given)


def test_unknown_preset():
    with pytest.raises(ValueError, match=r"`preset` to be one of \['default', 'paper'\]"):
        make_otgm_settings("fast", {})
