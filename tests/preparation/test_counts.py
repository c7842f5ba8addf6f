import anndata as ad
import numpy as np
import pytest
import scanpy as sc
import scipy.sparse as sp
import torch

from couplevi._streamed import StreamedMatrix
from couplevi.preparation import library_size, log_normalised, logarithms, presence

COUNTS = np.random.default_rng(0).poisson(0.7, (30, 12)).astype(np.float32)
COUNTS[4] = 0
KINDS = {"array": np.asarray, "csr": sp.csr_array, "csr_matrix": sp.csr_matrix, "tensor": torch.from_numpy}


@pytest.mark.parametrize("kind", KINDS)
def test_library_size_is_the_sum_and_at_least_one(kind):
    expected = COUNTS.sum(axis=1)
    expected[4] = 1
    np.testing.assert_array_equal(library_size(KINDS[kind](COUNTS)), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_logarithm_is_that_of_scanpy(kind):
    counts = np.delete(COUNTS, 4, axis=0)  # without the empty cell, of which scanpy warns
    adata = ad.AnnData(counts.copy())
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    found = log_normalised(KINDS[kind](counts))
    assert sp.issparse(found) == kind.startswith("csr")
    np.testing.assert_allclose(found.toarray() if sp.issparse(found) else found, adata.X, rtol=1e-5)


def test_whole_numbers_are_taken():
    np.testing.assert_allclose(log_normalised(COUNTS.astype(np.int32)), log_normalised(COUNTS))


def test_logarithms_of_a_matrix_that_is_read_in_parts_are_those_of_the_whole():
    streamed = logarithms(StreamedMatrix(COUNTS[:, ::-1], "`X`", np.arange(12)[::-1]), "`X`")
    assert isinstance(streamed, StreamedMatrix)
    assert streamed.shape == COUNTS.shape
    np.testing.assert_allclose(streamed[3:7], log_normalised(COUNTS)[3:7])
    np.testing.assert_allclose(streamed[np.array([9, 2])], log_normalised(COUNTS)[[9, 2]])


def test_what_are_no_counts_is_refused_in_memory_and_when_it_is_read():
    with pytest.raises(ValueError, match="counts in `X`, whole numbers of at least 0"):
        logarithms(COUNTS + 0.5, "`X`")
    streamed = logarithms(StreamedMatrix(COUNTS + 0.5, "`X`"), "`X`")
    with pytest.raises(ValueError, match="counts in `X`, whole numbers of at least 0"):
        streamed[:2]


@pytest.mark.parametrize("kind", KINDS)
def test_presence_is_one_where_there_are_counts(kind):
    found = presence(KINDS[kind](COUNTS))
    assert sp.issparse(found) == kind.startswith("csr")
    assert found.dtype in (np.float32, torch.float32)
    np.testing.assert_array_equal(found.toarray() if sp.issparse(found) else found, COUNTS > 0)


def test_logarithms_of_presence_in_memory_and_in_parts():
    expected = log_normalised((COUNTS > 0).astype(np.float32))
    np.testing.assert_allclose(logarithms(COUNTS, "`X`", binary=True), expected)
    np.testing.assert_allclose(logarithms(StreamedMatrix(COUNTS, "`X`"), "`X`", binary=True)[3:7], expected[3:7])
