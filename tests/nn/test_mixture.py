import numpy as np
import pytest
import torch
from scipy import stats

from couplevi.nn import AffineByCategory, CategoryEncoder, StateEncoder, likelihood_head


def test_encoder_starts_at_the_nearest_centre():
    h, centers = torch.randn(200, 6), torch.randn(4, 6)
    encoder = CategoryEncoder(6, 16, 4, dropout_rate=0.3, input_dropout_rate=0.3).eval()
    encoder.start(h, centers)
    _, logits = encoder(h, torch.ones(4, dtype=torch.bool))
    np.testing.assert_array_equal(logits.argmax(dim=1), torch.cdist(h, centers).argmin(dim=1))
    best = logits.topk(2, dim=1).values
    assert (best[:, 0] - best[:, 1]).median().item() == pytest.approx(3, rel=1e-4)


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


def test_variance_of_the_gaussian_follows_the_residuals():
    head = likelihood_head("gaussian", 3, 2)
    x = torch.randn(4000, 3) * torch.tensor([0.1, 1.0, 3.0])
    for _ in range(200):
        head.adapt(x - head(torch.zeros_like(x), None, None).mean)
    np.testing.assert_allclose(head.variance.sqrt(), [0.1, 1.0, 3.0], rtol=0.05)


def test_negative_binomial_has_the_library_and_the_dispersion():
    head = likelihood_head("nb", 4, 2)
    with torch.no_grad():
        head.log_inverse_dispersion.fill_(np.log(2.0))
    px = head(torch.tensor([[0.0, 1.0, 2.0, 0.5]]), torch.eye(2)[:1], torch.tensor([[100.0]]))
    assert px.mean.sum().item() == pytest.approx(100)
    mu = px.mean[0].detach().numpy()
    counts = np.array([3.0, 10.0, 50.0, 0.0])
    expected = stats.nbinom.logpmf(counts, 2.0, 2.0 / (2.0 + mu))
    np.testing.assert_allclose(
        px.log_prob(torch.tensor(counts, dtype=torch.float32)[None])[0].detach(), expected, rtol=1e-4
    )


def test_zero_inflation_raises_the_probability_of_zero_alone():
    plain, inflated = likelihood_head("nb", 1, 2), likelihood_head("zinb", 1, 2)
    with torch.no_grad():
        inflated.zero_logits.copy_(torch.tensor([[0.0], [-30.0]]))
    library, eta = torch.tensor([[5.0]]), torch.zeros(1, 1)
    p = [plain(eta, None, library).log_prob(torch.tensor([[v]])).exp().item() for v in (0.0, 3.0)]
    for k, share in ((0, 0.5), (1, 0.0)):
        q = inflated(eta, torch.eye(2)[[k]], library)
        zero, three = (q.log_prob(torch.tensor([[v]])).exp().item() for v in (0.0, 3.0))
        assert zero == pytest.approx(share + (1 - share) * p[0], rel=1e-4)
        assert three == pytest.approx((1 - share) * p[1], rel=1e-4)


def test_half_precision_can_exclude_categories():
    encoder = CategoryEncoder(6, 16, 4, dropout_rate=0.0, input_dropout_rate=0.0)
    with torch.autocast("cpu", dtype=torch.float16):
        _, logits = encoder(torch.randn(10, 6), torch.tensor([True, False, True, True]))
    assert logits.dtype == torch.float32
    assert (logits.softmax(dim=1)[:, 1] == 0).all()
