import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal
from torch.distributions import kl_divergence as torch_kl

from couplevi._types import LinkBatch, ProfileBatch
from couplevi.model.cplmixvae.module import LABEL_WEIGHT, CplMixVAEModule, Modality
from couplevi.preparation import fit_preparation


class AllAlike(CplMixVAEModule):
    """Of profiles that were all measured in the same way, so that a batch holds their values alone."""

    def split(self, modality, x):
        return x[:, :6], torch.zeros(len(x), 1), torch.full((len(x),), -1)


def make(likelihood="gaussian", n_arms=2, modalities=("a",), **overrides):
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
    return AllAlike({m: Modality(6, None, likelihood) for m in modalities}, **{**settings, **overrides})


def batch(module, n=20, links=None, x=None):
    x = torch.randn(n, 6) if x is None else x
    drawn = torch.ones(len(x), dtype=torch.bool)
    return {
        "profiles": {m: ProfileBatch(x, drawn, torch.zeros(len(x), 0)) for m in module.index},
        "links": links or {},
        "matches": {},
    }


def link_batch(row, col, confidence, n):
    ones = torch.ones(n, dtype=torch.bool)
    return LinkBatch(row, col, confidence, confidence, confidence, ones, ones)


def test_loss_is_the_sum_of_its_terms():
    module = make(state_kl_weight=0.3).eval()
    _, _, out = module(batch(module), loss_kwargs={"coupling_scale": 0.5})
    t = out.extra_metrics
    expected = t["reconstruction"] + 0.3 * t["kl_state"] + t["kl_category"] + 0.5 * 5.0 * t["coupling"]
    torch.testing.assert_close(out.loss.detach(), expected)
    assert t["coupling"] > 0


def test_reconstruction_is_minus_the_log_density_of_what_was_observed():
    module = make(n_arms=1).eval()
    data = batch(module)
    _, generative, out = module(data)
    [p] = generative["px"]["a"]
    x = data["profiles"]["a"].h
    density = -0.5 * (((x - p.mean) / p.stddev) ** 2 + 2 * p.stddev.log() + math.log(2 * math.pi)).sum(dim=1)
    torch.testing.assert_close(out.extra_metrics["reconstruction"], -density.mean().detach())


def test_labels_are_learned_by_the_probability_of_their_category():
    module = make(n_labels=2)
    module.__class__ = CplMixVAEModule  # that reads what stands beside the values
    module.eval()
    labels = torch.tensor([0, 1, -1, 1, 2, 0])
    x = torch.cat([torch.randn(6, 6), torch.zeros(6, 1), labels[:, None]], dim=1)
    module.active[2] = False  # the category of the fifth, which therefore teaches nothing
    data = batch(module, x=x)
    data["profiles"]["a"] = ProfileBatch(x, torch.arange(6) < 5, torch.zeros(6, 0))  # the last one only came along
    _, _, out = module(data)
    log_q = [module.log_probabilities("a", arm, x) for arm in range(2)]
    expected = -torch.stack([q[torch.tensor([0, 1, 3]), torch.tensor([0, 1, 1])].mean() for q in log_q]).mean()
    torch.testing.assert_close(out.extra_metrics["label"], expected.detach())
    without = batch(module, x=torch.cat([x[:, :-1], torch.full((6, 1), -1.0)], dim=1))
    without["profiles"]["a"] = ProfileBatch(without["profiles"]["a"].h, torch.arange(6) < 5, torch.zeros(6, 0))
    torch.testing.assert_close(out.loss - module(without)[2].loss, LABEL_WEIGHT * expected)


def test_identical_arms_are_not_pulled():
    module = make().eval()
    module.arms[1].load_state_dict(module.arms[0].state_dict())
    _, _, out = module(batch(module))
    assert out.extra_metrics["coupling"] == 0


