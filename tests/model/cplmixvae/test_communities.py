import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.metrics import adjusted_rand_score

from couplevi.model.cplmixvae.communities import communities, merged, shared_neighbors


def types(sizes, n_features=10, distance=6.0, seed=0):
    rng = np.random.default_rng(seed)
    kind = np.repeat(np.arange(len(sizes)), sizes)
    centres = rng.normal(size=(len(sizes), n_features))
    centres *= distance / np.linalg.norm(centres, axis=1, keepdims=True)
    return centres[kind] + rng.normal(size=(len(kind), n_features)), kind


def test_ties_are_jaccard_indices_of_neighbours():
    x = np.random.default_rng(0).normal(size=(40, 3))
    d = np.linalg.norm(x[:, None] - x[None], axis=2)
    np.fill_diagonal(d, np.inf)
    near = [set(row[:5]) for row in np.argsort(d, axis=1)]
    expected = np.zeros((40, 40))
    for i in range(40):
        for j in range(40):
            if j in near[i] or i in near[j]:
                expected[i, j] = len(near[i] & near[j]) / len(near[i] | near[j])
    np.testing.assert_allclose(shared_neighbors(x, 5).toarray(), expected)


def test_equal_profiles_have_ties_and_none_to_themselves():
    ties = shared_neighbors(np.ones((8, 2)), 3)
    assert ties.diagonal().sum() == 0
    assert np.isfinite(ties.data).all()


def test_small_types_are_found_beside_large_ones():
    """Modularity alone cuts the type of 1,500 before it parts those of 25."""
    x, kind = types([1500, 400, 60, 25, 25], distance=9.0)
    labels = communities(x, 30, 2, 0.03, seed=0)
    assert adjusted_rand_score(kind, labels) == 1
    assert sorted(np.unique(labels)) == list(range(5))


def test_the_number_is_kept_within_its_bounds():
    x, _ = types([100, 100, 100])
    assert communities(x, 6, 6, 0.03, seed=0).max() + 1 == 6
    assert communities(x, 2, 2, 0.03, seed=0).max() + 1 == 2
    assert communities(x, 6, 4, 0.03, seed=0).max() + 1 == 4
    assert communities(x, 2, 1, 0.0, seed=0).max() + 1 == 1  # whatever is tied at all is one


def test_the_most_connected_are_merged_first():
    """Of four communities, 0 and 2 share half of the ties of 2, which is more than what ties 1 and 3."""
    between = np.array([[90.0, 1, 4, 0], [1, 50, 0, 5], [4, 0, 4, 0], [0, 5, 0, 45]])
    labels = np.arange(4)
    x = np.arange(4.0)[:, None]
    ties = sp.csr_array(between)
    assert merged(ties, x, labels, 3, 1, 1.0).tolist() == [0, 1, 0, 2]
    assert merged(ties, x, labels, 4, 1, 0.09).tolist() == [0, 1, 0, 2 - 1]
    assert merged(ties, x, labels, 4, 1, 0.2).tolist() == [0, 1, 0, 2]
    assert merged(ties, x, labels, 4, 4, 0.0).tolist() == [0, 1, 2, 3]


def test_without_ties_the_nearest_are_merged():
    x = np.array([[0.0], [10.0], [11.0], [30.0]])
    assert merged(sp.csr_array(np.eye(4)), x, np.arange(4), 3, 1, 0.03).tolist() == [0, 1, 1, 2]


@pytest.mark.parametrize("n", [2, 5])
def test_few_or_equal_profiles(n):
    assert communities(np.ones((n, 2)), 2, 2, 0.03, seed=0).max() == 1


def test_a_seed_reproduces():
    x, _ = types([80] * 5, distance=3.0)
    first = communities(x, 12, 2, 0.2, seed=3)
    np.testing.assert_array_equal(communities(x, 12, 2, 0.2, seed=3), first)
