import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import couplevi as cvi

SETUP = {"state_key": "perturbation", "control": "control", "layer": "log1p", "n_pcs": 10}


@pytest.fixture(scope="module")
def scores():
    adata = cvi.data.perturbation_screen(n_obs=900, n_perturbations=3, doubles=True, seed=2)
    before = adata.copy()
    frame = cvi.tl.evaluate_perturbations(adata, **SETUP)
    assert adata.obs.equals(before.obs)
    assert not adata.obsm
    assert not adata.uns
    return frame.set_index(["task", "method"])


def test_all_tasks_have_their_rivals(scores):
    tasks = {task: set(scores.loc[task].index) for task in scores.index.levels[0]}
    assert tasks == {
        "own gene": {"OTGM", "Welch", "Mann-Whitney", "mean difference"},
        "direction": {"OTGM", "mean difference"},
        "state": {"OTGM", "LDA", "logistic regression"},
        "response": {"OTGM", "mean of other states"},
        "combination": {"OTGM", "larger single shift", "mean of single states"},
    }
    assert ((scores["value"] >= -1) & (scores["value"] <= 1)).all()
    assert scores.loc[("own gene", "OTGM"), "n"] == 3
    assert scores.loc[("combination", "OTGM"), "n"] == 3


def test_planted_effects_are_found(scores):
    value = scores["value"]
    assert value["own gene", "OTGM"] == 1.0
    assert value["direction", "OTGM"] > 0.9
    assert value["direction", "mean difference"] == value["direction", "OTGM"]
    assert value["state", "OTGM"] > 0.5
    assert value["combination", "OTGM"] > 0.7
    assert value["combination", "OTGM"] > value["combination", "larger single shift"]


def test_halves_do_not_share_cells():
    """Labels that mean nothing are told no better than by chance, and nothing agrees between the halves."""
    adata = cvi.data.perturbation_screen(n_obs=600, n_perturbations=2)
    adata.obs["perturbation"] = np.random.default_rng(0).choice(["control", "a", "b"], adata.n_obs)
    frame = cvi.tl.evaluate_perturbations(adata, **SETUP).set_index(["task", "method"])["value"]
    assert abs(frame["state", "OTGM"] - 1 / 3) < 0.1
    assert "own gene" not in frame.index.get_level_values(0)


def test_rank_of_the_own_gene_is_that_of_the_test():
    adata = cvi.data.perturbation_screen(n_obs=300, n_perturbations=1)
    frame = cvi.tl.evaluate_perturbations(adata, **SETUP, held_out=0.2, seed=3).set_index(["task", "method"])["value"]
    x, state = adata.layers["log1p"], adata.obs["perturbation"].to_numpy()
    p = stats.ttest_ind(x[state == "gene0"], x[state == "control"], equal_var=False).pvalue
    assert np.nanargmin(p) == 0
    assert frame["own gene", "Welch"] == 1.0


def test_numbers_as_states_and_data_on_disk(tmp_path):
    adata = cvi.data.perturbation_screen(n_obs=300, n_perturbations=2, n_features=50, sparse=True)
    setup = {**SETUP, "n_pcs": 5}
    expected = cvi.tl.evaluate_perturbations(adata, **setup)
    numbers = adata.copy()
    numbers.obs["perturbation"] = (
        adata.obs["perturbation"].astype(str).map({"control": 0.0, "gene0": 1.0, "gene1": 2.0})
    )
    found = cvi.tl.evaluate_perturbations(numbers, **{**setup, "control": 0})
    states = [f[f["task"] == "state"].reset_index(drop=True) for f in (expected, found)]
    pd.testing.assert_frame_equal(*states)
    adata.write_h5ad(tmp_path / "a.h5ad")
    backed = ad.read_h5ad(tmp_path / "a.h5ad", backed="r")
    pd.testing.assert_frame_equal(cvi.tl.evaluate_perturbations(backed, **setup), expected)
    backed.file.close()


@pytest.mark.parametrize("share", [0, 1, -0.1, 2])
def test_share_that_is_held_out(share):
    with pytest.raises(ValueError, match="held_out"):
        cvi.tl.evaluate_perturbations(cvi.data.perturbation_screen(n_obs=100), **SETUP, held_out=share)


def test_missing_column():
    with pytest.raises(KeyError, match="column 'nothing'"):
        cvi.tl.evaluate_perturbations(cvi.data.perturbation_screen(n_obs=100), **{**SETUP, "state_key": "nothing"})
