import numpy as np
import pytest
import scipy.sparse as sp

from couplevi._streamed import StreamedMatrix
from couplevi.preparation._explained import explained_by, n_regressors


@pytest.fixture
def linked():
    """Counts of 80 cells, three numbers that explain the first two features, and confidences of all kinds."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(70, 3))
    links = sp.random_array((80, 70), density=0.03, rng=rng, format="csr")
    links = (links + 0.6 * sp.eye_array(80, 70)).tocsr()[:, rng.permutation(70)]
    links.data = np.minimum(links.data, 1)
    partner = links @ scores
    x = rng.poisson(np.exp(np.hstack([partner[:, :2], rng.normal(size=(80, 6))]))).astype(np.float64)
    x[:, 5] = 3
    return x, links, scores


def found(x, links, scores, batch=None):
    dense = np.asarray(x.toarray() if sp.issparse(x) else x, dtype=np.float64)
    return explained_by(x, dense.mean(axis=0), dense.std(axis=0), links, scores, batch)


def by_hand(x, links, scores, batch):
    """Each profile left out in turn of a weighted regression."""
    sums = links.sum(axis=1)
    rows = np.flatnonzero(sums > 0)
    w, s = np.minimum(sums[rows], 1), (links @ scores)[rows] / sums[rows, None]
    y = ((x - x.mean(axis=0)) / np.where(x.std(axis=0) > 0, x.std(axis=0), 1))[rows]
    groups = (batch[rows, None] == np.unique(batch)).astype(float)
    errors = []
    for design in (groups, np.hstack([groups, s])):
        residuals = np.empty_like(y)
        for i in range(len(rows)):
            others = np.arange(len(rows)) != i
            root = np.sqrt(w[others])[:, None]
            b = np.linalg.lstsq(design[others] * root, y[others] * root, rcond=None)[0]
            residuals[i] = y[i] - design[i] @ b
        errors.append((w[:, None] * residuals**2).sum(axis=0))
    mean = np.average(y, axis=0, weights=w)
    between = sum(w[g > 0].sum() * (np.average(y[g > 0], axis=0, weights=w[g > 0]) - mean) ** 2 for g in groups.T)
    variance = errors[0] + between
    share = np.where(variance > 1e-9, (errors[0] - errors[1]) / np.where(variance > 1e-9, variance, 1), 0)
    root = np.sqrt(w)[:, None]
    fit = design @ np.linalg.lstsq(design * root, y * root, rcond=None)[0]
    fit -= groups @ np.linalg.lstsq(groups * root, fit * root, rcond=None)[0]
    return np.clip(share, 0, 1), (fit * w[:, None]).T @ fit / w.sum()


@pytest.mark.parametrize("n_batches", [1, 3])
def test_share_is_that_of_profiles_left_out_in_turn(linked, n_batches):
    x, links, scores = linked
    batch = np.random.default_rng(1).integers(n_batches, size=80)
    x[:, 3] += 4 * batch  # which is not explained
    share, covariance = by_hand(x, links, scores, batch)
    explained = found(x, links, scores, batch)
    np.testing.assert_allclose(explained.share, share, atol=1e-9)
    np.testing.assert_allclose(explained.loadings.T @ explained.loadings, covariance, atol=1e-9)
    assert explained.share[:2].min() > 0.2
    assert explained.share[5] == 0
    if n_batches == 1:
        np.testing.assert_allclose(found(x, links, scores).share, share, atol=1e-9)


@pytest.mark.parametrize("kind", [sp.csr_matrix, sp.csc_array, lambda x: StreamedMatrix(sp.csr_array(x), "x")])
def test_stored_in_any_way_and_read_in_any_chunks(linked, kind, monkeypatch):
    x, links, scores = linked
    x = x + 1e3  # an offset, of which sparse values are not rid
    whole = found(x, links, scores)
    monkeypatch.setattr("couplevi.preparation._rows.CHUNK_VALUES", 8 * 7)
    stored = explained_by(kind(x), x.mean(axis=0), x.std(axis=0), links, scores)
    np.testing.assert_allclose(stored.share, whole.share, atol=1e-6)
    np.testing.assert_allclose(stored.loadings, whole.loadings, atol=1e-8)


def test_chance_explains_nothing():
    rng = np.random.default_rng(0)
    x = np.hstack([rng.normal(size=(200, 300)), rng.random((200, 300)) < 0.015])
    x = x[:, x.std(axis=0) > 0]
    share = found(x, sp.eye_array(200, format="csr"), rng.normal(size=(200, 20))).share
    assert share.mean() < 0.003
    assert np.median(share) == 0


def test_regressors_that_say_the_same_count_once(linked):
    x, links, scores = linked
    once, twice = found(x, links, scores), found(x, links, np.hstack([scores, scores @ np.ones((3, 2))]))
    np.testing.assert_allclose(twice.share, once.share, atol=1e-9)
    assert len(twice.loadings) == 3


def test_confidences_count_as_parts_of_a_pair():
    assert n_regressors(sp.eye_array(50, format="csr")) == 5
    assert n_regressors(0.5 * sp.eye_array(50, format="csr")) == 2
    assert n_regressors(sp.csr_array(np.ones((100, 9)))) == 0  # nine profiles say no more than nine pairs
    assert n_regressors(sp.csr_array((20, 20))) == 0


def test_what_chance_explains_is_taken_off():
    """Of regressors that say nothing, next to nothing is left; of one that says a lot, nearly all."""
    rng = np.random.default_rng(0)
    x, scores = rng.normal(size=(200, 400)), rng.normal(size=(200, 10))
    ones = np.ones(400)
    pairs = sp.eye_array(200, format="csr")
    in_sample = found(x, pairs, scores)
    assert np.square(in_sample.loadings).sum() == pytest.approx(20, rel=0.05)  # 10 of 200 degrees of freedom
    assert np.square(in_sample.beyond_chance(ones)).sum() < 6  # what the largest have more than the mean
    x[:, :50] += 3 * scores[:, :1]
    told = found(x, pairs, scores)
    beyond = told.beyond_chance(ones)
    assert np.square(beyond)[:, :50].sum() == pytest.approx(50 * 0.9, rel=0.05)
    assert np.square(beyond)[:, 50:].sum() < 0.4 * np.square(told.loadings)[:, 50:].sum()
    weight = np.where(np.arange(400) < 50, 2.0, 0.5)
    weighted = np.square(told.loadings * weight)
    by_chance = (np.square(weight).sum() - weighted.sum()) / (200 - 1 - 10)
    sizes = np.linalg.svd(told.loadings * weight, compute_uv=False) ** 2
    left = np.square(told.beyond_chance(weight)).sum(axis=1)
    np.testing.assert_allclose(np.sort(left), np.sort(np.maximum(sizes - by_chance, 0)), atol=1e-9)


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array])
def test_features_that_no_linked_profile_has_are_not_explained(kind):
    """As rare peaks of cells kept apart: what sums leave of them is rounding, of which nothing is a share."""
    rng = np.random.default_rng(0)
    x = np.zeros((700, 200))
    x[rng.integers(600, 700, size=200), np.arange(200)] = rng.uniform(1, 3, size=200)
    links = sp.eye_array(700, 700).tocsr()
    links = sp.csr_array(links.multiply((np.arange(700) < 600)[:, None]))
    explained = found(kind(x), links, rng.normal(size=(700, 20)))
    np.testing.assert_array_equal(explained.share, 0)
