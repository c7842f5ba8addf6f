import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from couplevi.losses import CONSENSUS_DISTANCES, aitchison_distance, euclidean_distance, minimum_variance_distance
from couplevi.losses._consensus import LOG_FLOOR, VARIANCE_FLOOR


@pytest.fixture
def posteriors():
    q = torch.from_numpy(np.random.default_rng(0).dirichlet(np.ones(5), size=(2, 30)))
    return q[0], q[1]


@pytest.mark.parametrize("name", CONSENSUS_DISTANCES)
def test_distance_of_an_arm_to_itself_is_zero_and_of_two_is_not(name, posteriors):
    a, b = posteriors
    distance = CONSENSUS_DISTANCES[name]
    assert distance(a, a).abs().max() == 0
    assert (distance(a, b) > 0).all()
    torch.testing.assert_close(distance(a, b), distance(b, a))


@pytest.mark.parametrize("name", CONSENSUS_DISTANCES)
def test_the_numbering_of_categories_does_not_matter(name, posteriors):
    a, b = posteriors
    distance = CONSENSUS_DISTANCES[name]
    order = torch.tensor([3, 1, 4, 0, 2])
    torch.testing.assert_close(distance(a[:, order], b[:, order]), distance(a, b))


@pytest.mark.parametrize("name", CONSENSUS_DISTANCES)
def test_excluded_categories_give_finite_gradients(name):
    """A category with probability 0 in one arm and all of it in the other, and one that nobody uses."""
    logits = torch.tensor([[0.0, -1e9, -1e9], [-1e9, 0.0, -1e9]], requires_grad=True)
    q = logits.softmax(dim=1)
    CONSENSUS_DISTANCES[name](q, q.flip(0)).sum().backward()
    assert logits.grad.isfinite().all()


def test_euclidean_distance_lies_between_0_and_2():
    q = torch.eye(3)
    np.testing.assert_allclose(euclidean_distance(q, q[[0, 2, 1]]), [0, 2, 2])


def test_aitchison_distance_is_that_of_centred_log_ratios(posteriors):
    a, b = posteriors
    clr = [np.log(q + LOG_FLOOR) - np.log(q + LOG_FLOOR).mean(axis=1, keepdims=True) for q in (a.numpy(), b.numpy())]
    expected = cdist(*clr, "sqeuclidean").diagonal() / 5
    np.testing.assert_allclose(aitchison_distance(a, b), expected)


def test_aitchison_distance_does_not_see_a_common_factor():
    """Log-ratios are the same if all odds are scaled alike; the floor aside."""
    a = torch.tensor([[0.2, 0.3, 0.5]], dtype=torch.float64)
    assert aitchison_distance(a, a * 0.5) < 1e-9


def test_minimum_variance_distance_divides_by_the_spread_in_the_batch(posteriors):
    a, b = (q.numpy() for q in posteriors)
    scaled = [np.log(q + LOG_FLOOR) / np.sqrt(q.var(axis=0) + VARIANCE_FLOOR) for q in (a, b)]
    np.testing.assert_allclose(minimum_variance_distance(*posteriors), np.square(scaled[0] - scaled[1]).mean(axis=1))


def test_minimum_variance_distance_weighs_rare_categories_more():
    """The same disagreement about a category of little spread counts for more."""
    base = torch.tensor([[0.90, 0.05, 0.05], [0.10, 0.85, 0.05], [0.5, 0.45, 0.05]], dtype=torch.float64)
    common, rare = base.clone(), base.clone()
    common[2] = torch.tensor([0.5 * 1.1, 0.45 - 0.05, 0.05])
    rare[2] = torch.tensor([0.5 - 0.005, 0.45, 0.055])
    assert minimum_variance_distance(base, rare)[2] > minimum_variance_distance(base, common)[2]
