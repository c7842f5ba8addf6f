import copy

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from scipy import stats

import couplevi as cvi

SETUP = {"state_key": "state", "control": "control"}


def fit(adata, setup=None, **settings):
    cvi.model.OTGM.setup_anndata(adata, **SETUP, **(setup or {}))
    model = cvi.model.OTGM(adata, **{"n_pcs": 10, **settings})
    model.train()
    return model


def values(adata, state):
    return np.asarray(adata.X[(adata.obs["state"] == state).to_numpy()], dtype=np.float64)


def test_shifts_and_tests_are_those_of_the_values(perturbed):
    model, adata = perturbed
    frame = model.rank_genes("gene5").set_index("gene").loc[adata.var_names]
    x, control = values(adata, "gene5"), values(adata, "control")
    np.testing.assert_allclose(frame["delta"], x.mean(axis=0) - control.mean(axis=0), atol=1e-5)
    welch = stats.ttest_ind(x, control, equal_var=False)
    np.testing.assert_allclose(frame["p_value"], welch.pvalue, rtol=1e-3)
    np.testing.assert_allclose(frame["q_value"], stats.false_discovery_control(welch.pvalue), rtol=1e-3)
    error = np.sqrt(x.var(axis=0, ddof=1) / len(x) + control.var(axis=0, ddof=1) / len(control))
    np.testing.assert_allclose(frame["z"], frame["delta"] / (error + np.median(error)), rtol=1e-3)
    assert (frame["direction"] == np.where(frame["delta"] < 0, "down", "up")).all()


@pytest.mark.parametrize(("state", "shifted"), [("gene5", range(12)), ("gene290", range(288, 300))])
def test_the_perturbed_gene_comes_first_and_all_that_shift_before_the_others(perturbed, state, shifted):
    model, adata = perturbed
    ranked = model.rank_genes(state)["gene"]
    assert ranked[0] == state
    assert set(ranked[:12]) == {f"gene{i}" for i in shifted}
    assert model.rank_genes(state, direction="down")["gene"][0] == state
    up = model.rank_genes(state, direction="up")
    assert (up["delta"] > 0).all()
    assert (np.diff(up["z"]) <= 0).all()
    by_shift = model.rank_genes(state, score="delta")["delta"]
    assert (np.diff(by_shift.abs()) <= 0).all()


def test_another_source_turns_the_shift_around(perturbed):
    model, adata = perturbed
    there = model.rank_genes("gene5", source="gene290").set_index("gene")["delta"]
    back = model.rank_genes("gene290", source="gene5").set_index("gene")["delta"]
    np.testing.assert_allclose(there, -back[there.index])


def test_thirty_of_a_thousand_genes_that_shift_by_one_deviation_are_found():
    rng = np.random.default_rng(0)
    x = rng.normal(3, 1, (700, 1000))
    x[500:, :30] += rng.choice([-1, 1], 30)
    obs = pd.DataFrame({"state": ["control"] * 500 + ["p"] * 200}, index=[f"c{i}" for i in range(700)])
    adata = ad.AnnData(x.astype(np.float32), obs=obs)
    model = fit(adata, n_pcs=20)
    frame = model.rank_genes("p")
    assert len(set(frame["gene"][:30]) & {str(i) for i in range(30)}) > 27
    truth = np.sign(x[500:, :30].mean(axis=0) - 3)
    assert (np.sign(frame.set_index("gene").loc[[str(i) for i in range(30)], "delta"]) == truth).all()


def test_nothing_is_claimed_where_nothing_is(make_screen):
    adata = make_screen()[:300].copy()
    adata.obs["state"] = np.where(np.arange(300) % 2, "p", "control")
    assert (fit(adata).rank_genes("p")["q_value"] < 0.05).mean() <= 0.01


def test_moved_control_cells_have_the_moments_of_the_state(perturbed):
    model, adata = perturbed
    control = adata[adata.obs["state"] == "control"].copy()
    moved = model.perturb(control, "gene5")
    plan = model.transport("control", "gene5")
    np.testing.assert_allclose(moved.X.mean(axis=0), values(adata, "gene5").mean(axis=0), atol=1e-4)
    basis = model.module.array("basis")
    z = (control.X.astype(np.float64) - plan.source.mean) @ basis
    found = np.cov(z @ plan.linear.T, rowvar=False)
    own = np.cov(z, rowvar=False)
    difference = own - plan.source.covariance  # the covariance of the state is shrunk, that of these cells is not
    expected = plan.target.covariance + plan.linear @ difference @ plan.linear.T
    np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())
    np.testing.assert_array_equal(moved.obs_names, control.obs_names)
    half = model.perturb(control, "gene5", amount=0.5).X
    np.testing.assert_allclose(half, (control.X + moved.X) / 2, atol=1e-4)
    np.testing.assert_allclose(model.perturb(control, "gene5", amount=0.0).X, control.X, atol=1e-4)


