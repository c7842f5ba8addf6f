from functools import partial

import mudata as md
import pytest

import couplevi as cvi
from couplevi.model import Settings
from couplevi.model._components import DEFAULT_N_PCS, MAX_UNREDUCED, choose_components

setup = partial(cvi.model.JAMIE.setup_mudata, modalities=("rna", "ephys"))


def test_components_above_what_the_data_allow(mdata):
    setup(mdata)
    with pytest.raises(
        ValueError, match=r"`n_pcs` of at most 8 for modality 'ephys' \(45 cells x 8 features\), found 9"
    ):
        cvi.model.JAMIE(mdata, n_pcs=9)
    assert cvi.model.JAMIE(mdata, n_pcs={"rna": 9}).n_components_ == {"rna": 9, "ephys": None}
    assert cvi.model.JAMIE(mdata, n_pcs=None).n_components_ == {"rna": None, "ephys": None}


def test_components_of_a_preset_are_lowered_and_that_is_logged(caplog):
    mdata = cvi.data.branching_manifold(n_obs=60, n_features={"rna": 101, "ephys": 100})
    few = md.MuData({"rna": mdata["rna"][:12].copy(), "ephys": mdata["ephys"].copy()})
    setup(few)
    settings = Settings(n_pcs=20)
    with caplog.at_level("INFO", logger="couplevi"):
        model = cvi.model.JAMIE(few, settings)
    assert model.n_components_ == {"rna": 11, "ephys": None}
    assert "n_pcs of modality 'rna' lowered from 20 to 11" in caplog.text
    given = cvi.model.JAMIE(few, n_pcs={"ephys": 20})  # what is asked for is done, also for a panel
    assert given.n_components_ == {"rna": 11, "ephys": 20}


def test_components_of_an_unknown_modality(mdata):
    setup(mdata)
    with pytest.raises(ValueError, match="`n_pcs` to be one of"):
        cvi.model.JAMIE(mdata, n_pcs={"atac": 5})


@pytest.mark.parametrize(
    ("n_pcs", "n_obs", "n_vars", "strict", "expected"),
    [
        (50, 1000, 2000, False, 50),
        (50, 1000, MAX_UNREDUCED + 1, False, 50),
        (50, 1000, MAX_UNREDUCED, False, None),  # a preset leaves a panel as it is
        (50, 1000, MAX_UNREDUCED, True, 50),  # what is asked for is done
        (50, 30, 2000, False, 29),  # as many as so few cells allow
        (29, 30, 2000, True, 29),
        (2000, 5000, 2000, True, None),  # all of them is the features themselves
        (1999, 5000, 2000, True, 1999),
        (None, 1000, 2000, False, None),
        (50, None, 2000, False, 50),  # how many cells there are is not known
        ({}, 1000, 2000, True, DEFAULT_N_PCS),  # not named, and so not asked for
        ({}, 20, 2000, True, 19),
        ({"m": None}, 1000, 2000, True, None),
        ({"m": 7}, 1000, 2000, True, 7),
    ],
)
def test_components_are_what_is_wanted_as_far_as_the_data_allow(n_pcs, n_obs, n_vars, strict, expected):
    assert choose_components(n_pcs, {"m": (n_obs, n_vars)}, strict=strict) == {"m": expected}


@pytest.mark.parametrize(("n_pcs", "n_obs", "n_vars"), [(30, 30, 2000), (41, 1000, 40)])
def test_more_components_than_the_data_allow_are_refused_if_asked_for(n_pcs, n_obs, n_vars):
    limit = min(n_obs - 1, n_vars)
    with pytest.raises(
        ValueError, match=rf"at most {limit} for modality 'm' .* found {n_pcs}. Give .*{{'m': {limit}}}"
    ):
        choose_components(n_pcs, {"m": (n_obs, n_vars)}, strict=True)
