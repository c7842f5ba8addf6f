import warnings

import numpy as np
import ot
import pytest
import scipy.sparse as sp

from couplevi.correspondence import GromovWasserstein


def test_gw_of_identical_data_is_sharp():
    x = np.random.default_rng(0).normal(size=(80, 4))
    matrix = GromovWasserstein().solve(x, x).matrix.toarray()
    np.testing.assert_allclose(matrix, np.eye(80), atol=1e-4)


def test_clusters_of_different_size_are_matched_whatever_the_first_guess():
    rng = np.random.default_rng(0)
    sizes = (60, 40, 25)
    centres = np.array([[0, 0], [6, 0], [0, 9.0]])
    label = np.repeat(np.arange(3), sizes)
    x = centres[label] + rng.normal(size=(125, 2))
    y = (centres @ [[0, 1], [-1, 0]])[label] + rng.normal(size=(125, 2))
    matrix = GromovWasserstein().solve(x, y).matrix
    assert (label[matrix.toarray().argmax(axis=1)] == label).mean() > 0.95


def test_unbalanced_leaves_out_a_cluster_without_counterpart():
    rng = np.random.default_rng(0)
    label = np.repeat(np.arange(3), (60, 40, 50))
    x = np.array([[0, 0], [6, 0], [4, -6.0]])[label] + rng.normal(size=(150, 2))
    y = x[label < 2] + 0.1 * rng.normal(size=(100, 2))
    matched = GromovWasserstein(unbalanced=0.003).solve(x, y).matrix
    mass, alone = matched.sum(axis=1), label == 2
    assert mass[alone].mean() < 0.7 * mass[~alone].mean()
    assert (label[label < 2][matched.toarray().argmax(axis=1)] == label)[~alone].mean() > 0.9


def test_landmarks_match_more_profiles_than_are_transported():
    rng = np.random.default_rng(0)
    sizes = (240, 160, 100)
    centres = np.array([[0, 0], [6, 0], [0, 9.0]])
    label = np.repeat(np.arange(3), sizes)
    x = centres[label] + rng.normal(size=(500, 2))
    y = (centres @ [[0, 1], [-1, 0]])[label] + rng.normal(size=(500, 2))
    result = GromovWasserstein(max_exact=200, n_landmarks=150).solve(x, y)
    assert (label[result.matrix.toarray().argmax(axis=1)] == label).mean() > 0.95
    assert result.matrix.sum(axis=1).min() > 0


def test_restarts_are_reported_the_best_first(rotated_copy):
    x, y, _ = rotated_copy(60, 3)
    report = GromovWasserstein().solve(x, y).blocks[0]
    assert len(report.restarts) > 1
    assert list(report.restarts) == sorted(report.restarts)
    assert report.history[-1] <= report.restarts[0] + 1e-9


def test_the_same_seed_gives_the_same_matches():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 3)), rng.normal(size=(60, 4))
    first, second = (GromovWasserstein(seed=3).solve(x, y).matrix for _ in range(2))
    assert abs(first - second).max() == 0


@pytest.mark.parametrize("n_known", [1, 57, 59])
def test_few_and_almost_all_links(n_known):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 4))
    known = sp.diags_array((np.arange(60) < n_known).astype(float)).tocsr()
    matrix = GromovWasserstein().solve(x, x @ rng.normal(size=(4, 5)), known).matrix
    assert abs(matrix[:n_known] - known[:n_known]).max() == 0
    assert matrix[59, n_known:].sum() > 0


def test_transport_without_refinement_is_refused_where_landmarks_are_needed():
    x, y = np.random.default_rng(0).normal(size=(2, 12, 3))
    with pytest.raises(ValueError, match="max_exact"):
        GromovWasserstein(n_refinements=0, max_exact=10).solve(x, y)


def test_an_epsilon_that_leaves_no_plan_is_refused():
    x, y = np.random.default_rng(0).normal(size=(2, 60, 4))
    with pytest.raises(ValueError, match="larger `epsilon`"):
        GromovWasserstein(epsilon=1e-6).solve(x, y)