def test_noise_that_is_drawn_anew_has_the_spread_of_the_state(perturbed):
    model, adata = perturbed
    control = adata[adata.obs["state"] == "control"].copy()
    plain, drawn, again = (
        model.perturb(control, "gene5", **kwargs).X for kwargs in ({}, {"stochastic": True}, {"stochastic": True})
    )
    np.testing.assert_array_equal(drawn, again)
    basis = model.module.array("basis")
    np.testing.assert_allclose(drawn @ basis, plain @ basis, atol=1e-3)
    correlation = np.corrcoef((drawn - drawn @ basis @ basis.T).ravel(), (plain - plain @ basis @ basis.T).ravel())
    spread = drawn.std(axis=0) / values(adata, "gene5").std(axis=0)
    assert abs(np.median(spread) - 1) < 0.1
    residual = [v - v.mean(axis=0) - (v - v.mean(axis=0)) @ basis @ basis.T for v in (drawn, plain)]
    assert abs(np.corrcoef(*(r.ravel() for r in residual))[0, 1]) < 0.1
    assert np.isfinite(correlation).all()


def test_states_are_told_and_probabilities_sum_to_one(perturbed, make_screen):
    model, _ = perturbed
    new = make_screen(seed=1)
    soft = model.predict_state(new, soft=True)
    np.testing.assert_allclose(soft.sum(axis=1), 1, rtol=1e-5)
    hard = model.predict_state(new)
    np.testing.assert_array_equal(hard.to_numpy(), soft.columns[soft.to_numpy().argmax(axis=1)])
    assert list(hard.cat.categories) == ["control", "gene290", "gene5"]


def test_samples_are_like_the_state(perturbed):
    model, adata = perturbed
    cells = model.sample("gene290", 4_000, seed=1)
    x = values(adata, "gene290")
    np.testing.assert_allclose(cells.X.mean(axis=0), np.maximum(x, 0).mean(axis=0), atol=0.08)
    basis = model.module.array("basis")
    gaussian = model.gaussian("gene290")
    found = np.cov(gaussian.scores(cells.X), rowvar=False)
    scale = np.sqrt(np.outer(gaussian.covariance.diagonal(), gaussian.covariance.diagonal()))
    assert np.abs((found - gaussian.covariance) / scale).max() < 0.12
    assert basis.shape == (300, 10)
    np.testing.assert_array_equal(cells.X, model.sample("gene290", 4_000, seed=1).X)
    assert not np.array_equal(cells.X, model.sample("gene290", 4_000, seed=2).X)
    inside = model.sample("gene290", 500, level=0.5)
    z = gaussian.scores(inside.X)
    distance = np.einsum("ij,jk,ik->i", z, np.linalg.inv(gaussian.covariance), z)
    assert (distance <= stats.chi2(10).ppf(0.5) * 1.05).all()


def test_counts_are_whole_and_as_many_as_asked():
    adata = cvi.data.perturbation_screen(n_obs=300)
    model = cvi.tl.otgm(adata, state_key="perturbation", control="control", layer="log1p", n_pcs=10)
    counts = model.sample("gene1", 200, library_size=5_000).layers["counts"]
    assert (counts == counts.round()).all()
    assert counts.min() >= 0
    assert 0.8 < counts.sum(axis=1).mean() / 5_000 < 1.4


def test_distances_are_those_between_gaussians(perturbed):
    model, _ = perturbed
    frame = model.distances(subtract_noise=False)
    assert frame.shape == (3, 3)
    np.testing.assert_array_equal(frame, frame.T)
    assert (np.diag(frame) == 0).all()
    assert frame.loc["control", "gene5"] == pytest.approx(np.sqrt(model.transport("control", "gene5").cost))


