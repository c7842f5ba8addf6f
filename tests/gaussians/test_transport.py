from dataclasses import replace

import numpy as np
import ot
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from couplevi.gaussians import bures_distance2, bures_map, geodesic, mixture_plan, pairwise_distances2, transport
from couplevi.gaussians._transport import Transport


def whole_map(move):
    """The map of all variables, as a matrix."""
    b = move.source.basis
    return b @ move.linear @ b.T + move.residual_factor * (np.eye(len(b)) - b @ b.T)


def test_map_and_distance_are_those_of_pot(random_covariance):
    rng = np.random.default_rng(0)
    c0, c1 = random_covariance(5, rng), random_covariance(5, rng)
    zero = np.zeros(5)
    np.testing.assert_allclose(bures_map(c0, c1), ot.gaussian.bures_wasserstein_mapping(zero, zero, c0, c1)[0])
    distance = ot.gaussian.bures_wasserstein_distance(zero, zero, c0, c1)
    assert bures_distance2(c0, c1) == pytest.approx(float(distance) ** 2)


@given(st.integers(0, 10_000), st.integers(1, 6))
@settings(max_examples=20, deadline=None)
def test_distance_is_a_metric_and_the_map_reaches_its_target(seed, d):
    rng = np.random.default_rng(seed)
    a, b, c = (factor @ np.swapaxes(factor, 0, 1) for factor in rng.normal(size=(3, d, d + 2)))
    ab, bc, ac = (np.sqrt(bures_distance2(*pair)) for pair in ((a, b), (b, c), (a, c)))
    assert ac <= ab + bc + 1e-9
    assert bures_distance2(b, a) == pytest.approx(ab**2, abs=1e-9)
    linear = bures_map(a, b)
    np.testing.assert_allclose(linear, linear.T, atol=1e-9 * abs(linear).max())
    np.testing.assert_allclose(linear @ a @ linear, b, atol=1e-7 * abs(b).max())
    assert np.linalg.eigvalsh(linear)[0] > -1e-9


def test_distances_of_pairs_are_those_of_each_pair(random_covariance):
    rng = np.random.default_rng(0)
    covariances = np.stack([random_covariance(3, rng, rank) for rank in (5, 5, 2, 1)])
    each = [[bures_distance2(a, b) for b in covariances] for a in covariances]
    np.testing.assert_allclose(pairwise_distances2(covariances), each, atol=1e-10)
    with pytest.raises(ValueError, match="`covariances` to be positive semi-definite"):
        pairwise_distances2(-covariances)


def test_commuting_isotropic_and_one_dimensional_covariances_have_their_closed_forms():
    q = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    s0, s1 = np.array([1.0, 2.0, 3.0, 4.0]), np.array([9.0, 1.0, 4.0, 0.0])
    c0, c1 = q * s0**2 @ q.T, q * s1**2 @ q.T
    np.testing.assert_allclose(bures_map(c0, c1), q * (s1 / s0) @ q.T, atol=1e-12)
    assert bures_distance2(c0, c1) == pytest.approx(np.square(s0 - s1).sum())
    assert bures_distance2(4 * np.eye(7), 9 * np.eye(7)) == pytest.approx(7)
    assert bures_map(np.array([[4.0]]), np.array([[9.0]])) == pytest.approx(1.5)


def test_a_singular_source_is_mapped_on_its_range():
    c1 = np.array([[4.0, 1.0], [1.0, 9.0]])
    np.testing.assert_allclose(bures_map(np.diag([1.0, 0.0]), c1), np.diag([2.0, 0.0]), atol=1e-12)
    np.testing.assert_array_equal(bures_map(np.zeros((2, 2)), c1), 0)
    assert bures_distance2(np.zeros((2, 2)), c1) == pytest.approx(13)
    assert bures_distance2(np.diag([1.0, 0.0]), c1) == pytest.approx(1 + 13 - 4)


def test_map_of_all_variables_pushes_source_to_target_at_the_cost_of_the_whole_covariance(states, full):
    source, target = states(2)
    move = transport(source, target)
    pushed = whole_map(move) @ full(source) @ whole_map(move).T
    np.testing.assert_allclose(pushed, full(target), atol=1e-8)
    root = np.real(sqrtm(full(source)))
    dense = np.trace(full(source) + full(target)) - 2 * np.trace(np.real(sqrtm(root @ full(target) @ root)))
    delta = target.mean - source.mean
    assert move.cost == pytest.approx(delta @ delta + dense)


