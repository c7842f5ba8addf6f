import dataclasses

import pytest

from couplevi.model import PRESETS, Settings
from couplevi.model.jamie.settings import make_settings


def test_presets_are_those_of_the_design():
    assert set(PRESETS) == {"default", "integration", "paper"}
    paper = PRESETS["paper"]
    assert (paper.n_latent, paper.n_pcs, paper.batch_size, paper.lr, paper.patience) == (32, 512, 512, 1e-3, 500)
    assert (paper.combination_weight, paper.reconstruction_weight, paper.kl_weight) == (32, 1, 0.032)
    assert paper.cross_reconstruction_weight == paper.contrastive_weight == 0
    assert (paper.feature_weights, paper.mixup_alpha) == ("equal", 0)
    assert (paper.max_epochs, paper.max_epochs * paper.kl_warmup) == (10_000, 2_500)
    integration = dataclasses.replace(PRESETS["default"], dropout_rate=0.0, input_dropout_rate=0.0)
    assert PRESETS["integration"] == integration
    assert integration.feature_weights == "coupled"


def test_widths_are_numbers_or_multiples():
    assert PRESETS["paper"].widths(512) == (1024, 512)
    assert Settings(encoder_widths=(0.01, 64)).widths(10) == (1, 64)


def test_overrides_replace_fields():
    settings = make_settings("default", {"n_latent": 8, "encoder_widths": [32, 16]})
    assert (settings.n_latent, settings.encoder_widths) == (8, (32, 16))
    assert make_settings(Settings(n_latent=5), {}).n_latent == 5


def test_steps_and_epochs_replace_each_other():
    settings = make_settings("default", {"max_epochs": 7})
    assert (settings.n_steps, settings.max_epochs) == (None, 7)
    settings = make_settings("paper", {"n_steps": 7})
    assert (settings.n_steps, settings.max_epochs) == (7, None)
    settings = make_settings("default", {})
    assert (settings.n_steps, settings.max_epochs) == (None, None)  # by the number of units


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        ({"n_latent": 0}, ValueError, "`n_latent` to be a whole number of at least 1, found 0"),
        ({"n_latent": 2.5}, ValueError, "`n_latent` to be a whole number"),
        ({"n_pcs": 0}, ValueError, "`n_pcs` to be a whole number"),
        ({"n_pcs": {"rna": -1}}, ValueError, "`n_pcs` to be a whole number"),
        ({"n_partners": -1}, ValueError, "`n_partners` to be a whole number of at least 0"),
        ({"dropout_rate": None}, ValueError, "`dropout_rate` to be at least 0 and below 1, found None"),
        ({"encoder_widths": (0,)}, ValueError, "`encoder_widths` to be a number of at least"),
        ({"encoder_widths": ("wide",)}, ValueError, "`encoder_widths` to be a number"),
        ({"kl_warmup": 5.0}, ValueError, "`kl_warmup` to be a number from 0 to 1, found 5.0"),
        ({"lr": -1.0}, ValueError, "`lr` to be a number of at least"),
        ({"gradient_clip": 0.0}, ValueError, "`gradient_clip` to be a number of at least"),
        ({"mixup_alpha": -0.1}, ValueError, "`mixup_alpha` to be a number of at least 0"),
        ({"feature_weights": "variance"}, ValueError, "`feature_weights` to be one of"),
        ({"weight_decay": -1}, ValueError, "`weight_decay` to be a number of at least 0"),
        ({"dropout_rate": 1.0}, ValueError, "`dropout_rate` to be at least 0 and below 1"),
        ({"input_dropout_rate": -0.1}, ValueError, "`input_dropout_rate`"),
        ({"kl_weight": -1.0}, ValueError, "`kl_weight` to be a number of at least 0"),
        ({"kl_weight": float("nan")}, ValueError, "`kl_weight` to be a number of at least 0"),
        ({"unknown_negative_weight": 0.0}, ValueError, "`unknown_negative_weight` to be a number from 1e-12 to 1"),
        ({"normalization": "group"}, ValueError, "`normalization` to be one of"),
        ({"activation": "relu"}, ValueError, "`activation` to be one of"),
        ({"lr_schedule": "step"}, ValueError, "`lr_schedule` to be one of"),
        ({"kl_schedule": "step"}, ValueError, "`kl_schedule` to be one of"),
        ({"encoder_widths": ()}, ValueError, "one or more `encoder_widths`"),
        ({"n_steps": 3, "max_epochs": 3}, ValueError, "one of `n_steps` and `max_epochs`"),
        ({"latent": 3}, TypeError, "Did you mean `n_latent`"),
        ({"zzz": 3}, TypeError, "Settings are"),
        ({"likelihood": "nb"}, TypeError, "Did you mean `likelihoods`"),
        ({"gene_likelihood": "nb"}, TypeError, "Did you mean `likelihoods`"),
        ({"likelihoods": "nb"}, TypeError, "a likelihood by modality, found 'nb'. Pass `likelihoods={'rna': 'nb'}`"),
        ({"likelihoods": {"rna": "normal"}}, ValueError, "`likelihoods` to be one of .*'zinb', .*found 'normal'"),
    ],
)
def test_bad_settings(overrides, error, message):
    with pytest.raises(error, match=message):
        make_settings("default", overrides)


def test_unknown_preset():
    with pytest.raises(ValueError, match=r"`preset` to be one of \['default', 'integration', 'paper'\], found 'best'"):
        make_settings("best", {})


def test_values_are_gaussian_unless_a_likelihood_is_named():
    settings = make_settings("default", {"likelihoods": {"rna": "nb"}})
    assert (settings.likelihood_of("rna"), settings.likelihood_of("protein")) == ("nb", "gaussian")