def test_distances_do_not_grow_with_chance():
    """Two states that do not differ, and one that does, as drawn with few cells and with many."""
    squares = {"plain": [], "debiased": []}
    rng = np.random.default_rng(0)
    for _ in range(60):
        x = rng.normal(size=(140, 10))
        state = np.repeat(["control", "same", "other"], [80, 20, 40])
        x[state == "other", 0] += 2.0
        adata = ad.AnnData(
            x.astype(np.float32), obs=pd.DataFrame({"state": state}, index=[f"c{i}" for i in range(140)])
        )
        model = cvi.tl.otgm(adata, state_key="state", control="control", n_pcs=10, pooled_share=1.0)
        for name, subtract in (("plain", False), ("debiased", True)):
            row = model.distances(subtract_noise=subtract).loc["control"] ** 2
            squares[name].append(row[["same", "other"]])
    plain, debiased = (np.mean(squares[name], axis=0) for name in ("plain", "debiased"))
    chance = 10 * (1 / 80 + 1 / 20)
    assert plain[0] == pytest.approx(chance, rel=0.2)
    assert debiased[0] < 0.3 * chance
    assert plain[1] - debiased[1] == pytest.approx(10 * (1 / 80 + 1 / 40), rel=0.05)
    assert debiased[1] == pytest.approx(4.0, rel=0.06)


def test_response_is_the_regression_on_the_control(perturbed):
    model, _ = perturbed
    response = model.predict_response({"gene7": -2.0})
    gaussian = model.gaussian("control")
    column = gaussian.apply_covariance(np.eye(300)[7])
    np.testing.assert_allclose(response, -2.0 * column / column[7], atol=1e-6)
    assert response["gene7"] == pytest.approx(-2.0)


def test_shifts_of_two_perturbations_add_up(perturbed):
    model, adata = perturbed
    total = model.predict_combination(["gene5", "gene290"])
    parts = [model.rank_genes(s).set_index("gene")["delta"].loc[adata.var_names] for s in ("gene5", "gene290")]
    np.testing.assert_allclose(total, sum(parts))


def test_what_belongs_to_a_batch_is_taken_from_its_cells(make_screen):
    adata, plain = make_screen(batches=True), make_screen()
    model = fit(adata, {"batch_key": "batch"})
    frame = model.rank_genes("gene5")
    assert frame["gene"][0] == "gene5"
    assert (frame["q_value"] < 0.05).sum() < 25
    confounded = adata[(adata.obs["state"] == "control") | (adata.obs["batch"] == "y")].copy()
    found, without = fit(confounded, {"batch_key": "batch"}), fit(confounded.copy())
    truth = np.zeros(300)
    truth[:12] = 0.5 * np.where(np.arange(12) % 2, 1, -1)
    truth[5] -= 1.5
    error = [
        np.abs(m.rank_genes("gene5").set_index("gene").loc[adata.var_names, "delta"] - truth).max()
        for m in (found, without)
    ]
    assert error[0] < 0.6
    assert error[1] > 1.0
    told = [(m.predict_state(d) == d.obs["state"]).mean() for m, d in ((model, adata), (fit(plain), plain))]
    assert told[0] > told[1] - 0.05
    moved = found.perturb(adata[:20].copy(), "gene5", amount=0.0)
    np.testing.assert_allclose(moved.X, adata.X[:20], atol=1e-4)


def test_states_are_compared_within_types(make_screen):
    adata = make_screen()
    is_t = (adata.obs["type"] == "t").to_numpy()
    adata.X[is_t, 100:150] += 3.0
    keep = ~((adata.obs["state"] == "gene5").to_numpy() & is_t & (np.arange(adata.n_obs) % 4 > 0))
    adata = adata[keep].copy()  # a state that is mostly of one type
    model, without = fit(adata, {"group_key": "type"}), fit(adata.copy())
    shifts = [
        m.rank_genes("gene5").set_index("gene").loc[[f"gene{i}" for i in range(100, 150)], "delta"]
        for m in (model, without)
    ]
    assert np.abs(shifts[0]).max() < 0.4
    assert np.abs(shifts[1]).mean() > 0.5
    with pytest.raises(ValueError, match=r"`group` to be one of \['s', 't'\]"):
        model.gaussian("gene5")
    with pytest.raises(ValueError, match="`group`"):
        model.transport("control", "gene5")
    control = adata[adata.obs["state"] == "control"].copy()
    moved = model.perturb(control, "gene5")
    for name in ("s", "t"):
        own = (control.obs["type"] == name).to_numpy()
        cells = ((adata.obs["state"] == "gene5") & (adata.obs["type"] == name)).to_numpy()
        np.testing.assert_allclose(moved.X[own].mean(axis=0), adata.X[cells].mean(axis=0), atol=1e-3)
    assert set(model.sample("gene5", 50).obs["group"]) == {"s", "t"}
    assert (model.predict_state(adata) == adata.obs["state"]).mean() > 0.8
    assert np.isfinite(model.distances().to_numpy()).all()
    assert "2 groups" in repr(model)
    other = adata.copy()
    other.obs["type"] = "u"
    with pytest.raises(ValueError, match=r"cells of the types \['s', 't'\], found also \['u'\]"):
        model.predict_state(other)
    other.obs["type"] = [None, *["s"] * (other.n_obs - 1)]
    with pytest.raises(ValueError, match="found 1 missing"):
        model.predict_state(other)


