import numpy as np
import pytest
import scipy.sparse as sp
import torch

from couplevi.correspondence import Anchored, GromovWasserstein, UnionCom, effective_matches, sharpen
from couplevi.correspondence._graph import geodesic_distances, neighbor_graph
from couplevi.correspondence._plan import canonical_maps, kernel, relaxed_plan
from couplevi.correspondence._unioncom import distortion_gradient


def rotated_copy(n, dim, seed=0):
    """A cloud, its copy rotated, scaled and shuffled, and the row of the copy of each row."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, dim))
    order = rng.permutation(n)
    y = 2 * (x @ np.linalg.qr(rng.normal(size=(dim, dim)))[0])[order]
    return x, y, np.argsort(order)


def diagonal(known):
    return sp.diags_array(np.asarray(known, dtype=float)).tocsr()


ALL = [GromovWasserstein(), UnionCom(max_iter=800), Anchored()]
UNAIDED = [GromovWasserstein(), UnionCom()]


@pytest.mark.parametrize("solver", UNAIDED, ids=lambda s: s.name)
@pytest.mark.parametrize("dim", [3, 10])
def test_rotated_copies_are_matched_one_to_one(solver, dim):
    x, y, truth = rotated_copy(150, dim)
    assert (solver.solve(x, y).one_to_one() == truth).mean() >= 0.95


def test_anchored_matches_a_rotated_copy_from_a_fifth_of_its_pairs():
    x, y, truth = rotated_copy(150, 3)
    known = np.zeros((150, 150))
    known[np.arange(30), truth[:30]] = 1
    result = Anchored().solve(x, y, sp.csr_array(known))
    assert (result.one_to_one() == truth).mean() >= 0.95


@pytest.mark.parametrize("solver", UNAIDED, ids=lambda s: s.name)
def test_identical_data_give_the_identity(solver):
    x = np.random.default_rng(0).normal(size=(80, 4))
    assert (solver.solve(x, x).one_to_one() == np.arange(80)).all()


def test_gw_of_identical_data_is_sharp():
    x = np.random.default_rng(0).normal(size=(80, 4))
    matrix = GromovWasserstein().solve(x, x).matrix.toarray()
    np.testing.assert_allclose(matrix, np.eye(80), atol=1e-4)


@pytest.mark.parametrize("solver", ALL, ids=lambda s: s.name)
def test_complete_links_are_returned_as_they_are(solver):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 3)), rng.normal(size=(40, 5))
    links = sp.csr_array(np.eye(40)[rng.permutation(40)])
    assert abs(solver.solve(x, y, links).matrix - links).max() == 0


@pytest.mark.parametrize("solver", ALL, ids=lambda s: s.name)
def test_known_links_come_out_unchanged_and_use_up_their_profiles(solver):
    x, y, truth = rotated_copy(60, 3)
    known = sp.csr_array((np.full(20, 1.0), (np.arange(20), truth[:20])), shape=(60, 60)).tolil()
    known[20, truth[20]] = 0.5
    matrix = solver.solve(x, y, sp.csr_array(known)).matrix
    hard = matrix[:20].toarray()
    np.testing.assert_array_equal(hard, sp.csr_array(known)[:20].toarray())
    assert matrix[:, truth[:20]].sum() == pytest.approx(20)
    assert matrix[20, truth[20]] >= 0.5
    assert matrix.sum(axis=1).max() <= 1 + 1e-5


@pytest.mark.parametrize("solver", ALL, ids=lambda s: s.name)
@pytest.mark.parametrize("sizes", [(50, 50), (40, 60)])
def test_exchanging_the_modalities_transposes_the_plan(solver, sizes, monkeypatch):
    monkeypatch.setattr("couplevi.correspondence._solver.COVERAGE", 2.0)  # entries are chosen by rows, after the plan
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(sizes[0], 3)), rng.normal(size=(sizes[1], 4))
    known = sp.csr_array((np.ones(12), (np.arange(12), np.arange(12))), shape=sizes)
    there, back = solver.solve(x, y, known).matrix, solver.solve(y, x, sp.csr_array(known.T)).matrix
    assert abs(there - back.T).max() <= 1e-6


@pytest.mark.parametrize("solver", ALL, ids=lambda s: s.name)
@pytest.mark.parametrize("sizes", [(40, 60), (60, 40)])
def test_sides_of_different_size(solver, sizes):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(sizes[0], 3)), rng.normal(size=(sizes[1], 4))
    known = sp.csr_array((np.ones(12), (np.arange(12), np.arange(12))), shape=sizes)
    matrix = solver.solve(x, y, known).matrix
    assert matrix.shape == sizes
    assert matrix.sum(axis=1).max() <= 1 + 1e-5
    assert matrix.sum(axis=0).max() <= 1.02  # the smallest entries of a row go to its others
    assert np.isfinite(matrix.data).all()


@pytest.mark.parametrize("solver", ALL, ids=lambda s: s.name)
def test_groups_are_not_mixed(solver):
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(60, 3)), rng.normal(size=(66, 3))
    a = np.array(["p", "q", None], dtype=object)[np.arange(60) % 3]
    b = np.array(["p", "q", None, "only b"], dtype=object)[np.arange(66) % 4]
    pairs = [(i, j) for i in range(0, 60, 3) for j in range(0, 66, 4)][::18]
    row, column = np.array(pairs).T
    known = sp.csr_array((np.ones(len(pairs)), (row, column)), shape=(60, 66))
    known = None if len(np.unique(row)) < len(row) or solver.name != "anchored" else known
    if solver.name == "anchored":
        known = sp.csr_array((np.ones(12), (np.arange(0, 36, 3), np.arange(0, 48, 4))), shape=(60, 66))
    result = solver.solve(x, y, known, (a, b))
    row, column = result.matrix.tocoo().coords
    same = np.array([a[i] == b[j] or (a[i] is None and b[j] is None) for i, j in zip(row, column, strict=True)])
    assert same.all()
    assert {block.group for block in result.blocks} == {"p", "q", ""}
    assert result.matrix[:, b == "only b"].nnz == 0


def test_a_group_of_one_is_matched_evenly():
    x, y = np.random.default_rng(0).normal(size=(2, 21, 3))
    groups = np.array(["single"] + ["rest"] * 20)
    matrix = GromovWasserstein().solve(x, y, groups=(groups, groups)).matrix
    assert matrix[0, 0] == 1


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


def test_disconnected_parts_are_far_from_each_other():
    x = np.vstack([np.random.default_rng(0).normal(size=(20, 2)), 100 + np.random.default_rng(1).normal(size=(20, 2))])
    distance = geodesic_distances(neighbor_graph(x, 4), np.arange(40))
    within = distance[:20, :20].max()
    assert np.isfinite(distance).all()
    assert (distance[:20, 20:] == 1).all()
    assert within <= 0.5


def test_cells_at_the_same_place_stay_connected():
    x = np.repeat(np.random.default_rng(0).normal(size=(10, 2)), 3, axis=0)
    distance = geodesic_distances(neighbor_graph(x, 5), np.arange(30))
    assert distance[0, 1] < 1e-6


def test_geodesics_follow_a_circle():
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    circle = np.column_stack([np.cos(angle), np.sin(angle)])
    distance = geodesic_distances(neighbor_graph(circle, 2), np.array([0]))[0]
    np.testing.assert_allclose(distance, np.minimum(angle, 2 * np.pi - angle) / np.pi, atol=1e-3)


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


def test_restarts_are_reported_the_best_first():
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


def test_gradient_of_unioncom_agrees_with_autograd():
    rng = np.random.default_rng(0)
    kx, ky = (m + m.T for m in (rng.random((7, 7)), rng.random((9, 9))))
    f = torch.tensor(rng.random((7, 9)), requires_grad=True)
    (1.3 * torch.tensor(kx) - f @ torch.tensor(ky) @ f.T).square().sum().backward()
    np.testing.assert_allclose(distortion_gradient(f.detach().numpy(), kx, ky, 1.3), f.grad.numpy(), rtol=1e-10)


def test_unioncom_meets_its_constraints():
    x, y, _ = rotated_copy(100, 3)
    result = UnionCom().solve(x, y)
    assert result.converged
    assert result.matrix.sum(axis=1).min() > 0.98


def test_canonical_maps_agree_with_scikit_learn():
    from sklearn.cross_decomposition import CCA

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
    import ot

    rng = np.random.default_rng(0)
    cost = rng.random((12, 9))
    rows, columns = np.full(12, 1 / 12), np.full(9, 1 / 9)
    ours = relaxed_plan(np.exp(-cost / 0.1), rows, columns, 0.0)
    np.testing.assert_allclose(ours, ot.sinkhorn(rows, columns, cost, 0.1, numItermax=5000, stopThr=1e-14), atol=1e-8)
    weights = np.exp(-cost / 0.1)
    norm = rows @ weights @ columns
    theirs = ot.unbalanced.sinkhorn_unbalanced(
        rows, columns, cost + 0.1 * np.log(norm), 0.1, 0.2, reg_type="kl", numItermax=5000, stopThr=1e-14
    )
    np.testing.assert_allclose(relaxed_plan(weights, rows, columns, 0.5), theirs, rtol=1e-4)


def test_relaxed_plans_do_not_depend_on_units():
    weights = np.random.default_rng(0).random((12, 9)) ** 3
    rows, columns = np.full(12, 1 / 12), np.full(9, 1 / 9)
    plan = relaxed_plan(weights, rows, columns, 1.0)
    np.testing.assert_allclose(relaxed_plan(7 * weights, 30 * rows, 30 * columns, 1.0), 30 * plan, rtol=1e-6)


def test_sparse_and_dense_plans_agree():
    weights = np.random.default_rng(0).random((15, 12)) ** 4
    rows, columns = np.full(15, 1 / 15), np.full(12, 1 / 12)
    plan = relaxed_plan(sp.csr_array(weights), rows, columns, 0.3)
    np.testing.assert_allclose(plan.toarray(), relaxed_plan(weights, rows, columns, 0.3), atol=1e-12)


def test_near_and_far_pairs_agree_with_all_of_them(monkeypatch):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 90, 2))
    whole = kernel(a, b, 0.01)
    monkeypatch.setattr("couplevi.correspondence._plan.MAX_DENSE", 10)
    near = kernel(a, b, 0.01).toarray()
    stored = near > 0
    np.testing.assert_allclose(near[stored], whole[stored], rtol=1e-6)


def test_sharpening_reaches_its_target_and_keeps_the_sums():
    rng = np.random.default_rng(0)
    f = sp.csr_array(np.exp(-rng.random((50, 50)) * 3))
    f = sp.csr_array(f / 50)
    sharp = sharpen(f, 5.0)
    assert effective_matches(sharp).mean() == pytest.approx(5.0, rel=1e-3)
    np.testing.assert_allclose(sharp.sum(axis=1), f.sum(axis=1), rtol=1e-6)
    assert abs(sharpen(f, 60.0) - f).max() == 0


def test_effective_matches_of_single_even_and_no_matches():
    f = sp.csr_array([[1.0, 0, 0, 0], [0.25, 0.25, 0.25, 0.25], [0, 0, 0, 0], [0.1, 0.1, 0, 0]])
    np.testing.assert_allclose(effective_matches(f), [1, 4, 0, 2])


def test_entries_are_the_largest_of_each_row():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 3)), rng.normal(size=(60, 4))
    few, many = (GromovWasserstein(n_entries=n).solve(x, y).matrix for n in (5, 60))
    assert np.diff(few.indptr).max() <= 5
    assert (few.toarray().argmax(axis=1) == many.toarray().argmax(axis=1)).all()
    np.testing.assert_allclose(few.sum(axis=1), many.sum(axis=1), rtol=1e-5)


def test_one_to_one_uses_each_column_once_and_only_what_f_lists():
    from couplevi.correspondence import Correspondence

    f = sp.csr_array(np.array([[0.9, 0.1, 0], [0.8, 0, 0], [0, 0, 0]], dtype=np.float32))
    assert Correspondence(f, "gw", ()).one_to_one().tolist() == [1, 0, -1]


def test_the_record_cannot_be_changed():
    x, y, _ = rotated_copy(20, 2)
    result = GromovWasserstein().solve(x, y)
    with pytest.raises(ValueError, match="read-only"):
        result.matrix.data[0] = 5
    with pytest.raises(AttributeError):
        result.solver = "other"


x3, y3 = np.random.default_rng(0).normal(size=(2, 12, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: GromovWasserstein().solve(x3[0], y3), "`x` to be profiles by coordinates"),
        (lambda: GromovWasserstein().solve(x3, np.where(y3 > 1, np.nan, y3)), "finite values in `y`"),
        (lambda: GromovWasserstein().solve(x3, y3, sp.csr_array((3, 3))), r"`known` of shape \(12, 12\)"),
        (lambda: GromovWasserstein().solve(x3, y3, 2.0 * diagonal(np.ones(12))), "between 0 and 1 in `known`"),
        (lambda: GromovWasserstein().solve(x3, y3, groups=(["a"] * 12, ["a"])), "12 rows of `y`"),
        (lambda: Anchored().solve(x3, y3), "at least 10 known links"),
        (lambda: Anchored().solve(x3, y3, diagonal(np.arange(12) < 3)), "at least 10 known links"),
        (lambda: GromovWasserstein(n_entries=0), "n_entries"),
        (lambda: GromovWasserstein(effective_matches=0.5), "effective_matches"),
        (lambda: GromovWasserstein(epsilon=0), "epsilon"),
        (lambda: GromovWasserstein(unbalanced=0), "unbalanced"),
        (lambda: GromovWasserstein(seed=-1), "seed"),
        (lambda: GromovWasserstein(n_landmarks=1), "n_landmarks"),
        (lambda: UnionCom(step=2), "step"),
        (lambda: Anchored(temperature=0), "temperature"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("module", "solver"), [("_unioncom", UnionCom()), ("_gromov", GromovWasserstein())], ids=["unioncom", "gw"]
)
def test_too_many_profiles_are_refused_with_an_alternative(monkeypatch, module, solver):
    monkeypatch.setattr(f"couplevi.correspondence.{module}.MAX_PROFILES", 10)
    with pytest.raises(ValueError, match="at most 10 profiles.*(method|group_key)"):
        solver.solve(x3, y3)


def test_transport_without_refinement_is_refused_where_landmarks_are_needed():
    with pytest.raises(ValueError, match="max_exact"):
        GromovWasserstein(n_refinements=0, max_exact=10).solve(x3, y3)


def test_one_to_one_of_many_profiles_is_refused(monkeypatch):
    monkeypatch.setattr("couplevi.correspondence._record.MAX_ASSIGNMENT", 10)
    with pytest.raises(ValueError, match="at most 10 profiles on one side"):
        GromovWasserstein().solve(x3, y3).one_to_one()


@pytest.mark.parametrize("solver", ALL, ids=lambda s: s.name)
def test_partial_confidences_come_out_as_given(solver):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3))
    known = 0.3 * diagonal(np.arange(40) < 20)
    matrix = solver.solve(x, x @ rng.normal(size=(3, 4)), known).matrix
    np.testing.assert_allclose(matrix.diagonal()[:20], 0.3, rtol=1e-6)


def test_anchored_does_not_depend_on_the_order_of_columns():
    rng = np.random.default_rng(0)
    x = np.hstack([rng.normal(size=(120, 6)) * 3, rng.normal(size=(120, 30))])
    y, known = x[:, :6] @ rng.normal(size=(6, 5)), diagonal(np.arange(120) < 60)
    first, last = (Anchored().solve(x[:, order], y, known).matrix for order in (np.arange(36), np.arange(36)[::-1]))
    assert abs(first - last).max() < 1e-3


def test_one_outlier_leaves_the_others_their_matches():
    x, y, truth = rotated_copy(100, 3)
    known = sp.csr_array((np.ones(30), (np.arange(30), truth[:30])), shape=(100, 100))
    x[-1] += 100
    matches = Anchored().solve(x, y, known).matrix.toarray().argmax(axis=1)
    assert (matches == truth)[30:-1].mean() > 0.7


def test_labels_of_whole_numbers_agree_with_floats():
    x, y = np.random.default_rng(0).normal(size=(2, 30, 3))
    groups = ([1] * 15 + [2] * 15, [1.0] * 15 + [2.0] * 14 + [np.nan])
    assert {block.group for block in GromovWasserstein().solve(x, y, groups=groups).blocks} == {"1", "2"}


def test_groups_without_a_common_label_are_refused():
    with pytest.raises(ValueError, match="groups with profiles of both modalities"):
        GromovWasserstein().solve(x3, y3, groups=(["a"] * 12, ["b"] * 12))


def test_an_epsilon_that_leaves_no_plan_is_refused():
    x, y = np.random.default_rng(0).normal(size=(2, 60, 4))
    with pytest.raises(ValueError, match="larger `epsilon`"):
        GromovWasserstein(epsilon=1e-6).solve(x, y)


@pytest.mark.parametrize("n_known", [1, 57, 59])
def test_few_and_almost_all_links(n_known):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 4))
    known = diagonal(np.arange(60) < n_known)
    matrix = GromovWasserstein().solve(x, x @ rng.normal(size=(4, 5)), known).matrix
    assert abs(matrix[:n_known] - known[:n_known]).max() == 0
    assert matrix[59, n_known:].sum() > 0


@pytest.mark.parametrize("solver", [GromovWasserstein(), UnionCom(max_iter=50)], ids=lambda s: s.name)
def test_repeated_cells_and_huge_values(solver):
    x = 1e200 * np.repeat(np.random.default_rng(0).integers(0, 2, size=(30, 4)), 2, axis=0).astype(float)
    matrix = solver.solve(x, x).matrix
    assert np.isfinite(matrix.data).all()
    assert matrix.sum(axis=1).max() <= 1 + 1e-5