@pytest.mark.parametrize("method", ["bures", "independent"])
def test_delta_has_the_moments_of_the_coupling(states, full, method):
    source, target = states(2)
    move = transport(source, target, method=method)
    step = whole_map(move) - np.eye(7)
    spread = step @ full(source) @ step.T if method == "bures" else full(source) + full(target)
    np.testing.assert_allclose(move.delta_mean, target.mean - source.mean)
    np.testing.assert_allclose(move.delta_sd, np.sqrt(np.diag(spread)), atol=1e-9)
    assert move.cost == pytest.approx(move.delta_mean @ move.delta_mean + np.trace(spread))


def test_identical_states_are_left_where_they_are(states):
    [state] = states(1)
    for same in (state, replace(state, scale=0.0)):
        move = transport(same, same)
        np.testing.assert_allclose(whole_map(move), np.eye(7), atol=1e-10)
        assert move.cost == pytest.approx(0, abs=1e-12)
        np.testing.assert_allclose(move.delta_sd, 0, atol=1e-8)


def test_mapped_cells_are_of_the_target_and_half_of_the_way_is_half(states, full):
    source, target = states(2)
    move = transport(source, target)
    x = source.sample(20, np.random.default_rng(0))
    mapped = target.mean + (x - source.mean) @ whole_map(move).T
    np.testing.assert_allclose(move.apply(x), mapped, atol=1e-10)
    np.testing.assert_allclose(move.apply(x, amount=0.25), 0.75 * x + 0.25 * mapped, atol=1e-10)
    np.testing.assert_allclose(move.apply(x, amount=0.0), x, atol=1e-10)


def test_sparse_cells_are_mapped_like_dense_ones_and_precision_stays(states):
    move = transport(*states(2))
    x = sp.random_array((20, 7), density=0.4, rng=np.random.default_rng(0), format="csr")
    np.testing.assert_allclose(move.apply(x), move.apply(x.toarray()), atol=1e-12)
    single = move.apply(x.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, move.apply(x), rtol=1e-3, atol=1e-4)
    assert move.apply(np.ones((2, 7), dtype=int)).dtype == np.float64


def test_independent_cells_are_expected_at_the_mean_of_the_target_at_a_higher_cost(states):
    source, target = states(2)
    move = transport(source, target, method="independent")
    x = source.sample(5, np.random.default_rng(0))
    np.testing.assert_allclose(move.apply(x), np.tile(target.mean, (5, 1)), atol=1e-12)
    assert move.cost > transport(source, target).cost


def test_sampled_couplings_cost_a_little_more_than_the_best_one(states):
    source, target = states(2, noise=0.0)
    best = transport(source, target)
    move = transport(source, target, method="hit_and_run", rng=np.random.default_rng(0))
    between = transport(source, target, method="independent").cost - best.cost
    assert 0 < move.cost - best.cost < 0.05 * between
    np.testing.assert_allclose(move.linear, best.linear, atol=0.2 * abs(best.linear).max())
    cross = move.linear @ source.covariance
    expected = source.covariance + target.covariance - cross - cross.T
    np.testing.assert_allclose(move.delta_covariance, expected, atol=1e-9)


def test_states_without_variance_are_coupled_by_sampling_too(states):
    source, target = states(2, noise=0.0, spread=0.0)
    move = transport(source, target, method="hit_and_run", rng=np.random.default_rng(0))
    assert move.cost == pytest.approx(np.square(target.mean - source.mean).sum())


def test_noise_that_appears_is_independent_of_the_cell(states):
    source, target = states(2)
    move = transport(replace(source, scale=0.0), target)
    assert move.residual_factor == 0
    assert move.delta_noise_scale == target.scale
    assert transport(target, replace(source, scale=0.0)).residual_factor == 0


@pytest.mark.parametrize("rank", [1, 2])
def test_a_source_of_lower_rank_is_coupled_at_the_least_cost(states, rank):
    """No map reaches the target; Delta still has the covariance of a coupling, and cells go to their mean."""
    source, target = states(1, rank=rank)[0], states(1)[0]
    move = transport(source, target)
    delta = target.mean - source.mean
    noise = (np.sqrt(target.scale) - np.sqrt(source.scale)) ** 2 * source.noise_total
    least = bures_distance2(source.covariance, target.covariance)
    assert move.cost == pytest.approx(delta @ delta + noise + least)
    cross = source.covariance @ move.linear.T
    joint = np.block([[source.covariance, cross], [cross.T, target.covariance]])
    assert np.linalg.eigvalsh(joint)[0] > -1e-9
    np.testing.assert_allclose(
        move.delta_covariance, source.covariance + target.covariance - cross - cross.T, atol=1e-10
    )