def test_labels_with_errors_are_met_by_expectation_maximisation(make_screen):
    adata = make_screen(n=(300, 200, 100))
    wrong = np.flatnonzero((adata.obs["state"] == "control").to_numpy())[:80]
    adata.obs.iloc[wrong, 0] = "gene5"  # cells in which nothing happened
    adata.X[(adata.obs["state"] == "gene5").to_numpy() & ~np.isin(np.arange(adata.n_obs), wrong), 20:60] += 1.0
    plain, mended = fit(adata), fit(adata.copy(), em_iterations=5)
    delta = [
        m.rank_genes("gene5").set_index("gene").loc[[f"gene{i}" for i in range(20, 60)], "delta"].mean()
        for m in (plain, mended)
    ]
    assert delta[0] < 0.8
    assert 0.9 < delta[1] < 1.1
    assert mended.n_cells.sum() == pytest.approx(adata.n_obs)


def test_a_state_that_is_the_control_keeps_its_labels(make_screen):
    adata = make_screen(n=(300, 100, 100))
    adata.obs["state"] = adata.obs["state"].astype(object)
    adata.obs.iloc[:5, 0] = "nothing"
    with pytest.warns(UserWarning, match=r"All cells of states \['nothing'\] look like those of the control"):
        model = fit(adata, em_iterations=3)
    assert model.n_cells["nothing"] == 5
    assert len(model.rank_genes("nothing")) == 300


def test_published_preset_keeps_what_is_in_the_components(make_screen):
    adata = make_screen()
    model = fit(adata, preset="paper")
    delta = model.rank_genes("gene5").set_index("gene")["delta"].loc[adata.var_names].to_numpy()
    basis = model.module.array("basis")
    np.testing.assert_allclose(basis @ (basis.T @ delta), delta, atol=1e-8)
    assert float(model.module.array("pooled_share")) == 0.0


def test_cells_of_a_type_without_states_are_not_told(make_screen):
    adata = make_screen()
    adata.obs["state"] = adata.obs["state"].astype(object)
    adata.obs.iloc[:5, 0], adata.obs.iloc[:5, 1] = None, "rare"
    model = fit(adata, {"group_key": "type"})
    with pytest.warns(UserWarning, match=r"5 cells are of types in which no state has 2 cells: \['rare'\]"):
        soft = model.predict_state(soft=True)
    assert soft.iloc[:5].isna().all(axis=None)
    np.testing.assert_allclose(soft.iloc[5:].sum(axis=1), 1, rtol=1e-5)
    with pytest.warns(UserWarning, match="no state has"):
        assert model.predict_state().isna().sum() == 5
    assert np.isfinite(model.distances().to_numpy()).all()


def test_cells_of_the_model_that_are_moved_are_those_of_the_source(perturbed):
    model, adata = perturbed
    moved = model.perturb(None, "gene5")
    control = adata[adata.obs["state"] == "control"].copy()
    np.testing.assert_array_equal(moved.X, model.perturb(control, "gene5").X)
    assert moved.n_obs == 300


