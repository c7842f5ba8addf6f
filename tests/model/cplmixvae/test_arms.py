import numpy as np
import pytest
import torch

from couplevi.model.cplmixvae.arms import INITIAL_GAP, AffineByCategory, CategoryEncoder, StateEncoder

EVERY = torch.ones(4, dtype=torch.bool)


def test_encoder_starts_at_the_nearest_centre():
    h, centers = torch.randn(200, 6), torch.randn(4, 6)
    encoder = CategoryEncoder(6, 16, 4, dropout_rate=0.3, input_dropout_rate=0.3).eval()
    encoder.start(h, centers, torch.arange(4))
    _, logits = encoder(h, torch.ones(4, dtype=torch.bool))
    np.testing.assert_array_equal(logits.argmax(dim=1), torch.cdist(h, centers).argmin(dim=1))
    best = logits.topk(2, dim=1).values
    assert (best[:, 0] - best[:, 1]).median().item() == pytest.approx(INITIAL_GAP, rel=1e-4)


def test_centres_that_are_not_used_do_not_make_the_start_less_certain():
    h, centers = torch.randn(200, 6), torch.randn(4, 6)
    found = []
    for far in (1e3, 0.0):
        centers[3] = far
        encoder = CategoryEncoder(6, 16, 4, dropout_rate=0.0, input_dropout_rate=0.0)
        encoder.start(h, centers, torch.arange(3))
        found.append(encoder.nearest(h)[:, :3])
    torch.testing.assert_close(*found)


def test_where_one_category_is_used_all_profiles_are_moderately_sure_of_it():
    """There is no second centre to be far from: logits of any size would be beyond what excluded categories have."""
    h, centers = 100 * torch.randn(200, 6), torch.randn(4, 6)
    encoder = CategoryEncoder(6, 16, 4, dropout_rate=0.0, input_dropout_rate=0.0)
    encoder.start(h, centers, torch.tensor([2]))
    _, logits = encoder(h, EVERY)
    torch.testing.assert_close(logits, torch.tensor([0, 0, INITIAL_GAP, 0]).expand(200, 4))


def test_inactive_categories_have_no_probability_and_no_gradient():
    encoder = CategoryEncoder(6, 16, 4, dropout_rate=0.0, input_dropout_rate=0.0)
    active = torch.tensor([True, False, True, True])
    _, logits = encoder(torch.randn(10, 6), active)
    q = logits.softmax(dim=1)
    assert (q[:, 1] == 0).all()
    q[:, 0].sum().backward()
    assert (encoder.nearest.weight.grad[1] == 0).all()
    assert encoder.nearest.weight.grad[2].abs().sum() > 0


def test_state_depends_on_the_category():
    state = StateEncoder(16, 3, 2)
    hidden, one = torch.randn(5, 16), torch.eye(3)
    a, b = (state(hidden, one[[k] * 5]) for k in (0, 1))
    assert not torch.allclose(a.loc, b.loc)
    assert a.scale.shape == (5, 2)


def test_decoder_is_affine_in_the_state_within_a_category():
    decoder = AffineByCategory(3, 2, 7)
    c = torch.eye(3)[[1] * 4]
    s, t = torch.randn(4, 2), torch.randn(4, 2)
    middle = decoder(c, (s + t) / 2)
    torch.testing.assert_close(middle, (decoder(c, s) + decoder(c, t)) / 2)
    torch.testing.assert_close(decoder(c, torch.zeros(4, 2)), decoder.centers[[1] * 4])
    torch.testing.assert_close(
        decoder(c, torch.tensor([[1.0, 0.0]] * 4)), (decoder.centers + decoder.loadings[:, 0])[[1] * 4]
    )


def test_half_precision_can_exclude_categories():
    encoder = CategoryEncoder(6, 16, 4, dropout_rate=0.0, input_dropout_rate=0.0)
    with torch.autocast("cpu", dtype=torch.float16):
        _, logits = encoder(torch.randn(10, 6), torch.tensor([True, False, True, True]))
    assert logits.dtype == torch.float32
    assert (logits.softmax(dim=1)[:, 1] == 0).all()


def test_prepared_features_are_hidden_from_a_category_in_training_alone():
    encoder = CategoryEncoder(50, 16, 4, dropout_rate=0.0, input_dropout_rate=0.5)
    h = torch.randn(10, 50)
    assert not torch.equal(encoder(h, EVERY)[1], encoder(h, EVERY)[1])
    encoder.eval()
    assert torch.equal(encoder(h, EVERY)[1], encoder(h, EVERY)[1])


def test_logits_of_the_nearest_centre_and_of_the_hidden_layer_add_up():
    encoder, h = CategoryEncoder(6, 16, 4, dropout_rate=0.0, input_dropout_rate=0.0), torch.randn(10, 6)
    torch.nn.init.normal_(encoder.logits.weight)
    hidden, logits = encoder(h, EVERY)
    torch.testing.assert_close(hidden, encoder.hidden(h))
    torch.testing.assert_close(logits, encoder.nearest(h) + encoder.logits(hidden))


def test_scale_of_the_state_is_the_root_of_the_exponential_of_the_log_variance():
    state, hidden, one = StateEncoder(16, 3, 2), torch.randn(5, 16), torch.eye(3)[[0, 1, 2, 0, 1]]
    expected = state.log_variance(state.hidden(torch.cat([hidden, one], dim=1)))
    torch.testing.assert_close(state(hidden, one).scale.square().log(), expected)
