import numpy as np
import pytest
import torch

from couplevi.losses import overdispersion

RNG = np.random.default_rng(0)


def counts(mean, a, n=1500):
    """Negative binomial counts of these means and overdispersions, shape ``(n, n_vars)``, and their means."""
    mean = np.exp(RNG.normal(0, 0.6, (n, 1))) * mean
    return (torch.from_numpy(x.astype(np.float32)) for x in (RNG.negative_binomial(1 / a, 1 / (1 + a * mean)), mean))


@pytest.mark.parametrize("mean", [1.0, 5.0, 200.0])
def test_planted_overdispersions_are_found(mean):
    planted = np.exp(np.linspace(np.log(0.05), np.log(3), 40)) if mean > 1 else np.full(40, 0.5)
    found = overdispersion(*counts(np.full(40, mean), planted)).numpy()
    ratio = found / planted
    assert ((1 / 1.5 < ratio) & (ratio < 1.5)).mean() > 0.9
    assert np.median(np.abs(np.log(ratio))) < 0.15


def test_poisson_counts_have_next_to_none():
    mean = torch.full((3000, 20), 30.0)
    assert overdispersion(torch.poisson(mean), mean).max() < 0.01


def test_a_feature_that_is_hardly_seen_follows_the_others():
    planted = np.full(30, 0.5)
    x, mean = counts(np.where(np.arange(30) == 0, 1e-4, 10.0), planted)
    found = overdispersion(x, mean)
    assert found[0] == pytest.approx(0.5, rel=0.3)
    assert torch.isfinite(overdispersion(torch.zeros(5, 3), torch.zeros(5, 3))).all()


def test_a_feature_does_not_widen_those_of_others():
    x, mean = counts(np.full(10, 20.0), np.full(10, 0.1))
    alone = overdispersion(x, mean)
    x[:, 0] *= torch.bernoulli(torch.full((len(x),), 0.3)) / 0.3
    beside = overdispersion(x, mean)
    assert beside[0] > 1
    torch.testing.assert_close(beside[1:], alone[1:], rtol=0.05, atol=0)