def test_counts_are_warned_about_and_numbers_are_names(make_screen):
    adata = cvi.data.perturbation_screen(n_obs=100)
    with pytest.warns(UserWarning, match="looks like raw counts"):
        cvi.model.OTGM.setup_anndata(adata, state_key="perturbation", control="control")
    adata = make_screen()
    adata.obs["state"] = adata.obs["state"].map({"control": 0.0, "gene5": 1.0, "gene290": 2.0}).astype(float)
    for control in (0, 0.0, "0"):
        cvi.model.OTGM.setup_anndata(adata, state_key="state", control=control)
        model = cvi.model.OTGM(adata, n_pcs=5)
        assert (model.control_, model.states_) == ("0", ["0", "1", "2"])
    with pytest.raises(ValueError, match="Pass `n_pcs=300`"):
        cvi.model.OTGM(adata, n_pcs=1_000)


@pytest.mark.parametrize("kind", ["csr", "csc", "float64", "reordered"])
def test_form_of_the_values_does_not_matter(perturbed, make_screen, kind):
    model, adata = perturbed
    other = make_screen()
    if kind == "reordered":
        other = other[::-1].copy()
    else:
        other.X = {"csr": sp.csr_matrix, "csc": sp.csc_matrix, "float64": np.float64}[kind](other.X)
    found = fit(other)
    ours, theirs = (m.rank_genes("gene5").set_index("gene")["z"] for m in (model, found))
    np.testing.assert_allclose(ours, theirs[ours.index], atol=1e-4)
    np.testing.assert_allclose(found.distances(), model.distances(), rtol=1e-3)
    np.testing.assert_allclose(found.predict_state(adata, soft=True), model.predict_state(adata, soft=True), atol=1e-3)


def test_data_on_disk_are_read_in_parts(perturbed, make_screen, tmp_path):
    model, adata = perturbed
    other = make_screen()
    other.X = sp.csr_matrix(other.X)
    other.write_h5ad(tmp_path / "a.h5ad")
    backed = ad.read_h5ad(tmp_path / "a.h5ad", backed="r")
    found = fit(backed)
    ours, theirs = (m.rank_genes("gene5").set_index("gene")["z"] for m in (model, found))
    np.testing.assert_allclose(ours, theirs[ours.index], atol=1e-4)
    backed.file.close()


def test_saved_model_says_the_same(perturbed, tmp_path):
    model, adata = perturbed
    model.save(tmp_path / "m")
    torch.load(tmp_path / "m" / "model.pt", weights_only=True)
    assert adata.obs_names[0].encode() not in (tmp_path / "m" / "model.pt").read_bytes()
    new = adata[:10].copy()
    for data in (adata, False):
        again = cvi.model.OTGM.load(tmp_path / "m", adata=data)
        pd.testing.assert_frame_equal(again.rank_genes("gene5"), model.rank_genes("gene5"))
        np.testing.assert_array_equal(again.predict_state(new, soft=True), model.predict_state(new, soft=True))
        assert again.states_ == model.states_
        assert repr(again) == repr(model)
    other = copy.deepcopy(model)
    other.module.fill(mean=np.zeros_like(other.module.array("mean")))
    assert model.means().to_numpy().any()


def test_new_data_may_lack_states_and_some_features(perturbed):
    model, adata = perturbed
    new = adata[:30, 10:].copy()
    del new.obs["state"]
    with pytest.warns(UserWarning, match="10 of the 300 features .* missing"):
        placed = model.get_latent_representation(new)
    filled = adata[:30].copy()
    filled.X[:, :10] = model.module.array("centre")[:10]
    np.testing.assert_allclose(placed, model.get_latent_representation(filled), atol=1e-4)


def test_states_that_are_too_small_or_missing_are_left_out(make_screen):
    adata = make_screen()
    adata.obs["state"] = adata.obs["state"].astype(object)
    adata.obs.iloc[0, 0], adata.obs.iloc[1, 0], adata.obs.iloc[2, 0] = "lonely", None, "unknown"
    with pytest.warns(UserWarning, match=r"fewer than 2 cells are left out: \['lonely'\]"):
        model = fit(adata)
    assert model.states_ == ["control", "gene290", "gene5"]
    assert model.n_cells.to_dict() == {"control": 297, "gene290": 120, "gene5": 150}
    assert len(model.predict_state()) == adata.n_obs


