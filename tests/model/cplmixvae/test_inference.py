import mudata as md
import numpy as np
import pandas as pd
import torch
from scipy.stats import false_discovery_control, linregress

from couplevi.model.cplmixvae.inference import probabilities, profiles, slopes, states, votes
from couplevi.registry import Registered


def test_cells_with_none_of_the_modalities_have_no_probabilities(joint):
    model, mdata = joint
    other = mdata["b"][-4:].copy()
    other.obs_names, other.var_names = [f"new{i}" for i in range(4)], [f"c{j}" for j in range(12)]
    more = md.MuData({"a": mdata["a"][:6].copy(), "c": other})
    found = model.predict_probabilities(more)
    assert found.isna().all(axis=1).tolist() == more.obs_names.str.startswith("new").tolist()
    assert model.predict(more).isna().sum() == 4


def test_probabilities_of_a_cell_are_the_mean_over_its_modalities(joint):
    model, mdata = joint
    cells, (a, b) = model.predict_probabilities(), (model.predict_probabilities(mdata, modality=m) for m in "ab")
    both = a.notna().all(axis=1) & b.notna().all(axis=1)
    np.testing.assert_allclose(cells[both], (a[both] + b[both]) / 2, atol=1e-6)


def test_probabilities_are_those_of_the_arms_and_categories_that_are_asked_for(joint):
    model, mdata = joint
    given = Registered(mdata, {m: model.reader(m) for m in "ab"}, {"correspondence": {}, "match": {}})
    whole = probabilities(model.module, given, ["b"], [1], np.arange(3))
    some = probabilities(model.module, given, ["b"], [1], np.array([2, 0]))
    np.testing.assert_array_equal(some, whole[:, [2, 0]])
    with torch.inference_mode():
        for rows, x in profiles(model.module, given, "b"):
            q = model.module.log_probabilities("b", 1, x).exp().numpy()
            np.testing.assert_allclose(whole[given.rows("b")[rows]], q, atol=1e-6)


def test_states_are_those_of_one_arm_given_the_category_of_each_cell(joint):
    model, mdata = joint
    given = Registered(mdata, {m: model.reader(m) for m in "ab"}, {"correspondence": {}, "match": {}})
    category = np.arange(mdata.n_obs) % 3
    found = states(model.module, given, "a", 1, category)
    place = given.rows("a")
    with torch.inference_mode():
        for rows, x in profiles(model.module, given, "a"):
            own = torch.from_numpy(category[place[rows]])
            np.testing.assert_allclose(found[place[rows]], model.module.state("a", 1, x, own).loc, atol=1e-6)
    assert np.isnan(np.delete(found, place, axis=0)).all()


def test_votes_are_those_of_all_pairs_of_arms_or_of_two_modalities(joint):
    model, mdata = joint
    given = Registered(mdata, {m: model.reader(m) for m in "ab"}, {"correspondence": {}, "match": {}})
    n = {m: mdata[m].n_obs for m in "ab"}
    both = len(mdata["a"].obs_names.intersection(mdata["b"].obs_names))
    assert [len(v.a) for v in votes(model.module, given, ["a", "b"], None)] == [n["a"], n["b"], *4 * [both]]
    forward, backward = (votes(model.module, given, ["a", "b"], pair) for pair in ("ab", "ba"))
    assert len(forward) == 4
    label = model.module.n_categories * np.concatenate([v.a for v in forward]) + np.concatenate([v.b for v in forward])
    other = model.module.n_categories * np.concatenate([v.b for v in backward])
    other += np.concatenate([v.a for v in backward])
    np.testing.assert_array_equal(np.bincount(label), np.bincount(other))


def test_probabilities_are_the_mean_over_arms(pruned):
    mean = pruned.predict_probabilities()
    np.testing.assert_allclose(mean.sum(axis=1), 1, rtol=1e-5)
    arms = [pruned.predict_probabilities(arm=a) for a in (0, 1)]
    np.testing.assert_allclose(mean, (arms[0] + arms[1]) / 2, atol=1e-6)
    assert (pruned.predict().astype(str) == mean.idxmax(axis=1)).all()


def test_cells_of_one_modality_are_predicted_by_it_alone(joint):
    model, mdata = joint
    only = mdata.obs_names.difference(mdata["b"].obs_names)
    cells = model.predict_probabilities()
    alone = model.predict_probabilities(mdata["a"], modality="a")
    pd.testing.assert_frame_equal(cells.loc[only], alone.loc[only])
    pd.testing.assert_frame_equal(model.predict_probabilities(mdata, modality="a").dropna(), alone)


def test_states_of_modalities_side_by_side(joint):
    model, mdata = joint
    state = model.get_latent_representation()
    assert state.shape == (mdata.n_obs, 6)
    own = model.get_latent_representation(modality="b")
    rows = mdata.obs_names.get_indexer(mdata["b"].obs_names)
    np.testing.assert_array_equal(state[rows, 3:], own)
    assert np.isnan(state[~mdata.obs_names.isin(mdata["b"].obs_names), 3:]).all()


def test_consensus_matrix_of_agreeing_arms_is_the_identity(pruned, adata):
    matrix = pruned.consensus_matrix(adata[:100].copy())
    assert list(matrix.index) == ["0", "1", "2"]
    np.testing.assert_allclose(matrix, np.eye(3), atol=0.1)


def test_slopes_are_those_of_a_regression_of_each_feature():
    rng = np.random.default_rng(0)
    state = rng.normal(size=60)
    x = np.outer(state, [2.0, 0.0, -1.0, 0.0]) + rng.normal(size=(60, 4))
    x[:, 3] = 7
    found = slopes(x, state)
    for j in range(3):
        r = linregress(state, x[:, j])
        expected = [r.slope / r.stderr, r.slope / np.log(2), r.pvalue]
        np.testing.assert_allclose(found.loc[j, ["scores", "logfoldchanges", "pvals"]].astype(float), expected)
    np.testing.assert_allclose(found["pvals_adj"][:3], false_discovery_control(found["pvals"][:3]))
    assert found.loc[3, ["scores", "pvals", "pvals_adj"]].isna().all()
    assert found["logfoldchanges"][3] == 0


def test_a_state_that_all_cells_share_has_no_slope():
    """Of cells that are alike: nothing is divided by 0."""
    found = slopes(np.random.default_rng(0).normal(size=(4, 3)), np.ones(4))
    assert found.shape == (3, 4)
    assert found.isna().all(axis=None)
