import numpy as np
import pytest
import scipy.sparse as sp


@pytest.fixture(scope="session")
def rotated_copy():
    """Makes a cloud, its copy rotated, scaled and shuffled, and the row of the copy of each row."""

    def make(n, dim, seed=0):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(n, dim))
        order = rng.permutation(n)
        y = 2 * (x @ np.linalg.qr(rng.normal(size=(dim, dim)))[0])[order]
        return x, y, np.argsort(order)

    return make


@pytest.fixture(scope="session")
def sparse_matrix():
    """Makes random confidences, some of them missing."""

    def make(seed, n_rows, n_columns, share=0.6, highest=1.0):
        rng = np.random.default_rng(seed)
        dense = rng.uniform(0.01, highest, (n_rows, n_columns)) * (rng.random((n_rows, n_columns)) < share)
        return sp.csr_array(dense)

    return make
