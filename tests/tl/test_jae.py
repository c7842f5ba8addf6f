import mudata as md
import numpy as np
import pytest

import couplevi as cvi

BOTH = ("rna", "atac")
QUICK = {"max_epochs": 3, "enable_progress_bar": False, "accelerator": "cpu"}


@pytest.fixture
def mdata():
    mdata = cvi.data.count_clusters(n_obs=80, n_features={"rna": 40, "atac": 20}, seed=0)
    mdata.obs["known"] = mdata.obs["cell_type"].astype(str).where(np.arange(80) % 2 == 0)
    return mdata


def test_slots_hold_what_the_model_says(mdata):
    model = cvi.tl.jae(mdata, modalities=BOTH, labels_key="known", seed=0, train_kwargs=QUICK)
    np.testing.assert_array_equal(mdata.obsm["X_jae"], model.get_latent_representation())
    for m in BOTH:
        np.testing.assert_array_equal(mdata[m].obsm["X_jae"], model.get_latent_representation(modality=m))
    p = model.predict_labels(soft=True)
    assert (mdata.obs["jae_label"] == model.predict_labels()).all()
    np.testing.assert_array_equal(mdata.obs["jae_label_confidence"], p.max(axis=1))
    np.testing.assert_array_equal(mdata.obs["jae_label_typicality"], model.get_typicality())
    np.testing.assert_array_equal(mdata.obsm["jae_label"], p)
    record = mdata.uns["jae"]
    assert record["labels"] == model.labels_
    assert (record["preset"], record["settings"]["n_free"]) == ("default", 20)
    assert len(record["losses"]["train_loss"]) == 3


def test_what_is_written_survives_a_file_and_is_read_by_others(mdata, tmp_path):
    cvi.tl.jae(mdata, modalities=BOTH, labels_key="known", seed=0, key_added="mine", train_kwargs=QUICK)
    cvi.tl.umap(mdata, key_added="mine")
    mdata.write(tmp_path / "x.h5mu")
    back = md.read_h5mu(tmp_path / "x.h5mu")
    np.testing.assert_array_equal(back.obsm["X_mine"], mdata.obsm["X_mine"])
    assert (back.obs["mine_label"] == mdata.obs["mine_label"]).all()
    assert list(back.uns["mine"]["labels"]) == list(mdata.uns["mine"]["labels"])


def test_without_labels_no_label_is_written_and_none_of_another_model_stays(mdata):
    cvi.tl.jae(mdata, modalities=BOTH, labels_key="known", seed=0, train_kwargs=QUICK)
    cvi.tl.jae(mdata, modalities=BOTH, seed=0, train_kwargs=QUICK)
    assert not [key for key in mdata.obs if key.startswith("jae")]
    assert "jae_label" not in mdata.obsm
    assert mdata.obsm["X_jae"].shape == (80, 20)


def test_the_seed_decides_and_a_failure_writes_nothing(mdata):
    results = [cvi.tl.jae(mdata, modalities=BOTH, seed=seed, train_kwargs=QUICK) for seed in (1, 1, 2)]
    a, b, c = (model.get_latent_representation() for model in results)
    np.testing.assert_array_equal(a, b)
    assert not np.allclose(a, c)
    before = mdata.copy()
    with pytest.raises(TypeError, match="Did you mean `n_free`"):
        cvi.tl.jae(mdata, modalities=BOTH, n_fre=3, key_added="other")
    assert set(mdata.obsm) == set(before.obsm)
    assert "other" not in mdata.uns


def test_labels_that_were_learned_are_not_written_over(mdata):
    mdata.obs["jae_label"] = mdata.obs.pop("known")
    known = mdata.obs["jae_label"].copy()
    with pytest.raises(
        ValueError, match="known labels in a column that is not written to, found `labels_key='jae_label'`"
    ):
        cvi.tl.jae(mdata, modalities=BOTH, labels_key="jae_label", train_kwargs=QUICK)
    assert "_scvi_uuid" not in mdata.uns
    cvi.tl.jae(mdata, modalities=BOTH, labels_key="jae_label", key_added="again", train_kwargs=QUICK)
    assert mdata.obs["jae_label"].equals(known)