def test_a_single_arm_has_no_coupling_and_three_have_three_pairs():
    one, three = make(n_arms=1).eval(), make(n_arms=3).eval()
    assert one(batch(one))[2].extra_metrics["coupling"] == 0
    data = batch(three)
    q = [three.log_probabilities("a", arm, data["profiles"]["a"].h).exp() for arm in range(3)]
    pairs = [(q[i] - q[j]).square().sum(dim=1).mean() for i, j in ((0, 1), (0, 2), (1, 2))]
    torch.testing.assert_close(three(data)[2].extra_metrics["coupling"], torch.stack(pairs).mean().detach())


def test_modalities_are_coupled_over_links_by_confidence():
    module = make(n_arms=1, modalities=("a", "b")).eval()
    row, col = torch.tensor([0, 1]), torch.tensor([3, 5])
    link = link_batch(row, col, torch.tensor([1.0, 0.25]), 20)
    data = batch(module, links={("a", "b"): link})
    x = data["profiles"]["a"].h
    d = (module.log_probabilities("a", 0, x)[row].exp() - module.log_probabilities("b", 0, x)[col].exp()).square()
    expected = (d.sum(dim=1) * torch.tensor([1.0, 0.25])).sum() / 1.25
    torch.testing.assert_close(module(data)[2].extra_metrics["coupling"], expected.detach())


def test_profiles_that_only_came_along_enter_no_profile_term():
    module = make().eval()
    data = batch(module)
    x = data["profiles"]["a"].h.clone()
    x[10:] = 1e3
    drawn = torch.arange(20) < 10
    data["profiles"]["a"] = ProfileBatch(x, drawn, torch.zeros(len(x), 0))
    own = {**data, "profiles": {"a": ProfileBatch(x[:10], drawn[:10], torch.zeros(10, 0))}}
    torch.testing.assert_close(module(data)[2].loss, module(own)[2].loss)


def test_uninformative_categories_have_no_divergence_and_certain_ones_log_k():
    module = make()
    for arm in module.arms:
        torch.nn.init.zeros_(arm.category.nearest.weight)
        torch.nn.init.zeros_(arm.category.nearest.bias)
    module.eval()
    assert module(batch(module))[2].extra_metrics["kl_category"] == pytest.approx(0, abs=1e-6)
    for arm in module.arms:
        torch.nn.init.constant_(arm.category.nearest.bias, 0)
        arm.category.nearest.bias.data[0] = 100
    assert module(batch(module))[2].extra_metrics["kl_category"] == pytest.approx(math.log(3), rel=1e-4)
    module.active[2] = False
    assert module(batch(module))[2].extra_metrics["kl_category"] == pytest.approx(math.log(2), rel=1e-4)


def test_training_draws_one_hot_active_categories_only():
    module = make()
    module.active[1] = False
    posteriors = module.inference(batch(module, 200)["profiles"], temperature=0.5)["posteriors"]["a"]
    for p in posteriors:
        assert ((p.category.detach() - p.category.detach().round()).abs() < 1e-6).all()
        np.testing.assert_allclose(p.category.detach().sum(dim=1), 1, rtol=1e-6)
        assert (p.category[:, 1] == 0).all()
    assert posteriors[0].category.requires_grad


def test_bound_of_a_gaussian_arm_is_the_closed_form():
    """The decoder is affine in the state, so the mean over states adds the variance that they bring."""
    module = make(n_arms=1, state_kl_weight=0.1).eval()
    arm = module.arms[0]
    with torch.no_grad():
        arm.head.variance.copy_(torch.rand(6) + 0.2)
        arm.decoder.loadings.normal_()
    x = torch.randn(7, 6)
    log_q = module.log_probabilities("a", 0, x)
    expected = -(log_q.exp() * (log_q + math.log(3))).sum(dim=1)
    for k in range(3):
        q = module.state("a", 0, x, torch.full((7,), k))
        mean = arm.decoder.centers[k] + q.loc @ arm.decoder.loadings[k]
        log_p = torch.distributions.Normal(mean, arm.head.variance.sqrt()).log_prob(x).sum(dim=1)
        spread = (q.scale**2 @ (arm.decoder.loadings[k] ** 2 / arm.head.variance).sum(dim=1, keepdim=True))[:, 0]
        kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum(dim=1)
        expected = expected + log_q[:, k].exp() * (log_p - spread / 2 - kl)
    torch.testing.assert_close(module.elbo("a", 0, x).detach(), expected.detach(), rtol=1e-4, atol=1e-3)