@pytest.mark.parametrize(("epsilon", "converges"), [(0.005, False), (0.2, True)])
def test_inner_loops_that_stop_at_their_limit_have_not_converged(rotated_copy, epsilon, converges):
    """A small epsilon needs more scalings than the transport makes, although its distortion settles."""
    x, y, _ = rotated_copy(60, 3)
    solver = GromovWasserstein(epsilon=epsilon, n_starts=1, n_refinements=0, max_iter=500)
    result = solver.solve(x, y[:50])
    assert len(result.blocks[0].history) < 20
    assert result.converged is converges


@pytest.mark.parametrize(("epsilon", "unbalanced", "converges"), [(0.005, 0.003, False), (0.1, 0.1, True)])
def test_an_unbalanced_plan_that_still_changes_has_not_converged(rotated_copy, epsilon, unbalanced, converges):
    x, y, _ = rotated_copy(120, 10)
    solver = GromovWasserstein(epsilon=epsilon, unbalanced=unbalanced, n_starts=1, n_refinements=0)
    result = solver.solve(x, y[:90])
    assert len(result.blocks[0].history) < 10  # the distortion has settled
    assert result.converged is converges


def test_a_transport_that_stops_at_its_limit_has_not_converged(rotated_copy):
    x, y, _ = rotated_copy(60, 3)
    assert GromovWasserstein(n_refinements=0).solve(x, y).converged
    assert not GromovWasserstein(n_refinements=0, max_iter=1).solve(x, y).converged


def test_a_refinement_that_stops_at_its_limit_has_not_converged(rotated_copy, monkeypatch):
    x, y, _ = rotated_copy(60, 3)
    solver = GromovWasserstein(epsilon=0.2, n_starts=1, temperature=2.0)
    assert solver.solve(x, y[:50]).converged
    monkeypatch.setattr("couplevi.correspondence._plan.SCALINGS", 1)
    assert not solver.solve(x, y[:50]).converged


@pytest.mark.parametrize(
    ("unbalanced", "function"),
    [(None, "entropic_fused_gromov_wasserstein"), (0.1, "fused_unbalanced_gromov_wasserstein")],
)
def test_what_pot_refuses_for_another_reason_is_not_taken_for_a_plan_that_vanished(monkeypatch, unbalanced, function):
    def refuse(*args, **kwargs):
        raise ValueError("All array should be from the same type/backend")

    x, y = np.random.default_rng(0).normal(size=(2, 20, 3))
    monkeypatch.setattr(f"ot.gromov.{function}", refuse)
    with pytest.raises(ValueError, match="same type/backend"):
        GromovWasserstein(unbalanced=unbalanced, n_starts=1).solve(x, y)


def test_other_warnings_of_pot_are_heard(monkeypatch):
    def warn(*args, **kwargs):
        warnings.warn("M is given but alpha is 0", UserWarning, stacklevel=2)
        return original(*args, **kwargs)

    original = ot.gromov.entropic_fused_gromov_wasserstein
    monkeypatch.setattr("ot.gromov.entropic_fused_gromov_wasserstein", warn)
    x, y = np.random.default_rng(0).normal(size=(2, 20, 3))
    with pytest.warns(UserWarning, match="alpha is 0"):
        GromovWasserstein(n_starts=1).solve(x, y)


@pytest.mark.parametrize(("epsilon", "unbalanced"), [(1e-6, None), (1e-4, 1e-6), (1e-5, 100.0)])
def test_masses_that_vanish_are_refused_without_a_warning_of_pot(epsilon, unbalanced):
    x, y = np.random.default_rng(0).normal(size=(2, 60, 4))
    with pytest.raises(ValueError, match=f"found {epsilon:g} and {unbalanced}, with which all mass vanishes"):
        GromovWasserstein(epsilon=epsilon, unbalanced=unbalanced).solve(x, y)
