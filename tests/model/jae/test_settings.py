import pytest

from couplevi.model.jae.settings import JAE_PRESETS, JAESettings, make_jae_settings


def test_the_paper_has_its_blocks_weights_and_schedule():
    paper = JAE_PRESETS["paper"]
    weights = paper.reconstruction_weight, paper.label_weight, paper.batch_weight, paper.cell_cycle_weight
    assert weights == (0.7, 0.2, 0.05, 0.05)
    assert (paper.n_free, paper.batch, paper.encoder_widths) == (5, "uniform", (150, 120, 100))
    assert (paper.lr, paper.batch_size, paper.max_epochs, paper.patience) == (1e-4, 32, 500, 5)


def test_fields_are_replaced_and_one_length_switches_the_other_off():
    assert make_jae_settings("default", {"n_free": 7}).n_free == 7
    assert make_jae_settings("default", {"max_epochs": 3}).n_steps is None
    assert make_jae_settings("paper", {"n_steps": 3}).max_epochs is None
    own = JAESettings(n_free=2)
    assert make_jae_settings(own, {}) == own
    assert make_jae_settings("default", {"encoder_widths": [8, 4]}).encoder_widths == (8, 4)
    assert make_jae_settings("default", {"encoder_widths": 8}).encoder_widths == (8,)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"n_fre": 3}, TypeError, "Did you mean `n_free`"),
        ({"n_free": 0}, ValueError, "`n_free` to be a whole number of at least 1"),
        ({"encoder_widths": ()}, ValueError, "one or more `encoder_widths`"),
        ({"encoder_widths": (0,)}, ValueError, "`encoder_widths` to be a whole number"),
        ({"dropout_rate": 1}, ValueError, "`dropout_rate` to be at least 0 and below 1"),
        ({"label_smoothing": -0.1}, ValueError, "`label_smoothing`"),
        ({"guess_threshold": 2}, ValueError, "`guess_threshold` to be a number from 0 to 1"),
        ({"label_weight": -1}, ValueError, "`label_weight` to be a number of at least 0"),
        ({"batch": "none"}, ValueError, "`batch` to be one of"),
        ({"embedding": "z"}, ValueError, "`embedding` to be one of"),
        ({"lr_schedule": "cosine"}, ValueError, "`lr_schedule` to be one of"),
        ({"n_pcs": 0}, ValueError, "`n_pcs`"),
        ({"lr": 0}, ValueError, "`lr`"),
        ({"n_steps": 3, "max_epochs": 3}, ValueError, "one of `n_steps` and `max_epochs`"),
    ],
    ids=str,
)
def test_what_is_out_of_range_is_refused(given, error, message):
    with pytest.raises(error, match=message):
        make_jae_settings("default", given)


def test_an_unknown_preset_is_refused():
    with pytest.raises(ValueError, match="`preset` to be one of"):
        make_jae_settings("best", {})
