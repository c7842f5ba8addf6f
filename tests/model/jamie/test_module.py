"""The objective against a re-computation with loops, term by term."""

import math

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch.distributions import Normal
from torch.distributions import kl_divergence as torch_kl

from couplevi._types import ProfileBatch
from couplevi.dataloaders import Links
from couplevi.model.jamie.module import TERMS, JAMIEModule
from couplevi.preparation import fit_preparation

N = {"a": 5, "b": 4}
P = np.array([[1, 0, 0, 0], [0, 0.5, 0.5, 0], [0, 0, 0.9, 0.6], [0, 0, 0, 0], [0, 0, 0, 0]], dtype=np.float32)
F = np.array([[0, 0.5, 0, 0], [0, 0, 0, 0], [0.2, 0, 0, 0.6], [0, 0, 1, 0], [0, 0, 0, 0]], dtype=np.float32)
DRAWN = {"a": torch.tensor([True, True, False, True, True]), "b": torch.tensor([True, False, True, True])}
ROWS, COLS = np.arange(5), np.arange(4)


def none(n):
    """No covariates of n profiles."""
    return torch.zeros(n, 0)


def make_module(**options):
    defaults = {
        "widths": {"a": (7,), "b": (6,)},
        "weights": dict.fromkeys(TERMS, 1.0),
        "input_dropout_rate": 0.0,
        "hidden": {"normalization": "layer", "activation": "gelu", "dropout_rate": 0.0},
        "unknown_negative_weight": 0.3,
        "normalize_block": False,
        "match_weight": 0.0,
    }
    torch.manual_seed(0)
    module = JAMIEModule({"a": (8, 3), "b": (2, None)}, 4, **{**defaults, **options})
    module.observation("a").preparation.fill(fit_preparation(np.random.default_rng(0).normal(size=(30, 8)), 3))
    with torch.no_grad():
        module.log_aggregation_weights.copy_(torch.tensor([0.3, -0.2]))
        module.temperature_logit.fill_(0.1)
    return module


def make_batch(links=P, matches=F, drawn=DRAWN):
    sizes = {"a": 3, "b": 2}
    generator = torch.Generator().manual_seed(1)
    profiles = {m: ProfileBatch(torch.randn(N[m], sizes[m], generator=generator), drawn[m], none(N[m])) for m in N}
    blocks = [{("a", "b"): Links(sp.csr_array(x)).block(ROWS, COLS)} if x is not None else {} for x in (links, matches)]
    return {"profiles": profiles, "links": blocks[0], "matches": blocks[1]}


def run(module, batch, **kwargs):
    torch.manual_seed(0)
    inference, generative, losses = module(batch, loss_kwargs=kwargs)
    return inference, generative, {k: v.item() for k, v in losses.extra_metrics.items()}, losses


@pytest.fixture
def result():
    module, batch = make_module(), make_batch()
    return module, batch, *run(module, batch)


def test_aggregation_is_the_weighted_mean_over_links(result):
    module, _, inference, *_ = result
    z, w = inference["z"], {m: x.item() for m, x in module.aggregation_weights().items()}
    assert w["a"] == pytest.approx(math.exp(0.3))
    rows, columns = P / np.maximum(P.sum(axis=1, keepdims=True), 1), P / np.maximum(P.sum(axis=0), 1)
    for i in range(5):
        pull = sum(rows[i, j] * z["b"][j] for j in range(4))
        expected = (w["a"] * z["a"][i] + w["b"] * pull) / (w["a"] + w["b"] * rows[i].sum())
        torch.testing.assert_close(inference["z_aggregated"]["a"][i], expected)
    for j in range(4):
        pull = sum(columns[i, j] * z["a"][i] for i in range(5))
        expected = (w["b"] * z["b"][j] + w["a"] * pull) / (w["b"] + w["a"] * columns[:, j].sum())
        torch.testing.assert_close(inference["z_aggregated"]["b"][j], expected)


def test_match_weight_mixes_inferred_links_into_the_aggregation():
    module, batch = make_module(match_weight=0.25), make_batch()
    torch.manual_seed(0)
    inference = module.inference(batch["profiles"], batch["links"], batch["matches"])
    z, w = inference["z"], {m: x.item() for m, x in module.aggregation_weights().items()}
    p, f = (x / np.maximum(x.sum(axis=1, keepdims=True), 1) for x in (P, F))
    mixed = 0.75 * p + 0.25 * f
    for i in range(5):
        pull = sum(mixed[i, j] * z["b"][j] for j in range(4))
        expected = (w["a"] * z["a"][i] + w["b"] * pull) / (w["a"] + w["b"] * mixed[i].sum())
        torch.testing.assert_close(inference["z_aggregated"]["a"][i], expected)


