import numpy as np
import ot
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ortho_group
from sklearn.cross_decomposition import CCA

from couplevi.correspondence._plan import canonical_maps, kernel, relaxed_plan

few = settings(max_examples=40, deadline=None)
seeds = st.integers(0, 10**6)
sides = st.integers(1, 9)


def test_canonical_maps_agree_with_scikit_learn():
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(500, 2))
    x = np.hstack([shared + 0.3 * rng.normal(size=(500, 2)), rng.normal(size=(500, 2))])
    y = np.hstack([rng.normal(size=(500, 1)), shared @ [[1, 2], [0, 1]] + 0.3 * rng.normal(size=(500, 2))])
    ours = canonical_maps(x, y, x, y, np.ones(500), ridge=0.0, power=0.0)
    theirs = CCA(3, max_iter=5000, tol=1e-10).fit(x, y)
    expected = [np.corrcoef(a, b)[0, 1] for a, b in zip(*(z.T for z in theirs.transform(x, y)), strict=True)]
    np.testing.assert_allclose(ours.correlations, expected, atol=1e-4)
    found = [np.corrcoef(ours.a[:, j], ours.b[:, j])[0, 1] for j in range(3)]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_relaxed_plan_agrees_with_pot():
    rng = np.random.default_rng(0)
    cost = rng.random((12, 9))
    rows, columns = np.full(12, 1 / 12), np.full(9, 1 / 9)
    ours = relaxed_plan(np.exp(-cost / 0.1), rows, columns, 0.0).matches
    np.testing.assert_allclose(ours, ot.sinkhorn(rows, columns, cost, 0.1, numItermax=5000, stopThr=1e-14), atol=1e-8)
    weights = np.exp(-cost / 0.1)
    norm = rows @ weights @ columns
    theirs = ot.unbalanced.sinkhorn_unbalanced(
        rows, columns, cost + 0.1 * np.log(norm), 0.1, 0.2, reg_type="kl", numItermax=5000, stopThr=1e-14
    )
    np.testing.assert_allclose(relaxed_plan(weights, rows, columns, 0.5).matches, theirs, rtol=1e-4)


def test_relaxed_plans_do_not_depend_on_units():
    weights = np.random.default_rng(0).random((12, 9)) ** 3
    rows, columns = np.full(12, 1 / 12), np.full(9, 1 / 9)
    plan = relaxed_plan(weights, rows, columns, 1.0).matches
    np.testing.assert_allclose(relaxed_plan(7 * weights, 30 * rows, 30 * columns, 1.0).matches, 30 * plan, rtol=1e-6)


def test_sparse_and_dense_plans_agree():
    weights = np.random.default_rng(0).random((15, 12)) ** 4
    rows, columns = np.full(15, 1 / 15), np.full(12, 1 / 12)
    sparse, dense = (relaxed_plan(w, rows, columns, 0.3) for w in (sp.csr_array(weights), weights))
    np.testing.assert_allclose(sparse.matches.toarray(), dense.matches, atol=1e-12)
    assert sparse.converged is dense.converged is True


@few
@given(seed=seeds, n=st.integers(2, 9), m=st.integers(2, 9), give=st.sampled_from([0.0, 0.3, 2.0]))
def test_the_plan_of_exchanged_sides_is_transposed_and_meets_the_masses(seed, n, m, give):
    rng = np.random.default_rng(seed)
    weights, rows, columns = rng.uniform(0.1, 1, (n, m)), rng.uniform(0.1, 1, n), rng.uniform(0.1, 1, m)
    columns *= rows.sum() / columns.sum()
    plan = relaxed_plan(weights, rows, columns, give).matches
    assert (plan >= 0).all()
    np.testing.assert_allclose(relaxed_plan(weights.T, columns, rows, give).matches, plan.T, rtol=1e-5)
    sparse = relaxed_plan(sp.csr_array(weights), rows, columns, give).matches
    np.testing.assert_allclose(sparse.toarray(), plan, rtol=1e-9)
    if not give:
        np.testing.assert_allclose(plan.sum(axis=1), rows, rtol=1e-6)
        np.testing.assert_allclose(plan.sum(axis=0), columns, rtol=1e-6)


@pytest.mark.parametrize("form", [np.asarray, sp.csr_array])
def test_a_plan_that_stops_at_the_limit_of_scalings_says_so(monkeypatch, form):
    """Nearly triangular weights, whose plan is nearly the diagonal: what is off it goes like one over the scalings."""
    weights, half = form(np.array([[1, 1], [1e-8, 1]])), np.array([0.5, 0.5])
    stopped = relaxed_plan(weights, half, half, 0.0)
    assert not stopped.converged
    assert np.abs(stopped.matches.sum(axis=1) - half).max() > 1e-3
    monkeypatch.setattr("couplevi.correspondence._plan.SCALINGS", 200_000)
    followed = relaxed_plan(weights, half, half, 0.0)
    assert followed.converged
    np.testing.assert_allclose(followed.matches.sum(axis=1), half, atol=1e-4)


@pytest.mark.parametrize("give", [0.0, 0.1, 1.0])
def test_a_profile_that_resembles_nothing_does_not_hide_that_the_others_still_move(give):
    """Its scaling is so large that the rule that stops the scalings sees no other."""
    weights = np.array([[1, 1e-3, 1e-3], [1e-3, 1, 1e-3], [1e-3, 1e-3, 1e-3]])
    rows, columns = np.array([0.5, 0.2, 0.3]), np.array([0.1, 0.6, 0.3])
    assert relaxed_plan(weights, rows, columns, give).converged
    weights[2] = 1e-150
    assert not relaxed_plan(weights, rows, columns, give).converged


def test_near_and_far_pairs_agree_with_all_of_them(monkeypatch):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 90, 2))
    whole = kernel(a, b, 0.01)
    monkeypatch.setattr("couplevi.correspondence._plan.MAX_DENSE", 10)
    near = kernel(a, b, 0.01).toarray()
    stored = near > 0
    np.testing.assert_allclose(near[stored], whole[stored], rtol=1e-6)


@few
@given(seed=seeds, n=sides, m=sides, d=st.integers(2, 4), temperature=st.floats(0.01, 3))
def test_a_kernel_sees_neither_rotation_nor_units_and_is_transposed_with_its_sides(seed, n, m, d, temperature):
    rng = np.random.default_rng(seed)
    a, b, rotation = rng.normal(size=(n, d)), rng.normal(size=(m, d)), ortho_group.rvs(d, random_state=seed)
    weights = kernel(a, b, temperature)
    assert ((weights >= 0) & (weights <= 1)).all()
    assert (weights.max(axis=1) > 0).all()
    np.testing.assert_allclose(kernel(b, a, temperature), weights.T, rtol=1e-6)
    np.testing.assert_allclose(kernel(8 * a @ rotation + 1, 8 * b @ rotation + 1, temperature), weights, rtol=1e-6)
