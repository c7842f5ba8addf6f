import numpy as np
import pytest
import scipy.sparse as sp

from couplevi.preparation import PreparedRows, fingerprints, fit_preparation, prepared_rows, row_chunks


@pytest.fixture
def x():
    return np.random.default_rng(0).poisson(1, (50, 9)).astype(np.float32)


def test_chunks_cover_all_rows_in_order(x, monkeypatch):
    monkeypatch.setattr("couplevi.preparation._rows.CHUNK_VALUES", 60)
    chunks = list(row_chunks(x))
    assert len(chunks) == 9
    np.testing.assert_array_equal(np.concatenate([c for _, c in chunks]), x)
    np.testing.assert_array_equal(np.concatenate([np.arange(50)[r] for r, _ in chunks]), np.arange(50))


def test_fingerprints_follow_their_rows_and_tell_them_apart(x, monkeypatch):
    order = np.random.default_rng(1).permutation(50)
    prints = fingerprints(x)
    np.testing.assert_array_equal(fingerprints(x[order]), prints[order])
    np.testing.assert_allclose(fingerprints(sp.csr_matrix(x)), prints, rtol=1e-12)
    monkeypatch.setattr("couplevi.preparation._rows.CHUNK_VALUES", 60)
    np.testing.assert_allclose(fingerprints(x), prints, rtol=1e-12)
    assert len(np.unique(prints)) == len(np.unique(x, axis=0))


@pytest.mark.parametrize("n_components", [None, 3])
@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
def test_prepared_rows_are_the_transform_in_another_order(x, n_components, kind, monkeypatch):
    monkeypatch.setattr("couplevi.preparation._rows.CHUNK_VALUES", 60)
    fitted = fit_preparation(x, n_components)
    order = np.random.default_rng(1).permutation(50)
    rows = prepared_rows(kind(x), fitted, order)
    assert len(rows) == 50
    np.testing.assert_allclose(rows[np.array([4, 0, 4])], fitted.transform(x[order[[4, 0, 4]]]), atol=1e-5)


def test_sparse_data_without_components_stay_sparse(x):
    rows = prepared_rows(sp.csr_matrix(x), fit_preparation(x), np.arange(50))
    assert isinstance(rows, PreparedRows)
    assert sp.issparse(rows.matrix)
