import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis

from couplevi.gaussians import _shrinkage, choose_share, shrink


def test_shares_of_none_half_and_all(random_covariance):
    rng = np.random.default_rng(0)
    covariances, pooled = np.stack([random_covariance(3, rng) for _ in range(4)]), random_covariance(3, rng)
    np.testing.assert_array_equal(shrink(covariances, pooled, 0), covariances)
    np.testing.assert_array_equal(shrink(covariances, pooled, 1), np.broadcast_to(pooled, (4, 3, 3)))
    np.testing.assert_allclose(shrink(covariances, pooled, 0.25), 0.25 * pooled + 0.75 * covariances)


def test_posteriors_are_those_of_quadratic_and_linear_discriminant_analysis():
    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1, 2], [40, 60, 100])
    scores = rng.normal(size=(200, 3)) * (1 + codes[:, None]) + codes[:, None]
    test, truth = rng.normal(size=(30, 3)) + 1, rng.integers(3, size=30)
    found = _shrinkage._log_likelihoods(scores, codes, test, truth, (0.0, 1.0), "posterior")
    for value, other in zip(found, (QuadraticDiscriminantAnalysis(), LinearDiscriminantAnalysis()), strict=True):
        log = other.fit(scores, codes).predict_log_proba(test)
        assert value == pytest.approx(log[np.arange(30), truth].sum(), rel=1e-2)


def test_densities_are_those_of_the_gaussian_of_the_own_class():
    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1], [50, 150])
    scores, test, truth = rng.normal(size=(200, 2)) + codes[:, None], rng.normal(size=(30, 2)), rng.integers(2, size=30)
    [found] = _shrinkage._log_likelihoods(scores, codes, test, truth, (0.0,), "density")
    logs = [
        multivariate_normal(own.mean(axis=0), np.cov(own.T)).logpdf(test)
        for own in (scores[codes == k] for k in (0, 1))
    ]
    constant = 30 * np.log(2 * np.pi)  # the same for all shares, and left out
    assert found - constant == pytest.approx(np.stack(logs)[truth, np.arange(30)].sum(), rel=1e-4)


def test_unlike_classes_are_kept_apart_by_density_and_other_criteria_are_refused():
    codes = np.repeat(np.arange(2), 500)
    scores = np.random.default_rng(0).normal(size=(1000, 2)) * np.where(codes == 0, 1.0, 4.0)[:, None]
    assert choose_share(scores, codes, rng=np.random.default_rng(0), by="density") <= 0.1
    with pytest.raises(ValueError, match=r"`by` to be one of \['posterior', 'density'\]"):
        choose_share(scores, codes, rng=np.random.default_rng(0), by="accuracy")


def test_few_cells_of_equal_covariances_are_pooled_and_many_of_other_ones_are_not():
    rng = np.random.default_rng(0)
    few = np.repeat(np.arange(5), 12)
    assert choose_share(rng.normal(size=(60, 8)) + few[:, None], few, rng=rng) >= 0.8
    many = np.repeat(np.arange(2), 500)
    scores = rng.normal(size=(1000, 2)) * np.where(many == 0, 1.0, 4.0)[:, None]
    assert choose_share(scores, many, rng=rng) <= 0.2


def test_classes_of_one_and_two_cells_count_and_names_of_classes_do_not():
    codes = np.repeat([0, 1, 2, 3], [20, 20, 2, 1])
    scores = np.random.default_rng(1).normal(size=(43, 4)) + 2 * codes[:, None]
    share = choose_share(scores, codes, rng=np.random.default_rng(0))
    assert 0 < share <= 1
    assert share == choose_share(scores, 10 * codes + 7, rng=np.random.default_rng(0))


def test_every_cell_of_a_class_of_two_or_more_is_held_out_once(monkeypatch):
    held = []

    def record(scores, codes, test, truth, shares, by):
        held.extend(test[:, 0])
        assert set(truth) <= set(codes)
        return np.arange(len(shares), dtype=float)

    monkeypatch.setattr(_shrinkage, "_log_likelihoods", record)
    codes = np.repeat([0, 1, 2, 3], [20, 7, 2, 1])
    assert choose_share(np.arange(30.0)[:, None], codes, rng=np.random.default_rng(0), shares=(0.1, 0.4)) == 0.4
    assert sorted(held) == list(range(29))


def test_at_most_about_five_thousand_cells_are_looked_at(monkeypatch):
    seen = []
    monkeypatch.setattr(
        _shrinkage, "_log_likelihoods", lambda scores, codes, test, truth, shares, by: seen.append(truth) or np.zeros(1)
    )
    codes = np.repeat([0, 1, 2], [15_000, 4_997, 3])
    choose_share(np.zeros((20_000, 1)), codes, rng=np.random.default_rng(0), shares=(0.5,))
    sizes = np.bincount(np.concatenate(seen))
    assert sizes[0] == 3_750
    assert sizes[2] == 2
    assert sizes.sum() < 5_005


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones((2, 3, 3)), np.ones((3, 3)), 1.5), "`share` to be a number from 0 to 1, found 1.5"),
        ((np.ones((2, 3, 3)), np.ones((2, 2)), 0.5), "a stack of matrices like `pooled`"),
        ((np.ones((3, 3)), np.ones((3, 3)), 0.5), "a stack of matrices like `pooled`"),
    ],
)
def test_what_cannot_be_shrunk_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        shrink(*arguments)


@pytest.mark.parametrize(
    ("scores", "codes", "message"),
    [
        (np.zeros((3, 2)), np.zeros(2, dtype=int), "one code for each row"),
        (np.zeros(3), np.zeros(3, dtype=int), "one code for each row"),
        (np.full((3, 2), np.nan), np.array([0, 0, 1]), "finite values in `scores`"),
        (
            np.zeros((3, 2)),
            np.zeros(3, dtype=int),
            r"at least two classes, one of them of two cells, found sizes \[3\]",
        ),
        (np.zeros((3, 2)), np.arange(3), "one of them of two cells"),
        (np.zeros((4, 2)), np.array([0, 0, 1, 1]), "scores that vary within classes"),
    ],
)
def test_cells_that_tell_nothing_are_refused(scores, codes, message):
    with pytest.raises(ValueError, match=message):
        choose_share(scores, codes, rng=np.random.default_rng(0))


def test_one_fold_and_shares_above_one_are_refused():
    codes, rng = np.repeat([0, 1], 10), np.random.default_rng(0)
    with pytest.raises(ValueError, match="`n_folds` to be a whole number of at least 2"):
        choose_share(rng.normal(size=(20, 2)), codes, rng=rng, n_folds=1)
    with pytest.raises(ValueError, match="`share` to be a number from 0 to 1"):
        choose_share(rng.normal(size=(20, 2)), codes, rng=rng, shares=(0.5, 2.0))


def test_many_classes_are_drawn(monkeypatch):
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(30), 6)
    scores = rng.normal(size=(180, 3)) + codes[:, None] % 5
    monkeypatch.setattr("couplevi.gaussians._shrinkage.MOST_CLASSES", 10)
    share = choose_share(scores, codes, rng=np.random.default_rng(0))
    drawn = np.random.default_rng(0).permutation(30)[:10]
    own = np.isin(codes, drawn)
    assert 0.5 <= share <= 1
    assert 0.5 <= choose_share(scores[own], codes[own], rng=np.random.default_rng(1)) <= 1