def test_match_weight_leaves_pairs_of_modalities_without_matches_alone():
    z = {m: torch.randn(n, 4) for m, n in N.items()}
    batch = make_batch(matches=None)
    weighted, plain = (make_module(match_weight=w).aggregate(z, batch["links"], batch["matches"]) for w in (0.25, 0.0))
    for m in N:
        torch.testing.assert_close(weighted[m], plain[m])


def test_unlinked_profile_keeps_its_latent(result):
    inference = result[2]
    torch.testing.assert_close(inference["z_aggregated"]["a"][3:], inference["z"]["a"][3:])


def test_profile_terms_are_means_over_drawn_profiles(result):
    module, batch, inference, _, metrics, _ = result
    kl = reconstruction = 0
    for m in "ab":
        q, drawn = inference["qz"][m], DRAWN[m]
        log_variance = 2 * q.scale.log()
        each = -0.5 * (1 + log_variance - q.loc**2 - log_variance.exp()).sum(dim=1)
        kl += each[drawn].mean().item()
        assert metrics[f"kl_{m}"] == pytest.approx(each[drawn].mean().item(), rel=1e-5)
        h_hat = module.decode(m, inference["z_aggregated"][m], none(N[m])).mean
        error = (batch["profiles"][m].h - h_hat).square().sum(dim=1)[drawn].mean()
        reconstruction += (error * module.observation(m).preparation.error_weight).item()
    assert metrics["kl"] == pytest.approx(kl, rel=1e-5)
    assert metrics["reconstruction"] == pytest.approx(reconstruction, rel=1e-5)


def test_error_weight_is_per_standardised_feature():
    module = make_module()
    assert module.observation("a").preparation.error_weight.item() == pytest.approx(
        module.observation("a").preparation.rms.item() ** 2 / 8
    )
    assert module.observation("b").preparation.error_weight.item() == pytest.approx(1 / 2)


def test_combination_is_a_mean_over_linked_profiles(result):
    *_, inference, _, metrics, _ = result[1:]
    expected = 0
    for m, linked in (("a", [0, 1, 2]), ("b", [0, 1, 2, 3])):
        distance = (inference["z"][m] - inference["z_aggregated"][m]).square().mean(dim=1)
        expected += distance[linked].mean().item()
    assert metrics["combination"] == pytest.approx(expected, rel=1e-5)


def test_cross_reconstruction_is_a_mean_over_links_by_confidence(result):
    module, batch, inference, _, metrics, _ = result
    expected = 0
    for source, target, matrix in (("a", "b", P), ("b", "a", P.T)):
        h_hat = module.decode(target, inference["z"][source], none(N[source])).mean
        total = 0
        for i, j in zip(*matrix.nonzero(), strict=True):
            error = (batch["profiles"][target].h[j] - h_hat[i]).square().sum() * module.observation(
                target
            ).preparation.error_weight
            total += matrix[i, j] * error.item()
        expected += total / P.sum()
    assert metrics["cross_reconstruction"] == pytest.approx(expected, rel=1e-5)


def test_contrastive_term_by_hand(result):
    module, _, inference, _, metrics, _ = result
    mu = {m: inference["qz"][m].loc for m in "ab"}
    value = 0
    for x, y, matrix in ((mu["a"], mu["b"], P), (mu["b"], mu["a"], P.T)):
        known = matrix.sum(axis=0) > 0
        numerator = denominator = 0
        for i in range(len(x)):
            if matrix[i].sum() == 0:
                continue
            logits = -(x[i] - y).square().sum(dim=1) / (4 * module.temperature)
            logits = logits + torch.tensor([0.0 if k else math.log(0.3) for k in known])
            log_p = logits - logits.logsumexp(dim=0)
            weight = min(1.0, matrix[i].sum())
            numerator -= weight * (torch.from_numpy(matrix[i] / matrix[i].sum()) * log_p).sum().item()
            denominator += weight
        value += numerator / denominator / 2
    assert metrics["contrastive"] == pytest.approx(value, rel=1e-4)


