import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge

from couplevi.model.celltext.prototypes import PENALTIES, calibrated, fit_prototypes


def planted(n=1200, n_types=20, n_words=6, k=10, seed=0, told=1.0):
    """Cells of types whose means are a linear function of the vectors of their texts, up to a share that is not told."""
    rng = np.random.default_rng(seed)
    texts = rng.normal(size=(n_types, n_words))
    weights = rng.normal(size=(n_words, k)) * 2
    means = told * texts @ weights + (1 - told) * rng.normal(size=(n_types, k)) * 4
    types = np.arange(n) % n_types
    mixing = rng.normal(size=(k, k))
    return (means[types] + rng.normal(size=(n, k))) @ mixing, types, texts, means


def fit(h, types, texts, shrinkage=0.1):
    """Fitted and calibrated, features being prepared as they are."""
    fitted = fit_prototypes(h, types, texts, shrinkage)
    return calibrated(fitted, lambda train: lambda rows: h[rows], types, texts, shrinkage)


def named(fitted, h, texts, n_cells, means):
    scores = fitted.scores(fitted.place(h), means, n_cells)
    return fitted.log_probabilities(scores).argmax(axis=1), scores


def test_cells_of_a_type_spread_with_variance_one_and_the_first_dimensions_tell_types_apart():
    h, types, texts, _ = planted()
    fitted = fit_prototypes(h, types, texts, 1e-9)
    z = fitted.place(h)
    within = z - fitted.means[types]
    np.testing.assert_allclose(within.T @ within / (len(z) - len(texts)), np.eye(z.shape[1]), atol=1e-6)
    np.testing.assert_allclose(fitted.means.mean(axis=0), 0, atol=1e-8)
    assert (np.diff(fitted.means.var(axis=0)) <= 1e-9).all()
    lda = LinearDiscriminantAnalysis(priors=np.full(20, 1 / 20)).fit(h, types)
    best, _ = named(fitted, h, texts, fitted.n_cells, fitted.means)
    assert (best == lda.predict(h)).mean() > 0.99


def test_what_texts_say_is_ridge_regression_with_the_penalty_that_types_left_out_choose():
    h, types, texts, _ = planted(told=0.7)
    fitted = fit_prototypes(h, types, texts, 0.1)
    x = texts - texts.mean(axis=0)
    scale = np.square(x).sum() / len(x)
    costs, predictions = [], []
    for penalty in PENALTIES * scale:
        ridge = Ridge(alpha=penalty)
        left_out = np.stack(
            [
                ridge.fit(np.delete(texts, i, 0), np.delete(fitted.means, i, 0)).predict(texts[i : i + 1])[0]
                for i in range(20)
            ]
        )
        costs.append(np.log1p(np.square(left_out - fitted.means).mean(axis=0)).sum())
        predictions.append(
            (ridge.fit(texts, fitted.means).predict(texts), np.square(left_out - fitted.means).mean(axis=0))
        )
    expected, residual = predictions[int(np.argmin(costs))]
    np.testing.assert_allclose(fitted.expected(texts), expected, atol=1e-6)
    np.testing.assert_allclose(fitted.variance, np.maximum(residual - (1 / fitted.n_cells).mean(), 1e-9), atol=1e-6)


def test_types_that_nobody_saw_are_found_where_their_texts_say():
    h, types, texts, _ = planted()
    old = types < 16
    fitted = fit(h[old], types[old], texts[:16], 0.1)
    means = np.concatenate([fitted.means, fitted.expected(texts[16:])])
    n_cells = np.concatenate([fitted.n_cells, np.zeros(4)])
    best, _ = named(fitted, h, texts, n_cells, means)
    assert (best[~old] == types[~old]).mean() > 0.8
    assert (best[old] == types[old]).mean() > 0.8


def test_texts_that_say_nothing_are_not_believed():
    h, types, texts, _ = planted(told=0.0)
    fitted = fit_prototypes(h, types, texts, 0.1)
    of_types = np.square(fitted.means).mean(axis=0)
    assert np.square(fitted.expected(texts)).sum() < 0.5 * np.square(fitted.means).sum()
    assert (fitted.variance > 0.5 * of_types).all()


def test_kinds_of_types_are_told_apart_by_the_ratio_of_distances_alone():
    h, types, texts, _ = planted()
    fitted = fit(h, types, texts, 0.1)
    n_cells = fitted.n_cells.copy()
    n_cells[10:] = 0
    best, scores = named(fitted, h, texts, n_cells, fitted.means)
    np.testing.assert_array_equal(best >= 10, scores.ratio > fitted.threshold)
    np.testing.assert_allclose(scores.ratio, np.log(scores.distance2[:, :10].min(1) / scores.distance2[:, 10:].min(1)))
    p = np.exp(fitted.log_probabilities(scores))
    np.testing.assert_allclose(p.sum(axis=1), 1)


