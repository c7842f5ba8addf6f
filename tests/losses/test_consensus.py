import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from couplevi.losses import (
    CONSENSUS_COORDINATES,
    aitchison_coordinates,
    consensus_distance,
    euclidean_coordinates,
    minimum_variance_coordinates,
)
from couplevi.losses._consensus import LOG_FLOOR, VARIANCE_FLOOR


@pytest.fixture
def posteriors():
    q = torch.from_numpy(np.random.default_rng(0).dirichlet(np.ones(5), size=(2, 30)))
    return q[0], q[1]


def distance(coordinates, a, b):
    return consensus_distance(coordinates(a), coordinates(b))


@pytest.mark.parametrize("name", CONSENSUS_COORDINATES)
def test_distance_of_an_arm_to_itself_is_zero_and_of_two_is_not(name, posteriors):
    a, b = posteriors
    of = CONSENSUS_COORDINATES[name]
    assert distance(of, a, a).abs().max() == 0
    assert (distance(of, a, b) > 0).all()
    torch.testing.assert_close(distance(of, a, b), distance(of, b, a))


@pytest.mark.parametrize("name", CONSENSUS_COORDINATES)
def test_the_numbering_of_categories_does_not_matter(name, posteriors):
    a, b = posteriors
    of = CONSENSUS_COORDINATES[name]
    order = torch.tensor([3, 1, 4, 0, 2])
    torch.testing.assert_close(distance(of, a[:, order], b[:, order]), distance(of, a, b))


@pytest.mark.parametrize("name", CONSENSUS_COORDINATES)
def test_excluded_categories_give_finite_gradients(name):
    """A category with probability 0 in one arm and all of it in the other, and one that nobody uses."""
    logits = torch.tensor([[0.0, -1e9, -1e9], [-1e9, 0.0, -1e9]], requires_grad=True)
    q = logits.softmax(dim=1)
    distance(CONSENSUS_COORDINATES[name], q, q.flip(0)).sum().backward()
    assert logits.grad.isfinite().all()


def test_euclidean_distance_lies_between_0_and_2():
    q = torch.eye(3)
    np.testing.assert_allclose(distance(euclidean_coordinates, q, q[[0, 2, 1]]), [0, 2, 2])


def test_aitchison_distance_is_that_of_centred_log_ratios(posteriors):
    a, b = posteriors
    clr = [np.log(q + LOG_FLOOR) - np.log(q + LOG_FLOOR).mean(axis=1, keepdims=True) for q in (a.numpy(), b.numpy())]
    expected = cdist(*clr, "sqeuclidean").diagonal() / 5
    np.testing.assert_allclose(distance(aitchison_coordinates, a, b), expected)


def test_aitchison_distance_does_not_see_a_common_factor():
    a = torch.tensor([[0.2, 0.3, 0.5]], dtype=torch.float64)
    assert distance(aitchison_coordinates, a, a * 0.5) < 1e-9


def test_minimum_variance_distance_divides_by_the_spread_in_the_batch(posteriors):
    scaled = [np.log(q + LOG_FLOOR) / np.sqrt(q.var(axis=0) + VARIANCE_FLOOR) for q in (p.numpy() for p in posteriors)]
    expected = np.square(scaled[0] - scaled[1]).mean(axis=1)
    np.testing.assert_allclose(distance(minimum_variance_coordinates, *posteriors), expected)


def test_minimum_variance_weighs_rare_categories_more():
    """The same change of a probability counts for more in a category of little spread."""
    q = torch.tensor([[0.90, 0.05, 0.05], [0.10, 0.85, 0.05], [0.05, 0.90, 0.05], [0.50, 0.45, 0.05]])
    gain = (minimum_variance_coordinates(q)[3] / (q[3] + LOG_FLOOR).log()).tolist()
    assert gain[2] > 10 * gain[0]


def test_each_coupling_has_the_coordinates_of_its_name():
    assert dict(CONSENSUS_COORDINATES) == {
        "euclidean": euclidean_coordinates,
        "aitchison": aitchison_coordinates,
        "minimum_variance": minimum_variance_coordinates,
    }