def test_alignment_term_by_hand(result):
    *_, inference, _, metrics, _ = result[1:]
    z, expected = inference["z_aggregated"], 0
    for x, y, matrix in ((z["a"], z["b"], F), (z["b"], z["a"], F.T)):
        distances = [
            (x[i] - torch.from_numpy(matrix[i] / matrix[i].sum()) @ y).square().mean().item()
            for i in range(len(x))
            if matrix[i].sum() > 0
        ]
        expected += np.mean(distances)
    assert metrics["alignment"] == pytest.approx(expected, rel=1e-5)


def test_loss_is_the_weighted_sum_of_its_terms():
    weights = dict(zip(TERMS, (0.5, 2.0, 3.0, 5.0, 7.0, 11.0), strict=True))
    module, batch = make_module(weights=weights), make_batch()
    *_, metrics, losses = run(module, batch, kl_weight=0.25)
    expected = sum(weights[t] * metrics[t] * (0.25 if t == "kl" else 1) for t in TERMS)
    assert losses.loss.item() == pytest.approx(expected, rel=1e-5)
    assert losses.n_obs_minibatch == 7
    assert losses.reconstruction_loss_sum.item() == pytest.approx(
        4 * metrics["reconstruction_a"] + 3 * metrics["reconstruction_b"], rel=1e-5
    )


