import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from couplevi._types import LinkBatch
from couplevi.dataloaders import Links


def links_of(dense):
    return Links(sp.csr_array(np.asarray(dense, dtype=np.float32)))


confidences = arrays(
    np.float32, st.tuples(st.integers(1, 8), st.integers(1, 8)), elements=st.sampled_from([0, 0, 0.25, 1])
)


@given(dense=confidences, seed=st.integers(0, 100))
def test_block_equals_the_slice_of_the_matrix(dense, seed):
    rng = np.random.default_rng(seed)
    rows = rng.permutation(dense.shape[0])[: rng.integers(0, dense.shape[0] + 1)]
    cols = rng.permutation(dense.shape[1])[: rng.integers(0, dense.shape[1] + 1)]
    block = LinkBatch(*(tensor.numpy() for tensor in links_of(dense).block(rows, cols)))
    actual = np.zeros((len(rows), len(cols)), dtype=np.float32)
    actual[block.row, block.col] = block.confidence
    np.testing.assert_array_equal(actual, dense[np.ix_(rows, cols)])
    row_sum, col_sum = np.maximum(dense.sum(axis=1), 1), np.maximum(dense.sum(axis=0), 1)
    np.testing.assert_allclose(block.row_weight, block.confidence / row_sum[rows[block.row]], rtol=1e-6)
    np.testing.assert_allclose(block.col_weight, block.confidence / col_sum[cols[block.col]], rtol=1e-6)
    np.testing.assert_array_equal(block.row_known, dense[rows].any(axis=1))
    np.testing.assert_array_equal(block.col_known, dense[:, cols].any(axis=0))


def test_all_links_are_one_block():
    dense = [[0.5, 0, 1], [0, 0, 0.2]]
    block = links_of(dense).all()
    np.testing.assert_array_equal(
        sp.coo_array((block.confidence, (block.row, block.col)), (2, 3)).toarray(), np.float32(dense)
    )


def test_pairs_are_certain_and_exclusive():
    dense = [
        [1, 0, 0, 0, 0.5],  # certain beside an uncertain link: a pair
        [0, 0.9, 0, 0, 0],  # uncertain
        [0, 0, 1, 1, 0],  # two certain links in a row
        [0, 0, 0, 0, 1],
        [0, 0, 0, 0, 1],  # two certain links in a column
    ]
    row, col = links_of(dense).pairs()
    assert list(zip(row.tolist(), col.tolist(), strict=True)) == [(0, 0)]


@pytest.mark.parametrize("n", [1_000, 100_000])
def test_block_does_not_touch_other_rows(n):
    links = Links(sp.eye_array(n, dtype=np.float32, format="csr"))
    block = links.block(np.array([5, n - 1]), np.array([n - 1, 7, 5]))
    np.testing.assert_array_equal(block.row, [0, 1])
    np.testing.assert_array_equal(block.col, [2, 0])
