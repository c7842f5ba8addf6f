from dataclasses import FrozenInstanceError

import pytest

from couplevi.model import CplMixVAE, MixtureSettings
from couplevi.model.cplmixvae.settings import make_mixture_settings


@pytest.mark.parametrize(
    ("coupling", "weight", "expected"),
    [
        ("euclidean", None, 10),
        ("aitchison", None, 0.1),
        ("minimum_variance", None, 0.03),
        ("aitchison", 0.0, 0),
        ("euclidean", 3.0, 3),
    ],
)
def test_each_distance_has_a_weight_of_its_own_unless_one_is_given(coupling, weight, expected):
    assert MixtureSettings(n_categories=3, coupling=coupling, coupling_weight=weight).weight_of_coupling == expected


def test_modalities_that_a_mapping_leaves_out_are_gaussian():
    settings = MixtureSettings(n_categories=3, likelihood={"rna": "zinb"})
    assert (settings.likelihood_of("rna"), settings.likelihood_of("ephys")) == ("zinb", "gaussian")
    assert MixtureSettings(n_categories=3, likelihood="nb").likelihood_of("any") == "nb"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_pcs": {"rna": 0}}, "`n_pcs` to be a whole number of at least 1"),
        ({"likelihood": {"rna": "poisson"}}, "`likelihood` to be one of"),
        ({"feature_weights": "variance"}, "`feature_weights` to be one of"),
        ({"state_kl_weight": -0.1}, "`state_kl_weight`"),
        ({"input_dropout_rate": 1.0}, "`input_dropout_rate`"),
        ({"lr": 0.0}, "`lr`"),
        ({"gradient_clip": 0.0}, "`gradient_clip`"),
        ({"n_steps_prune": 0}, "`n_steps_prune`"),
    ],
)
def test_each_setting_has_its_range(settings, message):
    with pytest.raises(ValueError, match=message):
        MixtureSettings(n_categories=3, **settings)


def test_settings_do_not_change():
    settings = make_mixture_settings({"n_categories": 4, "n_pcs": {"rna": None}})
    assert (settings.n_categories, settings.n_arms) == (4, 2)
    with pytest.raises(FrozenInstanceError):
        settings.n_arms = 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_categories": 1}, "`n_categories` to be a whole number of at least 2"),
        ({"n_arms": 0}, "`n_arms`"),
        ({"n_state": 0}, "`n_state`"),
        ({"coupling": "cosine"}, "`coupling` to be one of"),
        ({"likelihood": "poisson"}, "`likelihood` to be one of"),
        ({"temperature": 0}, "`temperature`"),
        ({"coupling_weight": -1}, "`coupling_weight`"),
        ({"augmentation_rate": 1.0}, "`augmentation_rate`"),
        ({"dropout_rate": "much"}, "`dropout_rate`"),
        ({"n_pcs": 5000}, "`n_pcs` of at most 40"),
    ],
)
def test_settings_out_of_range(adata, settings, message):
    CplMixVAE.setup_anndata(adata)
    with pytest.raises(ValueError, match=message):
        CplMixVAE(adata, **{"n_categories": 3, **settings})


def test_unknown_setting_is_told_the_nearest(adata):
    CplMixVAE.setup_anndata(adata)
    with pytest.raises(TypeError, match="Did you mean `n_state`"):
        CplMixVAE(adata, 3, n_states=2)