@pytest.mark.parametrize("term", TERMS)
def test_a_term_of_weight_zero_has_no_gradient(term):
    weights = {**dict.fromkeys(TERMS, 0.0), term: 1.0}
    module = make_module(weights=weights)
    run(module, make_batch())[-1].loss.backward()
    gradients = {name for name, p in module.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    decoders = {name for name in gradients if name.startswith("decoders")}
    assert bool(decoders) == (term in ("reconstruction", "cross_reconstruction"))
    assert ("temperature_logit" in gradients) == (term == "contrastive")
    assert any(name.startswith("encoders") for name in gradients)


def test_without_links_link_terms_are_zero_and_finite():
    module = make_module()
    *_, metrics, losses = run(module, make_batch(links=np.zeros_like(P), matches=None))
    losses.loss.backward()
    for term in ("combination", "cross_reconstruction", "contrastive", "alignment"):
        assert metrics[term] == 0
    assert all(torch.isfinite(p.grad).all() for p in module.parameters() if p.grad is not None)


def test_batch_without_one_modality_is_finite():
    module, batch = make_module(), make_batch()
    empty = torch.zeros(0, dtype=torch.bool)
    batch["profiles"]["b"] = ProfileBatch(torch.zeros(0, 2), empty, none(0))
    nothing = Links(sp.csr_array(P)).block(ROWS, COLS[:0])
    batch["links"]["a", "b"] = batch["matches"]["a", "b"] = nothing
    *_, metrics, losses = run(module, batch)
    assert math.isfinite(losses.loss.item())
    assert metrics["reconstruction_b"] == 0


def test_scaling_all_confidences_of_single_links_matters_unless_blocks_are_normalised():
    single = np.zeros_like(P)
    single[[0, 1], [0, 1]] = 1.0

    def pulled(normalize, scale):
        module = make_module(normalize_block=normalize)
        return run(module, make_batch(links=single * np.float32(scale)))[0]["z_aggregated"]["a"][0]

    torch.testing.assert_close(pulled(True, 0.3), pulled(True, 1.0))
    torch.testing.assert_close(pulled(True, 1.0), pulled(False, 1.0))
    assert not torch.allclose(pulled(False, 0.3), pulled(False, 1.0))


def test_renaming_modalities_swaps_rows_and_columns():
    """The mirror image of a batch gives the same link terms."""
    module, batch = make_module(), make_batch()
    torch.manual_seed(0)
    inference = module.inference(batch["profiles"], batch["links"], batch["matches"])
    mirrored = {
        name: {("b", "a"): Links(sp.csr_array(np.ascontiguousarray(x.T))).block(COLS, ROWS)}
        for name, x in (("links", P), ("matches", F))
    }
    flipped = {"profiles": batch["profiles"], **mirrored}
    aggregated = module.aggregate(inference["z"], flipped["links"], flipped["matches"])
    for m in "ab":
        torch.testing.assert_close(aggregated[m], inference["z_aggregated"][m])
    terms = []
    for tensors in (batch, flipped):
        outputs = {**inference, "z_aggregated": aggregated}
        generative = module.generative(**module._get_generative_input(tensors, outputs))
        terms.append(module.loss(tensors, outputs, generative).extra_metrics)
    for term in TERMS:
        torch.testing.assert_close(terms[0][term], terms[1][term])


def test_temperature_stays_in_its_range():
    module = make_module()
    for logit, expected in ((-50.0, 0.01), (50.0, 10.0), (math.log(2.0), 1.0)):
        with torch.no_grad():
            module.temperature_logit.fill_(logit)
        assert module.temperature.item() == pytest.approx(expected, rel=1e-4)


def test_modalities_may_have_any_name():
    options = {
        "widths": {"rna.v2": (4,), "values": (4,)},
        "weights": dict.fromkeys(TERMS, 1.0),
        "input_dropout_rate": 0.0,
        "hidden": {"normalization": "batch", "activation": "leaky_relu", "dropout_rate": 0.0},
        "unknown_negative_weight": 1.0,
        "normalize_block": False,
        "match_weight": 0.0,
    }
    module = JAMIEModule({"rna.v2": (5, None), "values": (6, None)}, 2, **options)
    assert module.encode("values", torch.zeros(3, 6), none(3)).loc.shape == (3, 2)


def small(**options):
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
    return {m: ProfileBatch(torch.randn(n, size), torch.arange(n) < n - 2, none(n)) for m, size in sizes}


def test_a_decoder_has_the_widths_of_its_encoder_in_reverse():
    module = small()
    widths = [layer.out_features for layer in module.decoders[0].hidden if isinstance(layer, torch.nn.Linear)]
    assert widths == [5, 7]
    assert module.decode("a", torch.zeros(3, 2), none(3)).mean.shape == (3, 4)


def test_latent_samples_have_the_spread_of_the_posterior_and_common_draws():
    module, q = small(), Normal(torch.tensor([[1.0, -2.0], [5.0, 0.0]]), torch.tensor([[0.5, 2.0], [3.0, 0.1]]))
    samples = torch.stack(list(module.latent_samples(q, 2000)))
    torch.testing.assert_close(samples.mean(dim=0), q.loc, atol=0.2, rtol=0.05)
    torch.testing.assert_close(samples.std(dim=0), q.scale, atol=0.0, rtol=0.05)
    draws = (samples - q.loc) / q.scale
    torch.testing.assert_close(draws[:, 0], draws[:, 1], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(torch.stack(list(module.latent_samples(q, 2000))), samples)


def test_errors_of_profiles_are_those_of_the_mean_latent():
    module, h = small(), torch.randn(5, 4)
    q = module.encode("a", h, none(len(h)))
    error, divergence = module.profile_errors("a", h, none(len(h)), q)
    torch.testing.assert_close(error, (h - module.decode("a", q.loc, none(len(h))).mean).square().mean(dim=1))
    torch.testing.assert_close(divergence, torch_kl(q, Normal(0.0, 1.0)).sum(dim=1))


def test_the_output_of_jamie_weighs_the_divergence_and_its_metrics_have_no_gradient():
    module = small(weights={**dict.fromkeys(TERMS, 1.0), "kl": 0.25})
    batch = {"profiles": profiles(), "links": {}, "matches": {}}
    inference, _, out = module(batch)
    divergence = [torch_kl(inference["qz"][m], Normal(0.0, 1.0)).sum(dim=1)[:4].sum() for m in "ab"]
    torch.testing.assert_close(out.kl_local_sum, 0.25 * sum(divergence))
    assert out.loss.requires_grad
    assert not any(value.requires_grad for value in out.extra_metrics.values())


def test_sensitivity_is_the_mean_square_of_the_jacobian_exact_or_by_random_combinations(monkeypatch):
    torch.manual_seed(0)
    module = small(widths={"a": (30,), "b": (6,)}, n_private=1).eval()
    module.decoders[0].output = torch.nn.Linear(30, 400)  # more outputs than are differentiated one by one
    z = torch.randn(20, 3)
    error_weight = module._error_weight("a")
    jacobian = torch.stack(
        [torch.autograd.functional.jacobian(lambda x: module.decoder("a")(x[None]).mean[0], x) for x in z]
    )
    exact = error_weight * torch.einsum("nof,nog->fg", jacobian, jacobian) / 20
    monkeypatch.setattr("couplevi.model.jamie.module.MAX_PROBES", 400)
    torch.testing.assert_close(module.sensitivity("a", z, none(20)), exact)
    monkeypatch.setattr("couplevi.model.jamie.module.MAX_PROBES", 256)
    found = module.sensitivity("a", z, none(20))
    assert (found - exact).abs().max() < 0.2 * exact.abs().max()
    assert not torch.equal(found, exact)
