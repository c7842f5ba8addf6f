import numpy as np
import pytest
import scipy.sparse as sp

from couplevi.preparation import fit_preparation


@pytest.fixture
def x():
    return np.random.default_rng(0).poisson(2, (40, 12)).astype(np.float32)


@pytest.mark.parametrize("n_components", [None, 4])
@pytest.mark.parametrize("kind", [sp.csr_matrix, sp.csr_array])
def test_sparse_and_dense_agree(x, n_components, kind):
    fitted = fit_preparation(x, n_components)
    np.testing.assert_allclose(fitted.transform(kind(x)), fitted.transform(x), atol=1e-5)


def test_standardised_features_have_unit_variance_and_return(x):
    fitted = fit_preparation(x)
    h = fitted.transform(x)
    np.testing.assert_allclose(h.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(h.std(axis=0), 1, atol=1e-5)
    np.testing.assert_allclose(fitted.inverse(h), x, atol=1e-4)


def test_inverse_of_components_is_the_projection(x):
    fitted = fit_preparation(x, 4)
    h = fitted.transform(x)
    assert np.sqrt(np.square(h).mean()) == pytest.approx(1, abs=1e-5)
    weighted = (x - x.mean(axis=0)) / fitted.scale
    projected = weighted @ fitted.components.T @ fitted.components
    np.testing.assert_allclose(fitted.inverse(h), projected * fitted.scale + x.mean(axis=0), atol=1e-3)
    np.testing.assert_allclose(fitted.transform(fitted.inverse(h)), h, atol=1e-4)


def test_results_are_single_precision(x):
    fitted = fit_preparation(x.astype(np.float64), 4)
    assert fitted.transform(x.astype(int)).dtype == np.float32
    assert fitted.inverse(fitted.transform(x)).dtype == np.float32
