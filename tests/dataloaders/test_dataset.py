import numpy as np
import scipy.sparse as sp

from couplevi.dataloaders import CoupledDataset, Links, ProfileDraw


def test_batch_holds_the_profiles_and_links_that_were_drawn():
    rng = np.random.default_rng(0)
    rows = {"a": rng.random((6, 3), dtype=np.float32), "b": rng.random((5, 2), dtype=np.float32)}
    dense = rng.random((6, 5), dtype=np.float32) * (rng.random((6, 5)) < 0.5)
    match = rng.random((6, 5), dtype=np.float32)
    dataset = CoupledDataset(rows, {("a", "b"): Links(sp.csr_array(dense))}, {("a", "b"): Links(sp.csr_array(match))})
    index = {"a": np.array([4, 1]), "b": np.array([0, 3, 2])}
    drawn = {"a": np.array([True, False]), "b": np.array([True, True, False])}
    alone = lambda m: (np.arange(len(index[m])), np.ones(len(index[m]), dtype=np.float32))
    batch = dataset[{m: ProfileDraw(index[m], drawn[m], *alone(m)) for m in rows}]
    for m in rows:
        np.testing.assert_array_equal(batch["profiles"][m].h, rows[m][index[m]])
        np.testing.assert_array_equal(batch["profiles"][m].drawn, drawn[m])
    for name, matrix in (("links", dense), ("matches", match)):
        block = batch[name]["a", "b"]
        actual = sp.coo_array((block.confidence, (block.row, block.col)), (2, 3)).toarray()
        np.testing.assert_array_equal(actual, matrix[np.ix_(index["a"], index["b"])])


def test_profiles_are_mixed_in_the_given_shares():
    rows = {"a": np.array([[0.0], [8.0], [4.0]], dtype=np.float32)}
    part = ProfileDraw(
        np.array([1, 2]), np.ones(2, dtype=bool), np.array([1, 0]), np.array([0.75, 1], dtype=np.float32)
    )
    batch = CoupledDataset(rows, {})[{"a": part}]
    np.testing.assert_allclose(batch["profiles"]["a"].h, [[7.0], [4.0]])