def test_fit_that_fails_leaves_the_model_as_it_was(make_screen):
    adata = make_screen(batches=True)
    control = (adata.obs["state"] == "control").to_numpy()
    adata.obs.loc[adata.obs_names[control], "batch"] = "x"
    cvi.model.OTGM.setup_anndata(adata, **SETUP, batch_key="batch")
    model = cvi.model.OTGM(adata)
    with pytest.raises(ValueError, match=r"cells of the control in each batch, found none in \['y'\]"):
        model.train()
    assert not model.is_trained
    assert not model.module.array("mean").any()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m, a: m.rank_genes("nothing"), ValueError, "`state` to be one of"),
        (lambda m, a: m.rank_genes("control"), ValueError, "differ"),
        (lambda m, a: m.rank_genes("gene5", score="w"), ValueError, "score"),
        (lambda m, a: m.rank_genes("gene5", direction="left"), ValueError, "direction"),
        (lambda m, a: m.rank_genes("gene5", source="x"), ValueError, "source"),
        (lambda m, a: m.gaussian("x"), ValueError, "state"),
        (lambda m, a: m.gaussian("gene5", group="x"), ValueError, "group"),
        (lambda m, a: m.transport("control", "gene5", "monge"), ValueError, "method"),
        (lambda m, a: m.transport("gene5", "gene5"), ValueError, "differ"),
        (lambda m, a: m.perturb(a, "control"), ValueError, "differ"),
        (lambda m, a: m.perturb(a, "gene5", amount=np.nan), ValueError, "amount"),
        (lambda m, a: m.sample("gene5", 0), ValueError, "n"),
        (lambda m, a: m.sample("gene5", 5, level=1.0), ValueError, r"`level` in \(0, 1\)"),
        (lambda m, a: m.sample("gene5", 5, library_size=0), ValueError, "library_size"),
        (lambda m, a: m.predict_response({}), ValueError, "at least one of `genes`"),
        (lambda m, a: m.predict_response({"Gad1": 1.0}), KeyError, r"also \['Gad1'\]"),
        (lambda m, a: m.predict_combination("gene5"), ValueError, "two or more `states`"),
        (lambda m, a: m.predict_combination(["gene5"]), ValueError, "two or more `states`"),
        (lambda m, a: m.predict_combination(["gene5", "gene29"]), ValueError, r"`states` to be one of \['gene290', "),
        (lambda m, a: m.predict_combination(["gene5", "control"]), ValueError, "`states` other than the control"),
        (lambda m, a: m.predict_state(a[:, :100].copy()), ValueError, "200 missing"),
    ],
)
def test_what_cannot_be_answered_is_said(perturbed, call, error, message):
    model, adata = perturbed
    with pytest.raises(error, match=message):
        call(model, adata)


def test_set_up_is_checked(make_screen):
    adata = make_screen()
    for setup, error, message in (
        ({"state_key": "nothing"}, KeyError, "column 'nothing'"),
        ({"control": "ctrl"}, ValueError, r"cells of the control 'ctrl' .*, found \['control'"),
        ({"layer": "x"}, KeyError, "layers"),
        ({"group_key": "x"}, KeyError, "column 'x'"),
        ({"batch_key": "x"}, KeyError, "column 'x'"),
    ):
        with pytest.raises(error, match=message):
            cvi.model.OTGM.setup_anndata(adata, **{**SETUP, **setup})
    with pytest.raises(TypeError, match="AnnData"):
        cvi.model.OTGM.setup_anndata(adata.X, **SETUP)
    with pytest.raises(ValueError, match="set up"):
        cvi.model.OTGM(make_screen())
    with pytest.raises(ValueError, match="set up"):
        cvi.model.OTGM()
    cvi.model.OTGM.setup_anndata(adata, **SETUP)
    registry = cvi.model.OTGM(adata).registry_
    with pytest.raises(ValueError, match="States are those of the data"):
        cvi.model.OTGM(registry=registry)
    with pytest.raises(RuntimeError, match="train"):
        cvi.model.OTGM(adata).rank_genes("gene5")
    one = adata[adata.obs["state"] == "control"].copy()
    cvi.model.OTGM.setup_anndata(one, **SETUP)
    with pytest.raises(ValueError, match="and of another state"):
        cvi.model.OTGM(one)
    apart = adata.copy()
    apart.obs["type"] = np.where(apart.obs["state"] == "gene5", "s", "t")
    cvi.model.OTGM.setup_anndata(apart, **SETUP, group_key="type")
    with pytest.raises(ValueError, match=r"none of \['gene5'\]"):
        cvi.model.OTGM(apart)
