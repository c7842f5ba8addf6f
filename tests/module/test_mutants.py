"""Facts that the mutation check (tests/mutation.py) found to be tested nowhere else."""

import numpy as np
import pytest
import torch
from torch.distributions import Normal
from torch.distributions import kl_divergence as torch_kl

from couplevi._types import ProfileBatch
from couplevi.module import TERMS, CplMixVAEModule, JAMIEModule, Modality
from couplevi.preparation import fit_preparation


def jamie(**options):
    settings = {
        "widths": {"a": (7, 5), "b": (6,)},
        "weights": dict.fromkeys(TERMS, 1.0),
        "input_dropout_rate": 0.0,
        "hidden": {"normalization": "layer", "activation": "gelu", "dropout_rate": 0.0},
        "unknown_negative_weight": 0.3,
        "normalize_block": False,
        "match_weight": 0.0,
    }
    return JAMIEModule({"a": (4, None), "b": (3, None)}, 2, **{**settings, **options})


def profiles(n=6, sizes=(("a", 4), ("b", 3))):
    return {m: ProfileBatch(torch.randn(n, size), torch.arange(n) < n - 2) for m, size in sizes}


def mixture(likelihood="gaussian", n_arms=2, modalities=("a",), **overrides):
    settings = {
        "n_arms": n_arms,
        "n_categories": 3,
        "n_state": 2,
        "n_hidden": 8,
        "coupling": "euclidean",
        "coupling_weight": 5.0,
        "state_kl_weight": 1.0,
        "augmentation_rate": 0.0,
        "dropout_rate": 0.0,
        "input_dropout_rate": 0.0,
    }
    return CplMixVAEModule({m: Modality(6, None, likelihood) for m in modalities}, **{**settings, **overrides})


def mixture_batch(module, n=20, x=None):
    x = torch.randn(n, 6) if x is None else x
    drawn = torch.ones(len(x), dtype=torch.bool)
    return {"profiles": {m: ProfileBatch(x, drawn) for m in module.modalities}, "links": {}, "matches": {}}


def test_a_decoder_has_the_widths_of_its_encoder_in_reverse():
    module = jamie()
    widths = [layer.out_features for layer in module.decoders[0].hidden if isinstance(layer, torch.nn.Linear)]
    assert widths == [5, 7]
    assert module.decode("a", torch.zeros(3, 2)).mean.shape == (3, 4)