def test_bound_of_counts_is_that_of_many_samples():
    module = make("nb", n_arms=1).eval()
    x = torch.poisson(torch.full((5, 6), 8.0))
    arm = module.arms[0]
    log_q = module.log_probabilities("a", 0, x)
    expected = -(log_q.exp() * (log_q + math.log(3))).sum(dim=1)
    for k in range(3):
        one = torch.nn.functional.one_hot(torch.full((5,), k), 3).float()
        q = module.state("a", 0, x, torch.full((5,), k))
        library = x.sum(dim=1, keepdim=True)
        draws = [arm.decode(one, q.sample(), library).log_prob(x).sum(dim=1) for _ in range(4000)]
        kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum(dim=1)
        expected = expected + log_q[:, k].exp() * (torch.stack(draws).mean(dim=0) - kl)
    torch.testing.assert_close(module.elbo("a", 0, x).detach(), expected.detach(), rtol=0, atol=0.05)


def test_coupling_within_and_between_modalities_add_up():
    module = make(modalities=("a", "b")).eval()
    row, col = torch.arange(5), torch.arange(5, 10)
    data = batch(module, links={("a", "b"): link_batch(row, col, torch.ones(5), 20)})
    q = {m: [module.log_probabilities(m, i, data["profiles"][m].h).exp() for i in (0, 1)] for m in ("a", "b")}

    def distance(x, y):
        return (x - y).square().sum(dim=1).mean()

    within = torch.stack([distance(*q[m]) for m in ("a", "b")]).mean()
    between = torch.stack([distance(x[row], y[col]) for x in q["a"] for y in q["b"]]).mean()
    torch.testing.assert_close(module(data)[2].extra_metrics["coupling"], (within + between).detach())


def test_coupling_does_not_depend_on_the_share_of_linked_cells():
    module = make(modalities=("a", "b")).eval()
    none = torch.empty(0, dtype=torch.int64)
    without = module(batch(module))[2].extra_metrics["coupling"]
    empty = module(batch(module, links={("a", "b"): link_batch(none, none, torch.empty(0), 20)}))[2]
    data = batch(module)
    within = []
    for m in ("a", "b"):
        q = [module.log_probabilities(m, arm, data["profiles"][m].h).exp() for arm in (0, 1)]
        within.append((q[0] - q[1]).square().sum(dim=1).mean())
    torch.testing.assert_close(module(data)[2].extra_metrics["coupling"], torch.stack(within).mean().detach())
    assert without > 0
    assert empty.loss.isfinite()


def test_residual_variance_ignores_profiles_that_only_came_along():
    module = make().train()
    x = torch.randn(40, 6)
    x[20:] = 1e4
    data = batch(module, 40, x=x)
    data["profiles"]["a"] = ProfileBatch(x, torch.arange(40) < 20, torch.zeros(40, 0))
    for _ in range(30):
        module(data)
    assert all(arm.head.variance.max() < 100 for arm in module.arms)


def test_start_takes_centres_spreads_and_variances_from_labels():
    module = make(n_arms=1)
    labels = torch.arange(3).repeat(400)
    direction = torch.nn.functional.normalize(torch.randn(3, 6), dim=1)
    position = torch.randn(1200)
    x = 4 * torch.eye(6)[labels] + 2 * position[:, None] * direction[labels] + 0.1 * torch.randn(1200, 6)
    module.start("a", 0, x, labels)
    decoder = module.arms[0].decoder
    centers = torch.stack([x[labels == k].mean(dim=0) for k in range(3)])
    torch.testing.assert_close(decoder.centers.detach(), centers)
    for k in range(3):
        first = decoder.loadings[k, 0].detach()
        assert first.norm().item() == pytest.approx(2 * position[labels == k].std().item(), rel=0.02)
        assert abs(torch.dot(first / first.norm(), direction[k]).item()) > 0.99
    assert module.arms[0].head.variance.mean().item() == pytest.approx(
        0.1**2 * 4 / 6, rel=0.1
    )  # of 6 axes, 2 are states


