import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from couplevi.preparation import _fit, fit_preparation


@pytest.fixture
def counts():
    rng = np.random.default_rng(0)
    rate = np.exp(rng.normal(size=(300, 4)) @ rng.normal(size=(4, 90)) * 0.7)
    return rng.poisson(rate).astype(np.float32)


@pytest.fixture
def reference(counts):
    """Scaling and PCA of scikit-learn."""
    scaled = StandardScaler().fit_transform(counts.astype(np.float64))
    return scaled, PCA(5, svd_solver="full").fit(scaled)


def assert_same_components(fitted, pca):
    np.testing.assert_allclose(np.abs((fitted.components * pca.components_).sum(axis=1)), 1, atol=1e-3)


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix, sp.csr_array, sp.csc_matrix])
def test_components_equal_those_of_scikit_learn(counts, reference, kind):
    scaled, pca = reference
    fitted = fit_preparation(kind(counts), 5, "equal")
    assert_same_components(fitted, pca)
    assert fitted.rms == pytest.approx(np.sqrt(pca.explained_variance_.mean() * 299 / 300), rel=1e-4)
    np.testing.assert_allclose(fitted.mean, counts.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(fitted.scale, counts.std(axis=0), rtol=1e-5)


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
def test_iteration_finds_the_same_components(counts, reference, kind, monkeypatch):
    monkeypatch.setattr(_fit, "MAX_GRAM", 10)
    assert_same_components(fit_preparation(kind(counts), 5, "equal"), reference[1])


@pytest.mark.parametrize("max_gram", [10, 1000])
def test_fit_does_not_depend_on_chunks_or_order(counts, monkeypatch, max_gram):
    monkeypatch.setattr(_fit, "MAX_GRAM", max_gram)
    whole = fit_preparation(sp.csr_matrix(counts), 5)
    monkeypatch.setattr("couplevi.preparation._rows.CHUNK_VALUES", 900)
    chunked = fit_preparation(sp.csr_matrix(counts[np.random.default_rng(1).permutation(300)]), 5)
    for name in ("mean", "scale", "components"):
        np.testing.assert_allclose(getattr(whole, name), getattr(chunked, name), atol=1e-4)


def test_components_are_signed():
    x = np.random.default_rng(0).normal(size=(50, 6))
    for components in (fit_preparation(x, 3).components, fit_preparation(-x, 3).components):
        assert (components[np.arange(3), np.abs(components).argmax(axis=1)] > 0).all()


def test_all_features_need_no_components(counts):
    assert fit_preparation(counts).components is None
    assert fit_preparation(counts, counts.shape[1]).components is None


def test_constant_feature_comes_out_as_it_was(counts):
    counts[:, 3], counts[:, 7] = 0, 5
    for n_components in (None, 5):
        fitted = fit_preparation(sp.csr_matrix(counts), n_components)
        out = fitted.inverse(fitted.transform(sp.csr_matrix(counts)))
        assert np.isfinite(out).all()
        np.testing.assert_allclose(out[:, 3], 0, atol=1e-6)
        np.testing.assert_allclose(out[:, 7], 5, rtol=1e-6)
        changed = counts.copy()
        changed[:, 3] = 9
        np.testing.assert_array_equal(fitted.transform(counts), fitted.transform(changed))


def test_large_offset_does_not_ruin_the_scale():
    x = 1e6 + np.random.default_rng(0).normal(0, 2, (500, 3))
    fitted = fit_preparation(x)
    np.testing.assert_allclose(fitted.scale, x.std(axis=0), rtol=1e-4)


@pytest.fixture
def diluted():
    """Five groups of cells that differ in 40 features, among 2,000 rare ones that mean nothing."""
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(5), 40)
    signal = rng.normal(size=(5, 40))[group] + rng.normal(size=(200, 40))
    noise = rng.normal(3, 1, (200, 2000)) * (rng.random((200, 2000)) < 0.02)
    return np.hstack([signal + 5, noise]).astype(np.float32), group


def separation(x, group, weights):
    """Share of the variance of the first components that lies between the groups."""
    h = fit_preparation(x, 4, weights).transform(x)
    means = np.stack([h[group == g].mean(axis=0) for g in range(5)])
    return means[group].var(axis=0).sum() / h.var(axis=0).sum()


def test_features_that_share_nothing_do_not_fill_the_components(diluted):
    x, group = diluted
    assert separation(x, group, "communality") > 0.8
    assert separation(x, group, "equal") < 0.4
    varies = x.std(axis=0) > 0
    weight = x.std(axis=0)[varies] / fit_preparation(x, 4).scale[varies]
    assert weight[:40].min() > 2 * np.median(weight[40:])
    assert np.square(weight).mean() == pytest.approx(1, rel=1e-4)


def test_weights_do_not_depend_on_units_or_method(diluted, monkeypatch):
    x, _ = diluted
    whole = fit_preparation(x, 4)
    units = np.geomspace(1e-3, 1e3, x.shape[1]).astype(np.float32)
    other = fit_preparation(x * units, 4)
    np.testing.assert_allclose(other.scale, whole.scale * units, rtol=1e-3)
    np.testing.assert_allclose(other.components, whole.components, atol=1e-3)
    monkeypatch.setattr(_fit, "MAX_GRAM", 10)
    np.testing.assert_allclose(fit_preparation(sp.csr_matrix(x), 4).scale, whole.scale, rtol=0.05)


def test_weights_are_communalities_beyond_chance_by_hand():
    rng = np.random.default_rng(0)
    rate = np.exp(rng.normal(size=(200, 3)) @ rng.normal(size=(3, 60)) + rng.normal(-1, 1, 60))
    x = rng.poisson(rate).astype(np.float64)
    x = x[:, x.std(axis=0) > 0]
    z, pilot = (x - x.mean(axis=0)) / x.std(axis=0), np.sqrt((x != 0).mean(axis=0))
    _, s, v = np.linalg.svd(z * pilot, full_matrices=False)
    communality = ((s[:20, None] ** 2 / len(x)) * (v[:20] / pilot) ** 2).sum(axis=0)
    expected = np.sqrt(np.clip((communality - 0.1) / 0.9, 0, 1) + 0.03)  # 20 components of 200 cells: a tenth
    weight = x.std(axis=0) / fit_preparation(x, 4).scale
    np.testing.assert_allclose(weight, expected / np.sqrt((expected**2).mean()), rtol=1e-3)