def test_one_kind_alone_is_compared_by_likelihood():
    h, types, texts, _ = planted()
    fitted = fit(h, types, texts, 0.1)
    for n_cells in (fitted.n_cells, np.zeros(20)):
        best, scores = named(fitted, h, texts, n_cells, fitted.means)
        np.testing.assert_array_equal(best, scores.log_likelihood.argmax(axis=1))


def test_typicality_of_cells_of_known_types_is_spread_evenly_and_others_have_none():
    h, types, texts, _ = planted(4000)
    fitted = fit(h, types, texts, 0.1)
    known, _ = planted(4000, seed=0)[0], None
    scores = fitted.scores(fitted.place(known), fitted.means, fitted.n_cells)
    share = (fitted.typicality(scores, own=False) < 0.05).mean()
    assert 0.02 < share < 0.08
    far = fitted.scores(fitted.place(known) + 50, fitted.means, fitted.n_cells)
    assert fitted.typicality(far, own=False).max() == 0


@pytest.mark.parametrize("n_types", [2, 3, 4])
def test_few_types_are_not_held_out(n_types):
    h, types, texts, _ = planted(n_types=n_types)
    fitted = fit(h, types, texts, 0.1)
    assert fitted.threshold == 0 and fitted.slope == 1
    best, _ = named(fitted, h, texts, fitted.n_cells, fitted.means)
    assert (best == types).mean() > 0.95


def test_types_of_one_cell_and_many_types():
    h, types, texts, _ = planted(n=400, n_types=150)
    types[types == 0] = 1
    types[0] = 0
    fitted = fit(h, types, texts, 0.1)
    assert fitted.n_cells[0] == 1
    assert all(
        np.isfinite(getattr(fitted, name)).all() for name in ("variance", "threshold", "temperatures", "distances")
    )


def test_what_is_held_out_is_not_prepared_with_the_rest():
    """Components that fit noise spread the cells that they were fitted to more than others; typicality knows."""
    rng = np.random.default_rng(0)
    n, texts = 300, rng.normal(size=(15, 4))
    means = np.concatenate([texts @ rng.normal(size=(4, 10)), np.zeros((15, 290))], axis=1)
    types, new_types = np.arange(n) % 15, np.arange(1500) % 15
    x, new = (means[t] + rng.normal(size=(len(t), 300)) for t in (types, new_types))
    trained_on = []

    def components(train):
        trained_on.append(train)
        centre = x[train].mean(axis=0)
        axes = np.linalg.svd(x[train] - centre, full_matrices=False)[2][:30]
        return lambda values: (values - centre) @ axes.T

    prepare = components(np.arange(n))
    first = fit_prototypes(prepare(x), types, texts, 0.1)
    fitted = calibrated(first, lambda train: (lambda f: lambda rows: f(x[rows]))(components(train)), types, texts, 0.1)
    assert len(trained_on) > 5 and all(len(train) < 0.75 * n for train in trained_on[1:])
    place = fitted.place(prepare(new))
    scores = fitted.scores(place, fitted.means, fitted.n_cells)
    assert 0.02 < (fitted.typicality(scores, own=False) < 0.05).mean() < 0.1
    assert (first.typicality(scores, own=False) < 0.05).mean() < 0.01  # by the cells that it was fitted to
    mine = fitted.scores(fitted.place(prepare(x)), fitted.means, fitted.n_cells)
    assert fitted.own_scale > 1.2 and (fitted.typicality(mine, own=False) < 0.05).mean() > 0.2
    assert (fitted.typicality(mine, own=True) < 0.05).mean() < 0.1


def test_what_texts_say_does_not_depend_on_how_long_their_vectors_are():
    h, types, texts, _ = planted(told=0.7)
    longer = texts @ np.linalg.qr(np.random.default_rng(1).normal(size=(60, 6)))[0].T  # rotated: all products stay
    one, other = fit(h, types, texts, 0.1), fit(h, types, longer, 0.1)
    np.testing.assert_allclose(one.expected(texts), other.expected(longer), atol=1e-8)
    for name in ("variance", "threshold", "slope", "temperatures", "distances"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-6)


def test_where_every_cell_is_a_type_none_is_held_out():
    h, _, texts, _ = planted(n=30, n_types=30)
    fitted = fit(h, np.arange(30), texts, 0.1)
    assert fitted.threshold == 0 and fitted.slope == 1
    best, scores = named(fitted, h, texts, fitted.n_cells, fitted.means)
    assert (best == np.arange(30)).all() and (fitted.typicality(scores, own=False) == 1).all()


def test_without_calibration_cells_of_types_that_were_not_seen_may_be_typical():
    h, types, texts, _ = planted(n_types=20)
    seen = types < 4
    fitted = fit_prototypes(h[seen], types[seen], texts[:4], 0.1)
    scores = fitted.scores(fitted.place(h[~seen]), fitted.expected(texts[4:]), np.zeros(16))
    assert (fitted.typicality(scores, own=False) > 0.05).mean() > 0.5