def test_counts_start_at_the_profile_of_their_category():
    module = make("nb", n_arms=1)
    labels = torch.arange(3).repeat(100)
    rate = torch.rand(3, 6) * 20 + 1
    x = torch.poisson(rate[labels])
    module.start("a", 0, x, labels)
    share = module.arms[0].decoder.centers.exp()
    np.testing.assert_allclose(share.detach(), rate / rate.sum(dim=1, keepdim=True), rtol=0.1)


def test_augmentation_hides_features_and_thins_counts():
    x = torch.full((2000, 6), 50.0)
    module = make("nb", augmentation_rate=0.6)
    seen = module.augment("a", x)[:, :6]
    assert (seen <= x).all()
    assert (seen == seen.round()).all()
    # of each count, a share of 1 - rate is seen and that with probability 1 - rate, rate being uniform in [0, 0.6]
    assert (seen.mean() / 50).item() == pytest.approx(1 - 0.6 + 0.6**2 / 3, abs=0.02)
    module = make("gaussian", augmentation_rate=0.6)
    seen = module.augment("a", x)[:, :6]
    assert set(seen.unique().tolist()) == {0.0, 50.0}  # the mean of the preparation, or the value
    assert (seen == 0).float().mean().item() == pytest.approx(0.3, abs=0.02)
    assert not torch.equal(module.augment("a", x)[:, :6], seen)


def test_augmentation_is_for_training_alone_and_differs_between_arms():
    module = make(augmentation_rate=0.9)
    module.arms[1].load_state_dict(module.arms[0].state_dict())
    a, b = module.inference(batch(module)["profiles"])["posteriors"]["a"]
    assert not torch.equal(a.log_q, b.log_q)
    module.eval()
    a, b = module.inference(batch(module)["profiles"])["posteriors"]["a"]
    assert torch.equal(a.log_q, b.log_q)


def test_empty_profiles_of_counts_are_finite():
    module = make("zinb")
    x = torch.zeros(4, 6)
    _, _, out = module(batch(module, 4, x=x))
    assert out.loss.isfinite()
    out.loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in module.parameters())


def test_excluding_a_category_costs_what_the_bound_says():
    module = make(n_arms=1).eval()
    x = torch.randn(50, 6)
    costs = module.removal_costs("a", 0, x)
    whole = module.elbo("a", 0, x).mean()
    for k in range(3):
        module.active[k] = False
        torch.testing.assert_close(
            costs[k].detach(), (whole - module.elbo("a", 0, x).mean()).detach(), rtol=1e-3, atol=1e-4
        )
        module.active[k] = True
    module.active[1] = False
    assert module.removal_costs("a", 0, x)[1] == math.inf


def test_the_half_of_a_type_costs_less_than_a_type():
    """Two categories share one type; the third has a type of its own."""
    module = make(n_arms=1).eval()
    x = torch.cat([torch.randn(60, 6) * 0.3, 5 + torch.randn(60, 6) * 0.3])
    labels = torch.cat([torch.arange(2).repeat(30), torch.full((60,), 2)])
    module.start("a", 0, x, labels)
    costs = module.removal_costs("a", 0, x)
    assert costs.argmax() == 2
    assert costs[2] > 10 * costs[:2].max()


def test_each_modality_has_arms_of_its_own():
    module = make(modalities=("a", "b"))
    assert [*module.arms_of("a"), *module.arms_of("b")] == list(module.arms)
    assert len(module.arms) == 4


def test_features_are_prepared_if_arms_are_to_see_parts_of_them():
    x = np.random.default_rng(0).normal(3, 2, (30, 6)).astype(np.float32)
    record = fit_preparation(x)
    for rate, expected in ((0.0, x), (0.3, record.transform(x))):
        module = make(augmentation_rate=rate)
        module.observation("a").preparation.fill(record)
        np.testing.assert_allclose(module.prepare("a", torch.from_numpy(x)), expected, atol=1e-5)
        np.testing.assert_allclose(module.observed("a", torch.from_numpy(x))[0], expected, atol=1e-5)


