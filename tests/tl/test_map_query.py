import mudata as md
import numpy as np
import pytest

import couplevi as cvi

BOTH = ("rna", "ephys")


@pytest.fixture(scope="module")
def reference():
    mdata = cvi.data.branching_manifold(n_obs=200, n_features={"rna": 30, "ephys": 8}, noise=0.3, seed=1)
    mdata.obs["donor"] = ["a"] * 140 + ["b"] * 60
    known, new = mdata[:140].copy(), mdata[140:].copy()
    train = {"enable_progress_bar": False, "accelerator": "cpu"}
    model = cvi.tl.jamie(known, modalities=BOTH, batch_key="donor", seed=0, n_steps=200, train_kwargs=train)
    return model, known, new


def test_slots_of_the_query_are_those_of_a_training(reference, quick):
    model, known, new = reference
    query = md.MuData({"rna": new["rna"].copy()})
    query.obs["donor"] = "b"
    mapped = cvi.tl.map_query(query, model, seed=0, train_kwargs=quick)
    assert set(query.obsm) >= {"X_jamie", "X_jamie_shared"}
    np.testing.assert_array_equal(query.obsm["X_jamie"], mapped.get_latent_representation(part="joint"))
    np.testing.assert_array_equal(query["rna"].obsm["X_jamie"], mapped.get_latent_representation(modality="rna"))
    assert query.uns["jamie"]["modalities"] == ["rna"]
    assert list(query.uns["jamie"]["var_names"]) == ["rna"]
    cvi.tl.umap(query, seed=0)
    assert query["rna"].obsm["X_jamie_umap"].shape == (60, 2)
    assert query.uns["jamie"].keys() == known.uns["jamie"].keys() - {"inferred"}
    again = md.MuData({"rna": new["rna"].copy()})
    again.obs["donor"] = "b"
    cvi.tl.map_query(again, model, seed=0, train_kwargs=quick)
    np.testing.assert_array_equal(again.obsm["X_jamie"], query.obsm["X_jamie"])


def test_labels_of_the_reference_are_carried_over(reference, quick):
    model, known, new = reference
    query = md.MuData({"rna": new["rna"].copy()})
    query.obs["donor"] = "b"
    mapped = cvi.tl.map_query(query, model, seed=0, train_kwargs=quick)
    before = known.obs.copy()
    cvi.tl.predict_labels(query, mapped, labels="cell_type", reference=known)
    truth = new.obs.loc[query.obs_names, "cell_type"].astype(str)
    assert (query.obs["jamie_cell_type"].astype(str) == truth).mean() > 0.85
    assert known.obs.equals(before)
    e = cvi.tl.explain(query, mapped, source="rna", target="cell_type", cells=query.obs_names[:3], progress_bar=False)
    assert e.values.shape == (3, 30, 3)


def test_data_of_a_known_donor_are_placed_without_training(reference):
    model, known, new = reference
    query = new.copy()
    query.obs["donor"] = "a"
    with pytest.warns(UserWarning, match=r"Nothing was fitted to these cells, as they are of batches .* \['a'\]"):
        mapped = cvi.tl.map_query(query, model, key_added="mapped")
    np.testing.assert_array_equal(query.obsm["X_mapped"], model.get_latent_representation(query, part="joint"))
    assert not mapped.history


def test_nothing_is_written_on_failure(reference):
    model, known, new = reference
    query = new.copy()
    with pytest.raises(ValueError, match="max_epochs"):
        cvi.tl.map_query(query, model, train_kwargs={"max_epochs": 0})
    assert "X_jamie" not in query.obsm
    with pytest.raises(ValueError, match="key_added"):
        cvi.tl.map_query(query, model, key_added="a/b")


@pytest.mark.parametrize("saved", [False, True])
def test_a_joint_autoencoder_is_mapped_and_names_the_cells(saved, tmp_path):
    mdata = cvi.data.count_clusters(n_obs=200, n_features={"rna": 40, "atac": 20}, seed=2)
    mdata.obs["donor"] = ["a"] * 140 + ["b"] * 60
    known, new = mdata[:140].copy(), mdata[140:].copy()
    train = {"enable_progress_bar": False, "accelerator": "cpu", "max_epochs": 40}
    keys = {"batch_key": "donor", "labels_key": "cell_type"}
    model = cvi.tl.jae(known, modalities=("rna", "atac"), **keys, seed=0, train_kwargs=train)
    if saved:
        model.save(tmp_path / "reference")
    query = new.copy()
    del query.obs["cell_type"]
    mapped = cvi.tl.map_query(query, tmp_path / "reference" if saved else model, seed=0, train_kwargs=train)
    assert isinstance(mapped, cvi.model.JAE)
    np.testing.assert_array_equal(query.obsm["X_jae"], mapped.get_latent_representation())
    assert (query.obs["jae_label"].astype(str) == new.obs["cell_type"].astype(str)).mean() > 0.9
    assert "jamie" not in query.uns