def test_latent_samples_have_the_spread_of_the_posterior_and_common_draws():
    module, q = jamie(), Normal(torch.tensor([[1.0, -2.0], [5.0, 0.0]]), torch.tensor([[0.5, 2.0], [3.0, 0.1]]))
    samples = torch.stack(list(module.latent_samples(q, 2000)))
    torch.testing.assert_close(samples.mean(dim=0), q.loc, atol=0.2, rtol=0.05)
    torch.testing.assert_close(samples.std(dim=0), q.scale, atol=0.0, rtol=0.05)
    draws = (samples - q.loc) / q.scale
    torch.testing.assert_close(draws[:, 0], draws[:, 1], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(torch.stack(list(module.latent_samples(q, 2000))), samples)


def test_errors_of_profiles_are_those_of_the_mean_latent():
    module, h = jamie(), torch.randn(5, 4)
    q = module.encode("a", h)
    error, divergence = module.profile_errors("a", h, q)
    torch.testing.assert_close(error, (h - module.decode("a", q.loc).mean).square().mean(dim=1))
    torch.testing.assert_close(divergence, torch_kl(q, Normal(0.0, 1.0)).sum(dim=1))


def test_the_output_of_jamie_weighs_the_divergence_and_its_metrics_have_no_gradient():
    module = jamie(weights={**dict.fromkeys(TERMS, 1.0), "kl": 0.25})
    batch = {"profiles": profiles(), "links": {}, "matches": {}}
    inference, _, out = module(batch)
    divergence = [torch_kl(inference["qz"][m], Normal(0.0, 1.0)).sum(dim=1)[:4].sum() for m in "ab"]
    torch.testing.assert_close(out.kl_local_sum, 0.25 * sum(divergence))
    assert out.loss.requires_grad
    assert not any(value.requires_grad for value in out.extra_metrics.values())


def test_each_modality_has_arms_of_its_own():
    module = mixture(modalities=("a", "b"))
    assert [*module.arms_of("a"), *module.arms_of("b")] == list(module.arms)
    assert len(module.arms) == 4


def test_features_are_prepared_if_arms_are_to_see_parts_of_them():
    x = np.random.default_rng(0).normal(3, 2, (30, 6)).astype(np.float32)
    record = fit_preparation(x)
    for rate, expected in ((0.0, x), (0.3, record.transform(x))):
        module = mixture(augmentation_rate=rate)
        module.preparation("a").fill(record)
        np.testing.assert_allclose(module.prepare("a", torch.from_numpy(x)), expected, atol=1e-5)
        np.testing.assert_allclose(module.observed("a", torch.from_numpy(x))[0], expected, atol=1e-5)


def test_hidden_features_are_at_their_mean():
    x = np.random.default_rng(0).normal(3, 2, (30, 6)).astype(np.float32)
    module = mixture(augmentation_rate=0.9)
    module.preparation("a").fill(fit_preparation(x))
    seen = module.augment("a", torch.from_numpy(x)).numpy()
    hidden = seen != x
    assert 0.2 < hidden.mean() < 0.7
    np.testing.assert_allclose(seen[hidden], np.broadcast_to(x.mean(axis=0), x.shape)[hidden], rtol=1e-5)


def test_counts_are_read_as_log1p_of_ten_thousand_per_cell():
    module, x = mixture("nb"), torch.tensor([[1.0, 0, 3, 0, 0, 4], [0, 0, 0, 0, 0, 0]])
    expected = torch.log1p(x * torch.tensor([[1e4 / 8], [1e4]]))
    torch.testing.assert_close(module.prepare("a", x), expected)
    target, library = module.observed("a", x)
    assert target.equal(x)
    assert library.tolist() == [[8.0], [1.0]]


def test_temperature_smooths_the_gradient_and_not_the_category():
    module, x = mixture(n_arms=1), torch.randn(500, 6)
    found, slopes = [], []
    for temperature in (1.0, 100.0):
        torch.manual_seed(0)
        posterior = module.inference(mixture_batch(module, x=x)["profiles"], temperature)["posteriors"]["a"][0]
        posterior.category[:, 0].sum().backward()
        found.append(posterior.category.detach().round())
        slopes.append(module.arms[0].category.nearest.bias.grad.clone().abs().max())
        module.zero_grad()
    assert found[0].equal(found[1])
    assert slopes[1] < 0.05 * slopes[0]


def test_states_are_sampled_in_training_alone():
    module, x = mixture(n_arms=1), torch.randn(10, 6)
    for training in (True, False):
        (posterior,) = module.train(training).inference(mixture_batch(module, x=x)["profiles"])["posteriors"]["a"]
        assert torch.equal(posterior.state, posterior.q_state.loc) != training


def test_variance_adapts_in_training_alone():
    module, x = mixture(n_arms=1), 5 * torch.randn(10, 6)
    before = module.arms[0].head.variance.clone()
    module.eval()(mixture_batch(module, x=x))
    assert module.arms[0].head.variance.equal(before)
    module.train()(mixture_batch(module, x=x))
    assert (module.arms[0].head.variance > before).all()


def test_the_output_of_a_mixture_weighs_the_divergence_of_the_state():
    module, x = mixture(state_kl_weight=0.3).eval(), torch.randn(10, 6)
    inference, _, out = module(mixture_batch(module, x=x))
    arms = inference["posteriors"]["a"]
    state = sum(torch_kl(p.q_state, Normal(0.0, 1.0)).sum() for p in arms)
    category = sum((p.log_q.exp() * (p.log_q + np.log(3))).sum() for p in arms)
    torch.testing.assert_close(out.kl_local_sum, 0.3 * state + category)


@pytest.mark.parametrize("n_removed", [0, 1])
def test_coupling_counts_active_categories_alone(n_removed):
    """By Aitchison's distance, for which one that nobody uses is not far from itself but changes the mean."""
    module, x = mixture(coupling="aitchison").eval(), torch.randn(10, 6)
    module.active[3 - n_removed :] = False
    active = slice(0, 3 - n_removed)
    log_q = [torch.log(module.log_probabilities("a", arm, x).exp()[:, active] + 1e-6) for arm in (0, 1)]
    clr = [values - values.mean(dim=1, keepdim=True) for values in log_q]
    expected = (clr[0] - clr[1]).square().mean(dim=1).mean()
    torch.testing.assert_close(module(mixture_batch(module, x=x))[2].extra_metrics["coupling"], expected.detach())
