import numpy as np
import pytest
import scipy.sparse as sp

from couplevi._streamed import StreamedMatrix
from couplevi.preparation import _fit, fit_coupled, fit_preparation

N = 240


@pytest.fixture
def planted():
    """Modality `a` has 60 features in three groups that share a lot, 300 that share nothing, and two that `b` knows."""
    rng = np.random.default_rng(0)
    own = rng.normal(size=(N, 3))
    known = rng.normal(size=(N, 2))
    a = np.hstack([np.repeat(own, 20, axis=1) + rng.normal(size=(N, 60)), rng.normal(size=(N, 300)), known])
    b = known @ rng.normal(size=(2, 12)) + 0.3 * rng.normal(size=(N, 12))
    return {"a": (a + 5).astype(np.float32), "b": b.astype(np.float32)}


def links(n_known=N):
    diagonal = (np.arange(N) < n_known).astype(np.float32)
    matrix = sp.diags_array(diagonal).tocsr()
    matrix.eliminate_zeros()
    return {("a", "b"): matrix}


def weights(record, x):
    return x.std(axis=0) / record.scale


def kept(record, x, j):
    """Share of the variance of a feature that the components keep."""
    back = record.inverse(record.transform(x))[:, j]
    return 1 - np.square(x[:, j] - back).mean() / x[:, j].var()


@pytest.mark.parametrize("max_gram", [10, 4000])
def test_a_feature_that_knows_the_other_modality_counts_more(planted, monkeypatch, max_gram):
    monkeypatch.setattr(_fit, "MAX_GRAM", max_gram)
    x, sizes = planted["a"], {"a": 5, "b": None}
    alone, coupled = fit_preparation(x, 5), fit_coupled(planted, links(), sizes)["a"]
    before, after = weights(alone, x), weights(coupled, x)
    assert before[360:].max() < 0.8 * before[:60].min()
    assert after[360:].min() > 1.5 * before[360:].max()
    assert after[360:].min() > 2 * np.median(after[60:360])
    assert max(kept(alone, x, j) for j in (360, 361)) < 0.5
    assert min(kept(coupled, x, j) for j in (360, 361)) > 0.9
    np.testing.assert_allclose(coupled.components @ coupled.components.T, np.eye(5), atol=1e-5)
    assert np.sqrt(np.square(coupled.transform(x)).mean()) == pytest.approx(1, rel=1e-3)


def test_weights_by_hand(planted):
    x = planted["a"].astype(np.float64)
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    _, s, v = np.linalg.svd(z, full_matrices=False)
    h2 = np.clip((((s[:20, None] ** 2 / N) * v[:20] ** 2).sum(axis=0) - 20 / N) / (1 - 20 / N), 0, 1)
    y = planted["b"] - planted["b"].mean(axis=0)
    u = np.linalg.qr(np.column_stack([np.ones(N), y]))[0]
    left_out = (z - u @ (u.T @ z)) / (1 - np.square(u).sum(axis=1))[:, None]
    c = np.clip(1 - np.square(left_out).sum(axis=0) / (N * (N / (N - 1)) ** 2), 0, 1)
    expected = np.sqrt(h2 + c + 0.03)
    expected /= np.sqrt(np.square(expected).mean())
    record = fit_coupled(planted, links(), {"a": 5, "b": None})["a"]
    np.testing.assert_allclose(weights(record, x), expected, rtol=1e-3)
    of_all, of_known = z * expected, u[:, 1:] @ (u[:, 1:].T @ z) * expected
    _, size, directions = np.linalg.svd(of_known, full_matrices=False)
    by_chance = (np.square(of_all).sum() - np.square(of_known).sum()) / (N - 1 - 12)
    of_known = np.sqrt(np.maximum(size**2 - by_chance, 0))[:, None] * directions
    sought = np.linalg.eigh(of_all.T @ of_all + of_known.T @ of_known)[1][:, ::-1][:, :5].T
    np.testing.assert_allclose(np.abs((record.components * sought).sum(axis=1)), 1, atol=1e-3)


@pytest.mark.parametrize("given", [{}, links(0), links(9)])
def test_without_links_it_is_what_each_modality_says_alone(planted, given):
    sizes = {"a": 5, "b": 3}
    for m, record in fit_coupled(planted, given, sizes).items():
        alone = fit_preparation(planted[m], sizes[m])
        for name in ("mean", "scale", "components", "rms"):
            np.testing.assert_array_equal(getattr(record, name), getattr(alone, name))


def test_a_modality_that_is_not_reduced_is_standardised(planted):
    record = fit_coupled(planted, links(), {"a": 5, "b": None})["b"]
    np.testing.assert_array_equal(record.scale, fit_preparation(planted["b"]).scale)
    assert record.components is None


def test_links_that_are_wrong_change_little(planted):
    shuffled = {("a", "b"): links()["a", "b"][np.random.default_rng(0).permutation(N)]}
    alone, coupled = (f["a"] for f in (fit_coupled(planted, g, {"a": 3, "b": None}) for g in ({}, shuffled)))
    np.testing.assert_allclose(coupled.scale, alone.scale, rtol=0.15)


@pytest.mark.parametrize("max_gram", [10, 4000])
@pytest.mark.parametrize("kind", [sp.csr_matrix, lambda x: StreamedMatrix(sp.csr_array(x), "x")])
def test_stored_in_any_way_read_in_chunks_and_in_any_order(planted, kind, max_gram, monkeypatch):
    monkeypatch.setattr(_fit, "MAX_GRAM", max_gram)
    sizes = {"a": 5, "b": 2}
    given = {("a", "b"): sp.csr_array(links(200)["a", "b"] * 0.7 + 0.3 * sp.eye_array(N, k=1))}
    whole = fit_coupled(planted, given, sizes)
    monkeypatch.setattr("couplevi.preparation._rows.CHUNK_VALUES", 900)
    rng = np.random.default_rng(1)
    order = {m: rng.permutation(N) for m in planted}
    turned = {("b", "a"): sp.csr_array(given["a", "b"][order["a"]][:, order["b"]].T)}
    chunked = fit_coupled({m: kind(x[order[m]]) for m, x in planted.items()}, turned, sizes)
    for m in planted:
        for name in ("mean", "scale", "components"):
            np.testing.assert_allclose(getattr(whole[m], name), getattr(chunked[m], name), atol=2e-4)


def test_what_differs_between_batches_is_not_known(planted):
    batch = np.repeat([0, 1], N // 2)
    planted["a"][:, 70] += 6 * batch
    planted["b"][:, 0] += 30 * batch
    sizes = {"a": 5, "b": None}
    blind = fit_coupled(planted, links(), sizes)["a"]
    told = fit_coupled(planted, links(), sizes, {"a": batch, "b": batch})["a"]
    before, after = (weights(r, planted["a"])[70] for r in (blind, told))
    assert after < 0.6 * before
    assert weights(told, planted["a"])[360:].min() > 2 * np.median(weights(told, planted["a"])[60:360])


def test_a_third_modality_that_knows_nothing_takes_no_weight_away(planted):
    sizes = {"a": 5, "b": None, "c": None}
    noise = np.random.default_rng(2).normal(size=(N, 8))
    two = fit_coupled(planted, links(), sizes)["a"]
    third = {**links(), ("a", "c"): links()["a", "b"], ("b", "c"): links()["a", "b"]}
    three = fit_coupled({**planted, "c": noise}, third, sizes)["a"]
    np.testing.assert_allclose(weights(three, planted["a"])[360:], weights(two, planted["a"])[360:], rtol=0.02)
    assert min(kept(three, planted["a"], j) for j in (360, 361)) > 0.85
