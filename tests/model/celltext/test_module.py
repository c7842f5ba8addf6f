import numpy as np
import pytest
import torch

from couplevi.model.celltext.module import CellTextModule
from couplevi.model.celltext.prototypes import fit_prototypes


def make(n_tokens=0, **kwargs):
    torch.manual_seed(0)
    sizes = {"n_text": 4, "n_types": 6, "n_probes": 3, "n_tokens": n_tokens, "n_hidden": 8, "n_queries": 2}
    module = CellTextModule(5, None, **sizes, dropout_rate=0.0, name_dropout_rate=0.0, **kwargs)
    rng = np.random.default_rng(0)
    texts = rng.normal(size=(6, 4)).astype(np.float32)
    types = np.arange(120) % 6
    h = (texts @ rng.normal(size=(4, 5)) * 3)[types] + rng.normal(size=(120, 5))
    module.texts.copy_(torch.from_numpy(texts))
    fitted = fit_prototypes(h, types, texts, 0.1)
    module.fill(fitted, h)
    module.set_views(texts, texts[::-1].copy())
    return module, fitted, torch.from_numpy(h.astype(np.float32)), torch.from_numpy(types), texts


def batch(h, types):
    return {"h": {"adata": h}, "label": types}


def test_before_training_cells_and_texts_are_where_they_were_fitted():
    module, fitted, h, _, texts = make()
    scale = 1 / np.sqrt(1 + fitted.variance)
    z = fitted.place(h.numpy().astype(np.float64)) * scale
    found = module.encode(h).detach().numpy()
    np.testing.assert_allclose(found, z / np.linalg.norm(z, axis=1, keepdims=True), atol=1e-4)
    t = fitted.expected(texts) * scale
    found = module.encode_text(torch.from_numpy(texts)).detach().numpy()
    np.testing.assert_allclose(found, t / np.linalg.norm(t, axis=1, keepdims=True), atol=1e-4)


def test_buffers_give_back_what_was_fitted():
    module, fitted, *_ = make()
    record = module.prototypes.record()
    for name in ("whitening", "means", "text_weights", "threshold", "distances", "spreads"):
        np.testing.assert_array_equal(getattr(record, name), getattr(fitted, name))


def loss_of(module, cells, texts, label, chosen):
    outputs = {"cells": cells, "texts": texts, "chosen": chosen}
    return module.loss({"label": label}, outputs, {})


def test_equal_texts_share_the_mass_of_the_target():
    """Of cells that lie on their texts, orthogonal to others, the loss is the entropy of the target."""
    module, *_ = make()
    module.log_scale.data.fill_(np.log(100.0))
    texts = torch.eye(5)[:3]
    label = torch.tensor([0, 0, 0, 1, 2, 2])
    losses = loss_of(module, texts[label], texts, label, torch.arange(3))
    terms = losses.extra_metrics
    assert terms["cell_to_text"].item() == pytest.approx(0, abs=1e-6)
    assert terms["text_to_cells"].item() == pytest.approx(np.log([3, 1, 2]).mean(), abs=1e-6)


def test_loss_is_symmetric_cross_entropy_of_cosines():
    module, _, h, types, texts = make()
    module.eval()
    outputs = module.inference(h[:20], types[:20])
    loss = module.loss(batch(h[:20], types[:20]), outputs, {})
    logits = module.log_scale.exp() * outputs["cells"] @ outputs["texts"].T
    to_text = torch.nn.functional.cross_entropy(logits, types[:20])
    member = torch.nn.functional.one_hot(types[:20], 6).float()
    to_cells = -(member / member.sum(0) * logits.log_softmax(dim=0)).sum(dim=0).mean()
    torch.testing.assert_close(loss.loss, to_text + to_cells, rtol=1e-5, atol=1e-5)


def test_a_text_without_cells_is_a_negative_alone_and_one_cell_is_a_batch():
    module, _, h, types, _ = make()
    outputs = module.inference(h[:1], types[:1])
    losses = module.loss(batch(h[:1], types[:1]), outputs, {})
    assert losses.loss.isfinite()
    assert losses.extra_metrics["text_to_cells"].item() == pytest.approx(0, abs=1e-6)
    losses.loss.backward()
    assert module.text_residual[-1].weight.grad.isfinite().all()


def test_names_are_dropped_in_training_alone(monkeypatch):
    module, _, h, types, texts = make()
    module.name_dropout_rate = 0.999999
    whole, nameless = (module.encode_text(torch.from_numpy(t)) for t in (texts, texts[::-1].copy()))
    torch.testing.assert_close(module.train().inference(h, types)["texts"], nameless)
    torch.testing.assert_close(module.eval().inference(h, types)["texts"], whole)


def test_with_many_texts_only_those_of_the_batch_are_compared(monkeypatch):
    module, _, h, types, _ = make()
    monkeypatch.setattr("couplevi.model.celltext.module.MOST_TEXTS", 3)
    outputs = module.inference(h[:3], types[:3])
    assert outputs["chosen"].tolist() == [0, 1, 2]
    assert module.loss(batch(h[:3], types[:3]), outputs, {}).loss.isfinite()


def test_tokens_are_read_behind_the_features():
    module, _, h, _, _ = make(n_tokens=2)
    tokens = torch.randn(len(h), 6)
    torch.testing.assert_close(module.encode(torch.cat([h, tokens], dim=1)), make()[0].encode(h))
    torch.nn.init.normal_(module.cell_residual.leave.weight)
    assert not torch.allclose(
        module.encode(torch.cat([h, tokens], dim=1)), module.encode(torch.cat([h, tokens + 1], dim=1))
    )