@pytest.mark.parametrize("rank", [None, 1])
def test_geodesic_starts_and_ends_at_the_states_and_divides_their_distance(states, full, rank):
    source, target = states(1, rank=rank)[0], states(2)[1]
    for amount, end in ((0.0, source), (1.0, target)):
        found = geodesic(source, target, amount)
        np.testing.assert_allclose(full(found), full(end), atol=1e-9)
        np.testing.assert_allclose(found.mean, end.mean)
    total, between = transport(source, target).cost, geodesic(source, target, 0.3)
    assert transport(source, between).cost == pytest.approx(0.09 * total, rel=1e-6)
    assert transport(between, target).cost == pytest.approx(0.49 * total, rel=1e-6)


def test_plan_of_points_is_that_of_pot(states):
    points = states(7, noise=0.0, spread=0.0)
    sources, targets = points[:3], points[3:]
    a, b = np.array([0.5, 0.3, 0.2]), np.array([0.4, 0.3, 0.2, 0.1])
    cost = ot.dist(np.stack([s.mean for s in sources]), np.stack([t.mean for t in targets]))
    found = mixture_plan(sources, targets, a, b)
    assert found.cost == pytest.approx(ot.emd2(a, b, cost))
    np.testing.assert_allclose(found.plan.sum(axis=1), a)
    np.testing.assert_allclose(found.plan.sum(axis=0), b)


def test_two_single_components_are_as_far_as_their_states(states):
    source, target = states(2)
    found = mixture_plan([source], [target], np.array([3.0]), np.array([7.0]))
    assert found.cost == pytest.approx(transport(source, target).cost)
    assert found.plan == pytest.approx(1)


def test_mass_keeps_to_the_pairs_that_are_allowed(states):
    a, b, c, d = states(4)
    near = mixture_plan([a, b], [a, b], np.ones(2), np.ones(2))
    crossed = mixture_plan([a, b], [a, b], np.ones(2), np.ones(2), allowed=~np.eye(2, dtype=bool))
    assert near.cost == pytest.approx(0, abs=1e-10)
    np.testing.assert_allclose(crossed.plan, [[0, 0.5], [0.5, 0]])
    assert crossed.cost == pytest.approx(transport(a, b).cost)
    with pytest.raises(ValueError, match="a plan within `allowed`, found 0.25 of the mass outside. Allow more"):
        mixture_plan([a, b], [c, d], np.array([0.5, 0.5]), np.array([0.25, 0.75]), allowed=np.eye(2, dtype=bool))


def test_what_cannot_be_coupled_is_refused(states):
    (a, b), (other,) = states(2), states(1, seed=1)
    with pytest.raises(ValueError, match="the same basis and noise, found two that differ. Fit them together"):
        transport(a, other)
    with pytest.raises(ValueError, match="the same basis and noise"):
        transport(a, replace(b, noise=2 * b.noise))
    with pytest.raises(ValueError, match="`method` to be one of"):
        transport(a, b, method="monge")
    with pytest.raises(ValueError, match="`rng` for 'hit_and_run', found None. Pass `rng="):
        transport(a, b, method="hit_and_run")
    with pytest.raises(ValueError, match="`amount` to be a number from 0 to 1"):
        geodesic(a, b, 1.5)
    with pytest.raises(ValueError, match="`amount` to be a number"):
        transport(a, b).apply(np.zeros((1, 7)), amount=np.nan)
    with pytest.raises(ValueError, match="rows of 7 variables"):
        transport(a, b).apply(np.zeros((1, 6)))


@pytest.mark.parametrize("function", [bures_map, bures_distance2])
def test_what_are_no_covariances_is_refused(function):
    with pytest.raises(ValueError, match=r"`c0` and `c1` of the same shape, found \(2, 2\) and \(3, 3\)"):
        function(np.eye(2), np.eye(3))
    with pytest.raises(ValueError, match="`c1` to be positive semi-definite"):
        function(np.eye(2), -np.eye(2))


def test_mixtures_that_do_not_fit_are_refused(states):
    (a, b), (other,) = states(2), states(1, seed=1)
    one = np.ones(1)
    for weights in (np.ones(2), -one, np.zeros(1), np.array([np.inf])):
        with pytest.raises(ValueError, match="weights of at least 0 for 1 components"):
            mixture_plan([a], [b], weights, one)
    with pytest.raises(ValueError, match=r"`allowed` of shape \(1, 1\), found \(2, 1\)"):
        mixture_plan([a], [b], one, one, allowed=np.ones((2, 1), dtype=bool))
    with pytest.raises(ValueError, match="the same basis and noise"):
        mixture_plan([a], [other], one, one)


def test_the_record_cannot_be_written_to(states):
    move = transport(*states(2))
    assert isinstance(move, Transport)
    with pytest.raises(ValueError, match="read-only"):
        move.delta_mean[0] = 1
