from itertools import permutations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy

from couplevi.correspondence import Correspondence, GromovWasserstein, effective_matches, sharpen

few = settings(max_examples=40, deadline=None)
seeds = st.integers(0, 10**6)
sides = st.integers(1, 9)


def test_effective_matches_of_single_even_and_no_matches():
    f = sp.csr_array([[1.0, 0, 0, 0], [0.25, 0.25, 0.25, 0.25], [0, 0, 0, 0], [0.1, 0.1, 0, 0]])
    np.testing.assert_allclose(effective_matches(f), [1, 4, 0, 2])


@few
@given(seed=seeds, n=sides, m=sides, scale=st.floats(0.01, 100))
def test_effective_matches_are_the_exponential_of_the_entropy(seed, n, m, scale, sparse_matrix):
    f = sparse_matrix(seed, n, m)
    matches = effective_matches(f)
    for row, count, value in zip(f.toarray(), np.diff(f.indptr), matches, strict=True):
        assert value == pytest.approx(np.exp(entropy(row)) if count else 0)
        assert min(count, 1) - 1e-9 <= value <= count + 1e-9
    np.testing.assert_allclose(effective_matches(scale * f), matches)


def test_sharpening_reaches_its_target_and_keeps_the_sums():
    rng = np.random.default_rng(0)
    f = sp.csr_array(np.exp(-rng.random((50, 50)) * 3))
    f = sp.csr_array(f / 50)
    sharp = sharpen(f, 5.0)
    assert effective_matches(sharp).mean() == pytest.approx(5.0, rel=1e-3)
    np.testing.assert_allclose(sharp.sum(axis=1), f.sum(axis=1), rtol=1e-6)
    assert abs(sharpen(f, 60.0) - f).max() == 0


@few
@given(seed=seeds, n=st.integers(4, 12), m=st.integers(4, 12), target=st.floats(1.5, 6))
def test_sharpening_keeps_rows_and_their_order_and_invents_no_match(seed, n, m, target, sparse_matrix):
    f = sparse_matrix(seed, n, m)
    sharp = sharpen(f, target)
    before, after = (effective_matches(g)[np.diff(f.indptr) > 0] for g in (f, sharp))
    if len(before) == 0 or before.mean() <= target:
        assert sharp is f
        return
    if after.mean() > target * (1 + 1e-6):  # ties, which no power breaks
        np.testing.assert_allclose(sharpen(f, 1.0).toarray(), sharp.toarray(), atol=1e-9)
    np.testing.assert_allclose(sharp.sum(axis=1), f.sum(axis=1), rtol=1e-6, atol=1e-9)
    assert (sharp.toarray() > 0)[f.toarray() == 0].sum() == 0
    order = np.random.default_rng(seed).permutation(n)
    np.testing.assert_allclose(sharpen(f[order], target).toarray(), sharp.toarray()[order], atol=1e-6)


def test_one_to_one_uses_each_column_once_and_only_what_f_lists():
    f = sp.csr_array(np.array([[0.9, 0.1, 0], [0.8, 0, 0], [0, 0, 0]], dtype=np.float32))
    assert Correspondence(f, "gw", ()).one_to_one().tolist() == [1, 0, -1]


@few
@given(seed=seeds, n=st.integers(1, 5), m=st.integers(1, 5), share=st.floats(0.2, 1))
def test_one_to_one_is_the_largest_product_of_the_most_matches(seed, n, m, share, sparse_matrix):
    f = sparse_matrix(seed, n, m, share)
    dense = f.toarray()
    match = Correspondence(f, "any", ()).one_to_one()
    rows = np.flatnonzero(match >= 0)
    assert len(set(match[rows])) == len(rows)
    assert (dense[rows, match[rows]] > 0).all()
    wide, best = dense if n <= m else dense.T, (0, 0.0)
    for columns in permutations(range(wide.shape[1]), wide.shape[0]):
        values = wide[np.arange(wide.shape[0]), columns]
        best = max(best, ((values > 0).sum(), np.log(values[values > 0]).sum()))
    assert len(rows) == best[0]
    assert np.log(dense[rows, match[rows]]).sum() == pytest.approx(best[1])


def test_one_to_one_of_many_profiles_is_refused(monkeypatch):
    x, y = np.random.default_rng(0).normal(size=(2, 12, 3))
    monkeypatch.setattr("couplevi.correspondence._record.MAX_ASSIGNMENT", 10)
    with pytest.raises(ValueError, match="at most 10 profiles on one side"):
        GromovWasserstein().solve(x, y).one_to_one()


def test_the_record_cannot_be_changed(rotated_copy):
    x, y, _ = rotated_copy(20, 2)
    result = GromovWasserstein().solve(x, y)
    with pytest.raises(ValueError, match="read-only"):
        result.matrix.data[0] = 5
    with pytest.raises(AttributeError):
        result.solver = "other"
