import anndata as ad
import numpy as np
import pytest
import scanpy as sc
import scipy.sparse as sp
import torch

from couplevi.preparation import library_size, log_normalised

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
