import numpy as np
import pytest
import torch
from sklearn.covariance import EmpiricalCovariance

from couplevi.model.jae.module import BLOCKS, SHRINKAGE, JAEModule

N = {"a": 6, "b": 4}
OPTIONS = {
    "n_batches": 2,
    "n_covariates": 2,
    "widths": (8,),
    "dropout_rate": 0.0,
    "input_dropout_rate": 0.0,
    "modality_dropout_rate": 0.0,
    "weights": {"reconstruction": 1.0, "label": 0.5, "batch": 0.25, "cell_cycle": 0.125},
    "label_smoothing": 0.0,
    "guess_threshold": 0.8,
    "balanced": True,
}


def make(labels=3, batch=0, cell_cycle=0, free=2, **options):
    torch.manual_seed(0)
    blocks = {"labels": labels, "batch": batch, "cell_cycle": cell_cycle, "free": free}
    return JAEModule({m: (n, None) for m, n in N.items()}, blocks, **{**OPTIONS, **options})


def batch_of(n=8, cell_cycle=0):
    generator = torch.Generator().manual_seed(1)
    measured = {"a": torch.arange(n) != 0, "b": torch.arange(n) != 1}
    return {
        "h": {m: torch.randn(n, k, generator=generator) * measured[m][:, None] for m, k in N.items()},
        "measured": measured,
        "covariates": torch.eye(2)[torch.arange(n) % 2],
        "label": torch.tensor([0, 1, 2, -1, -1, 0, 1, -1])[:n],
        "scores": torch.full((n, cell_cycle), 0.5),
    }


def terms(module, batch, **inference):
    _, _, loss = module(batch, inference_kwargs=inference)
    return loss


def test_blocks_follow_each_other_and_fill_the_latent():
    module = make(labels=3, batch=2, cell_cycle=2, free=5)
    ends = [module.blocks[name] for name in BLOCKS]
    assert ends == [slice(0, 3), slice(3, 5), slice(5, 7), slice(7, 12)]
    z = module.encode(batch_of(cell_cycle=2)["h"])
    torch.testing.assert_close(torch.cat([module.block(z, name) for name in BLOCKS], dim=1), z)


def test_the_loss_is_the_weighted_sum_of_the_terms_of_the_blocks_that_there_are():
    module, batch = make(batch=2, cell_cycle=2), batch_of(cell_cycle=2)
    loss = terms(module, batch)
    total = sum(OPTIONS["weights"][name] * value for name, value in loss.extra_metrics.items())
    torch.testing.assert_close(loss.loss.detach(), total)
    assert list(loss.extra_metrics) == ["reconstruction", "label", "batch", "cell_cycle"]
    assert list(terms(make(labels=0), batch_of()).extra_metrics) == ["reconstruction"]
    z = module.encode(batch["h"])
    expected = (module.block(z, "cell_cycle") - 0.5).square().mean()
    torch.testing.assert_close(loss.extra_metrics["cell_cycle"], expected.detach())


def test_reconstruction_is_a_mean_over_the_modalities_that_were_measured():
    module, batch = make(), batch_of()
    decoded = module.decode(module.encode(batch["h"]), batch["covariates"])
    error = {m: (batch["h"][m] - decoded[m]).square().mean(dim=1) for m in N}
    expected = (error["a"] + error["b"]) / 2
    expected[0], expected[1] = error["b"][0], error["a"][1]
    torch.testing.assert_close(terms(module, batch).extra_metrics["reconstruction"], expected.mean().detach())


def test_the_decoder_reads_the_last_covariates_alone():
    module, batch = make(n_covariates=1), batch_of()
    z = module.encode(batch["h"])
    changed = batch["covariates"] + torch.tensor([5.0, 0.0])
    torch.testing.assert_close(module.decode(z, changed)["a"], module.decode(z, batch["covariates"])["a"])
    other = module.decode(z, batch["covariates"] + torch.tensor([0.0, 5.0]))["a"]
    assert not torch.allclose(other, module.decode(z, batch["covariates"])["a"])


