import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import scanpy as sc

import couplevi as cvi

SETUP = {"state_key": "perturbation", "control": "control", "layer": "log1p"}


@pytest.fixture(scope="module")
def fitted_screen():
    adata = cvi.data.perturbation_screen(n_obs=300, n_perturbations=3)
    return cvi.tl.otgm(adata, **SETUP, n_pcs=10), adata


def test_slots_hold_what_the_model_says(fitted_screen):
    model, adata = fitted_screen
    np.testing.assert_array_equal(adata.obsm["X_otgm"], model.get_latent_representation())
    np.testing.assert_array_equal(adata.obsm["otgm_posterior"], model.predict_state(soft=True))
    assert (adata.obs["otgm_state"] == model.predict_state()).all()
    assert adata.uns["otgm"]["states"] == ["control", "gene0", "gene1", "gene2"]
    assert adata.uns["otgm"]["n_cells"].sum() == 300
    assert (adata.obs["otgm_state"] == adata.obs["perturbation"].astype(str)).mean() > 0.7


def test_ranked_genes_are_read_by_scanpy(fitted_screen):
    model, adata = fitted_screen
    for state in ("gene0", "gene2"):
        frame, ours = sc.get.rank_genes_groups_df(adata, state, key="otgm_rank_genes"), model.rank_genes(state)
        assert frame["names"].tolist() == ours["gene"].tolist()
        np.testing.assert_allclose(frame["scores"], ours["z"], rtol=1e-5)
        np.testing.assert_allclose(frame["pvals_adj"], ours["q_value"])
        assert frame["names"][0] == state
    sc.pl.rank_genes_groups(adata, key="otgm_rank_genes", n_genes=5, show=False)
    assert "gene0" in [text.get_text() for text in plt.gcf().axes[0].texts]
    reference = sc.tl.rank_genes_groups(adata, "perturbation", reference="control", layer="log1p", copy=True)
    theirs = sc.get.rank_genes_groups_df(reference, "gene1").set_index("names")["logfoldchanges"]
    found = sc.get.rank_genes_groups_df(adata, "gene1", key="otgm_rank_genes").set_index("names")["logfoldchanges"]
    np.testing.assert_allclose(found, theirs[found.index], atol=0.01)


def test_fold_changes_are_those_within_types():
    rng = np.random.default_rng(0)
    state = np.repeat(["control", "p"], 300)
    of_type = np.where(rng.random(600) < np.where(state == "p", 0.9, 0.1), "T", "B")
    x = rng.normal(3, 0.2, (600, 20)).astype(np.float32)
    x[of_type == "T", 0] += 3
    x[state == "p", 0] -= 0.5
    x[:, 1] -= 4  # not the logarithm of counts
    adata = ad.AnnData(x, obs=pd.DataFrame({"s": state, "t": of_type}, index=[f"c{i}" for i in range(600)]))
    cvi.tl.otgm(adata, state_key="s", control="control", group_key="t", n_pcs=5)
    frame = sc.get.rank_genes_groups_df(adata, "p", key="otgm_rank_genes").set_index("names")
    assert frame.loc["0", "scores"] < 0
    assert frame.loc["0", "logfoldchanges"] == pytest.approx(-0.5 / np.log(2), abs=0.1)
    assert np.isnan(frame.loc["1", "logfoldchanges"])


def test_a_column_that_is_read_is_not_written_over():
    adata = cvi.data.perturbation_screen(n_obs=100)
    adata.obs["otgm_state"] = adata.obs["perturbation"]
    with pytest.raises(ValueError, match="`key_added` whose slot 'otgm_state' is not read, found 'otgm'"):
        cvi.tl.otgm(adata, state_key="otgm_state", control="control", layer="log1p")


def test_slots_survive_a_file(fitted_screen, tmp_path):
    model, adata = fitted_screen
    adata.write_h5ad(tmp_path / "a.h5ad")
    again = ad.read_h5ad(tmp_path / "a.h5ad")
    frame = sc.get.rank_genes_groups_df(again, "gene1", key="otgm_rank_genes")
    assert frame["names"].tolist() == model.rank_genes("gene1")["gene"].tolist()


def test_ranked_genes_of_more_states_than_a_file_holds_are_left_to_the_model(monkeypatch):
    monkeypatch.setattr("couplevi.tl._otgm.MOST_STATES", 1)
    adata = cvi.data.perturbation_screen(n_obs=100, n_perturbations=2)
    with pytest.warns(UserWarning, match="Ranked features of 2 states are not written, as files hold up to 1"):
        model = cvi.tl.otgm(adata, **SETUP, n_pcs=5)
    assert "otgm_rank_genes" not in adata.uns
    assert len(model.rank_genes("gene1")) == adata.n_vars


def test_nothing_is_written_on_failure():
    adata = cvi.data.perturbation_screen(n_obs=100)
    for wrong, error in (
        ({"control": "x"}, ValueError),
        ({"n_pcs": 0}, ValueError),
        ({"key_added": "a/b"}, ValueError),
    ):
        with pytest.raises(error):
            cvi.tl.otgm(adata, **{**SETUP, **wrong})
    assert not adata.obsm
    assert "otgm" not in adata.uns
    assert list(adata.obs) == ["perturbation"]