def test_hidden_features_are_at_their_mean():
    x = np.random.default_rng(0).normal(3, 2, (30, 6)).astype(np.float32)
    module = make(augmentation_rate=0.9)
    module.observation("a").preparation.fill(fit_preparation(x))
    seen = module.augment("a", torch.from_numpy(x))[:, :6].numpy()
    hidden = seen != x
    assert 0.2 < hidden.mean() < 0.7
    np.testing.assert_allclose(seen[hidden], np.broadcast_to(x.mean(axis=0), x.shape)[hidden], rtol=1e-5)


def test_counts_are_read_as_log1p_of_ten_thousand_per_cell():
    module, x = make("nb"), torch.tensor([[1.0, 0, 3, 0, 0, 4], [0, 0, 0, 0, 0, 0]])
    expected = torch.log1p(x * torch.tensor([[1e4 / 8], [1e4]]))
    torch.testing.assert_close(module.prepare("a", x), expected)
    target, library, _ = module.observed("a", x)
    assert target.equal(x)
    assert library.tolist() == [[8.0], [1.0]]


def test_temperature_smooths_the_gradient_and_not_the_category():
    module, x = make(n_arms=1), torch.randn(500, 6)
    found, slopes = [], []
    for temperature in (1.0, 100.0):
        torch.manual_seed(0)
        posterior = module.inference(batch(module, x=x)["profiles"], temperature)["posteriors"]["a"][0]
        posterior.category[:, 0].sum().backward()
        found.append(posterior.category.detach().round())
        slopes.append(module.arms[0].category.nearest.bias.grad.clone().abs().max())
        module.zero_grad()
    assert found[0].equal(found[1])
    assert slopes[1] < 0.05 * slopes[0]


def test_states_are_sampled_in_training_alone():
    module, x = make(n_arms=1), torch.randn(10, 6)
    for training in (True, False):
        (posterior,) = module.train(training).inference(batch(module, x=x)["profiles"])["posteriors"]["a"]
        assert torch.equal(posterior.state, posterior.q_state.loc) != training


def test_variance_adapts_in_training_alone():
    module, x = make(n_arms=1), 5 * torch.randn(10, 6)
    before = module.arms[0].head.variance.clone()
    module.eval()(batch(module, x=x))
    assert module.arms[0].head.variance.equal(before)
    module.train()(batch(module, x=x))
    assert (module.arms[0].head.variance > before).all()


def test_the_output_of_a_mixture_weighs_the_divergence_of_the_state():
    module, x = make(state_kl_weight=0.3).eval(), torch.randn(10, 6)
    inference, _, out = module(batch(module, x=x))
    arms = inference["posteriors"]["a"]
    state = sum(torch_kl(p.q_state, Normal(0.0, 1.0)).sum() for p in arms)
    category = sum((p.log_q.exp() * (p.log_q + np.log(3))).sum() for p in arms)
    torch.testing.assert_close(out.kl_local_sum, 0.3 * state + category)


@pytest.mark.parametrize("n_removed", [0, 1])
def test_coupling_counts_active_categories_alone(n_removed):
    """By Aitchison's distance, for which one that nobody uses is not far from itself but changes the mean."""
    module, x = make(coupling="aitchison").eval(), torch.randn(10, 6)
    module.active[3 - n_removed :] = False
    active = slice(0, 3 - n_removed)
    log_q = [torch.log(module.log_probabilities("a", arm, x).exp()[:, active] + 1e-6) for arm in (0, 1)]
    clr = [values - values.mean(dim=1, keepdim=True) for values in log_q]
    expected = (clr[0] - clr[1]).square().mean(dim=1).mean()
    torch.testing.assert_close(module(batch(module, x=x))[2].extra_metrics["coupling"], expected.detach())