def test_cells_without_a_label_teach_nothing_of_labels():
    module, batch = make(weights={**OPTIONS["weights"], "reconstruction": 0.0}), batch_of()
    module.eval()
    loss = terms(module, batch).loss
    moved = {**batch, "h": {m: h + (batch["label"] < 0)[:, None] for m, h in batch["h"].items()}}
    torch.testing.assert_close(terms(module, moved).loss, loss)
    nothing = {**batch, "label": torch.full((8,), -1)}
    assert terms(module, nothing).loss == 0


def test_labels_that_are_predicted_surely_count_by_the_square_of_their_probability():
    module, batch = make(), batch_of()
    module.eval()
    with torch.no_grad():
        logits = module.block(module.encode(batch["h"]), "labels")
    p = logits.softmax(dim=1)
    label, weight = batch["label"].clone(), (batch["label"] >= 0).float()
    module.guess_threshold = float(p.amax(dim=1)[label < 0].median()) - 1e-4
    sure = (label < 0) & (p.amax(dim=1) > module.guess_threshold)
    assert sure.sum() == 2
    label[sure], weight[sure] = p.argmax(dim=1)[sure], p.amax(dim=1)[sure] ** 2
    error = -logits.log_softmax(dim=1).gather(1, label.clamp(min=0)[:, None])[:, 0]
    expected = (error * weight).sum() / weight.sum()
    torch.testing.assert_close(terms(module, batch, guess=True).extra_metrics["label"], expected)
    known = batch["label"] >= 0
    torch.testing.assert_close(terms(module, batch).extra_metrics["label"], error[known].mean())


def test_guesses_are_made_when_nothing_is_dropped_and_leave_the_mode_alone():
    module, batch = make(dropout_rate=0.5, input_dropout_rate=0.5), batch_of()
    module.train()
    module.hidden.second[0][1].momentum = 0.0
    guesses = [module.inference(batch["h"], batch["measured"], guess=True)["p"] for _ in range(2)]
    torch.testing.assert_close(guesses[0], guesses[1])
    assert module.training
    assert not guesses[0].requires_grad


def test_one_modality_is_hidden_of_cells_that_have_two():
    module, batch = make(modality_dropout_rate=0.5), batch_of()
    torch.manual_seed(0)
    hidden = {"a": 0, "b": 0}
    for _ in range(200):
        some = module._some(batch["h"], batch["measured"])
        gone = {m: (some[m] == 0).all(dim=1) for m in N}
        assert not (gone["a"] & gone["b"]).any()
        assert gone["a"].tolist()[:2] == [True, False]
        assert gone["b"].tolist()[:2] == [False, True]
        for m in N:
            kept = ~gone[m]
            torch.testing.assert_close(some[m][kept], batch["h"][m][kept])
            hidden[m] += int(gone[m][2:].sum())
    assert all(count / (200 * 6) == pytest.approx(0.25, abs=0.03) for count in hidden.values())


def test_both_parts_of_a_place_have_a_total_variance_of_one():
    module = make(cell_cycle=2, free=4)
    torch.manual_seed(0)
    z = torch.randn(500, 9) * torch.tensor([3.0, 1, 1, 5, 0.1, 2, 2, 1, 7])
    batch = torch.eye(2)[torch.randint(2, (500,))]
    module.fit_place(z, batch)
    placed = module.place(z, batch)
    torch.testing.assert_close(placed.mean(dim=0), torch.zeros(9), atol=1e-4, rtol=0)
    for name in ("labels", "free"):
        assert module.block(placed, name).var(dim=0, correction=0).sum() == pytest.approx(1, abs=1e-4)
    torch.testing.assert_close(module.block(placed, "cell_cycle").var(dim=0, correction=0), torch.full((2,), 0.25))
    p = module.block(z, "labels").softmax(dim=1)
    correlation = np.corrcoef(p.numpy().T, module.block(placed, "labels").numpy().T)
    np.testing.assert_allclose(np.diag(correlation[:3, 3:]), 1, atol=1e-5)
    latent = make(cell_cycle=2, free=4, balanced=False)
    latent.fit_place(z, batch)
    torch.testing.assert_close(latent.place(z, batch), z)


