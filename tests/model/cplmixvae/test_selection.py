import math
from dataclasses import replace

import numpy as np
import pytest

from couplevi.model.cplmixvae.selection import (
    MAX_FAILURES,
    Round,
    Votes,
    consensus,
    has_failed,
    history_of,
    select_round,
)


def make_round(n_categories, elbo, agreement=1.0, n=50, spread=0.0):
    rng = np.random.default_rng(n_categories)
    return Round(
        categories=np.arange(n_categories),
        agreement=np.full(n_categories, agreement),
        consensus=agreement,
        n_used=n_categories,
        entropy=0.1,
        elbo=elbo + spread * rng.normal(size=n),
        weights={},
    )


def test_consensus_is_the_shared_part_of_the_larger_category():
    a = np.array([0, 0, 0, 0, 1, 1, 2])
    b = np.array([0, 0, 1, 1, 1, 1, 2])
    shares = consensus([Votes(a, b, np.ones(7))], 4)
    np.testing.assert_allclose(shares[:3, :3], [[2 / 4, 2 / 4, 0], [0, 2 / 4, 0], [0, 0, 1]])
    assert np.isnan(shares[3, 3])  # nobody uses it
    assert shares[0, 3] == 0


def test_consensus_weighs_cells_and_averages_pairs():
    a, b = np.array([0, 0]), np.array([0, 1])
    one = consensus([Votes(a, b, np.array([3.0, 1.0]))], 2)
    assert one[0, 0] == pytest.approx(3 / 4)
    both = consensus([Votes(a, b, np.array([3.0, 1.0])), Votes(a, a, np.ones(2))], 2)
    assert both[0, 0] == pytest.approx((3 / 4 + 1) / 2)
    assert both[0, 1] == pytest.approx((1 / 4 + 0) / 2)


def test_fewest_categories_within_one_standard_error_are_kept():
    best, near, far = make_round(7, 0.0, spread=1.0), make_round(5, 0.0, spread=1.0), make_round(4, -3.0, spread=1.0)
    near = replace(near, elbo=best.elbo - 0.02 + 0.3 * np.random.default_rng(0).normal(size=50))
    assert near.shortfall(best)[0] <= near.shortfall(best)[1]
    assert select_round([best, near, far], 0.9) == (1, True)
    near = replace(near, elbo=best.elbo - 0.02)  # for each cell: then it is certain
    assert select_round([best, near, far], 0.9) == (0, True)


def test_rounds_without_consensus_are_not_kept():
    rounds = [make_round(7, 5.0, 0.8), make_round(6, 1.0, 0.96), make_round(5, 0.0, 0.99)]
    assert select_round(rounds, 0.95) == (1, True)
    assert select_round(rounds, 0.995) == (2, False)


def test_a_single_arm_is_selected_by_likelihood_alone():
    rounds = [make_round(3, 0.0, math.nan), make_round(2, -1.0, math.nan)]
    assert select_round(rounds, 0.95) == (0, True)


def test_pruning_ends_when_the_last_rounds_are_all_worse():
    rounds = [make_round(20, 0.0)]
    for i in range(MAX_FAILURES):
        assert not has_failed(rounds, 0.9)
        rounds.append(make_round(19 - i, -1.0 - i))
    assert has_failed(rounds, 0.9)
    rounds[-1] = replace(rounds[-1], elbo=rounds[0].elbo)
    assert not has_failed(rounds, 0.9)


def test_history_has_a_row_per_round():
    rounds = [make_round(4, -2.0), make_round(3, 0.0), make_round(2, -1.0)]
    history = history_of(rounds, 1, 0.9)
    assert history["n_categories"].tolist() == [4, 3, 2]
    assert history["elbo_shortfall"].tolist() == [2.0, 0.0, 1.0]
    assert history["selected"].tolist() == [False, True, False]
    assert history["min_consensus"].tolist() == [0.9, 0.9, 0.9]


def test_pruning_does_not_end_before_the_consensus_is_reached():
    rounds = [make_round(20 - i, -1.0 * i, 0.5) for i in range(10)]
    assert not has_failed(rounds, 0.9)
    rounds.append(make_round(10, -11.0, 0.95))
    assert not has_failed(rounds, 0.9)
    assert select_round(rounds, 0.9) == (10, True)


def test_history_compares_with_the_best_round_that_has_the_consensus():
    rounds = [make_round(4, 5.0, 0.5), make_round(3, 0.0, 0.95)]
    assert history_of(rounds, 1, 0.9)["elbo_shortfall"].tolist() == [-5.0, 0.0]


def test_nothing_in_common_counts_as_no_consensus():
    shares = consensus([Votes(np.empty(0, int), np.empty(0, int), np.empty(0))], 3)
    assert np.isnan(shares).all()