def types_in_batches():
    """Latents of three types in two batches, each type moved in its own direction; the last is in the first batch alone."""
    torch.manual_seed(0)
    kind, batch = torch.arange(600) % 3, torch.arange(600) // 3 % 2
    batch[kind == 2] = 0
    offset = torch.tensor([[3.0, 0, 0], [0, -3.0, 0], [0, 0, 0]])
    free = torch.randn(600, 3) + 2 * kind[:, None] + offset[kind] * batch[:, None]
    return torch.cat([20 * torch.eye(3)[kind], free], dim=1), kind, batch


def test_what_sets_cells_of_a_label_apart_in_a_batch_is_taken_out_and_a_type_of_one_batch_stays():
    z, kind, batch = types_in_batches()
    module, told = make(free=3), torch.eye(2)[batch]
    module.fit_place(z, told)
    free = module.block(module.place(z, told), "free") / module.gain[3:] + module.centre[3:]
    for k in range(2):
        means = [free[(kind == k) & (batch == b)].mean(dim=0) for b in range(2)]
        apart = [z[(kind == k) & (batch == b), 3:].mean(dim=0) for b in range(2)]
        assert (means[0] - means[1]).norm() < 0.1 * (apart[0] - apart[1]).norm()
    torch.testing.assert_close(free[kind == 2], z[kind == 2, 3:], atol=1e-4, rtol=0)


def test_a_batch_that_is_added_is_moved_to_the_others_which_stay():
    z, kind, batch = types_in_batches()
    module, told = make(free=3, n_batches=3), torch.eye(3)[batch]
    module.fit_place(z, told)
    before = module.place(z, told)
    new = z[kind < 2] + torch.tensor([0, 0, 0, 0, 0, 4.0])
    as_new = torch.eye(3)[torch.full((len(new),), 2)]
    apart = module.block(module.place(new, as_new), "free").mean(dim=0)
    module.fit_new_batches(new, as_new, torch.tensor([False, False, True]))
    torch.testing.assert_close(module.place(z, told), before)
    here = module.block(before, "free")[kind < 2].mean(dim=0)
    now = module.block(module.place(new, as_new), "free").mean(dim=0)
    assert (now - here).norm() < 0.1 * (apart - here).norm()
    latent = make(free=3, n_batches=3, balanced=False)
    latent.fit_new_batches(new, as_new, torch.tensor([False, False, True]))
    assert (latent.shift == 0).all()


def test_distances_are_those_of_mahalanobis_from_the_nearest_label():
    module = make()
    rng = np.random.default_rng(0)
    label = np.arange(300) % 3
    z = rng.normal(size=(300, 5)) @ rng.normal(size=(5, 5)) + 4 * rng.normal(size=(3, 5))[label]
    module.fit_distance(torch.from_numpy(z).float(), torch.from_numpy(label))
    means = np.stack([z[label == k].mean(axis=0) for k in range(3)])
    spread = EmpiricalCovariance(assume_centered=True).fit(z - means[label]).covariance_
    spread = (1 - SHRINKAGE) * spread + SHRINKAGE * np.trace(spread) / 5 * np.eye(5)
    new = rng.normal(0, 4, (20, 5))
    off = new[:, None] - means
    expected = np.einsum("nkd,de,nke->nk", off, np.linalg.inv(spread), off).min(axis=1)
    np.testing.assert_allclose(module.distance2(torch.from_numpy(new).float()), expected, rtol=1e-3)
    own = np.einsum("nd,de,ne->n", z - means[label], np.linalg.inv(spread), z - means[label])
    np.testing.assert_allclose(module.distance_moments, [own.mean(), own.var()], rtol=1e-3)
