import anndata as ad
import mudata as md
import numpy as np
import pandas as pd
import pytest
import torch

import couplevi as cvi
from couplevi.tl._cplmixvae import compared

QUICK = {"max_epochs": 5, "prune": False, "enable_progress_bar": False, "accelerator": "cpu"}
LAYERS = {"rna": "log1p", "atac": "log1p"}


@pytest.fixture
def counts():
    return cvi.data.count_clusters(n_obs=200, seed=0)


def test_slots_of_an_anndata_are_those_of_the_model(counts):
    adata = counts["rna"].copy()
    model = cvi.tl.cplmixvae(adata, n_categories=5, layers="log1p", seed=0, train_kwargs=QUICK)
    np.testing.assert_allclose(adata.obsm["X_cplmixvae"], model.predict_probabilities())
    assert (adata.obs["cplmixvae_category"] == model.predict()).all()
    assert adata.obs["cplmixvae_category"].dtype == "category"
    np.testing.assert_allclose(adata.obs["cplmixvae_confidence"], adata.obsm["X_cplmixvae"].max(axis=1))
    np.testing.assert_array_equal(adata.obsm["X_cplmixvae_state"], model.get_latent_representation())
    np.testing.assert_array_equal(adata.uns["cplmixvae"]["consensus"], model.consensus_matrix())
    assert adata.uns["cplmixvae"]["pruning"]["n_categories"].tolist() == [5]


def test_of_several_trainings_the_most_typical_is_kept(counts):
    adata = counts["rna"].copy()
    model = cvi.tl.cplmixvae(adata, n_categories=6, n_init=3, layers="log1p", seed=0, train_kwargs=QUICK)
    assert (adata.obs["cplmixvae_category"] == model.predict()).all()
    stability = adata.obs["cplmixvae_stability"]
    assert set(stability.unique()) <= {0.0, 0.5, 1.0}
    assert 0.3 < stability.mean() <= 1
    cvi.tl.cplmixvae(adata, n_categories=6, layers="log1p", seed=0, key_added="one", train_kwargs=QUICK)
    assert "one_stability" not in adata.obs
    cvi.tl.cplmixvae(adata, n_categories=6, layers="log1p", seed=0, train_kwargs=QUICK)
    assert "cplmixvae_stability" not in adata.obs  # that of other categories
    with pytest.raises(ValueError, match="`n_init`"):
        cvi.tl.cplmixvae(adata, n_categories=6, n_init=0)


def test_labels_of_some_cells_name_categories(counts):
    mdata = counts.copy()
    known = np.arange(mdata.n_obs) % 4 == 0
    mdata.obs["known"] = mdata.obs["cell_type"].astype(str).where(known, "unknown")
    quick = {**QUICK, "max_epochs": 20}
    cvi.tl.cplmixvae(
        mdata, n_categories=8, modalities=("rna", "atac"), layers=LAYERS, labels_key="known", seed=0, train_kwargs=quick
    )
    of_known = mdata.obs["known"] != "unknown"
    found = mdata.obs["cplmixvae_category"].astype(str)
    assert (found == mdata.obs["known"])[of_known].mean() > 0.95
    assert set(mdata.obs["known"][of_known]) <= set(mdata.uns["cplmixvae"]["categories"])
    assert (found == mdata.obs["cell_type"].astype(str))[~of_known].mean() > 0.9


def categories(*values):
    return pd.Series(pd.Categorical.from_codes(list(values), ["0", "1", "2"]), [f"c{i}" for i in range(len(values))])


def test_stability_is_the_share_of_other_trainings_that_agree():
    """The second and third differ in one cell; the first parts what they do not. The last cell has no category."""
    runs = [categories(0, 1, 2, 2, 1, -1), categories(2, 2, 0, 0, 1, -1), categories(1, 1, 2, 2, 2, -1)]
    kept, stability = compared(runs)
    assert kept == 1
    np.testing.assert_array_equal(stability, [1, 0.5, 1, 1, 0.5, np.nan])
    assert list(stability.index) == [f"c{i}" for i in range(6)]


def test_a_single_training_has_nothing_to_agree_with():
    kept, stability = compared([categories(0, 1, -1)])
    assert kept == 0
    assert stability.isna().all()


def test_slots_of_a_mudata(counts):
    mdata = md.MuData({"rna": counts["rna"][:150].copy(), "atac": counts["atac"][50:].copy()})
    cvi.tl.cplmixvae(
        mdata, n_categories=5, modalities=("rna", "atac"), layers=LAYERS, key_added="types", train_kwargs=QUICK
    )
    assert mdata.obs["types_category"].notna().all()
    assert mdata.obsm["X_types"].shape == (mdata.n_obs, 5)
    assert mdata.obsm["X_types_state"].shape == (mdata.n_obs, 6)
    rows = mdata.obs_names.get_indexer(mdata["atac"].obs_names)
    np.testing.assert_array_equal(mdata["atac"].obsm["X_types_state"], mdata.obsm["X_types_state"][rows, :3])


def test_cells_with_none_of_the_modalities_have_no_category(counts):
    """As its docstring says; they are in the MuData for a modality that is not modelled."""
    third = ad.AnnData(np.ones((20, 3), dtype=np.float32), pd.DataFrame(index=[f"other{i}" for i in range(20)]))
    mdata = md.MuData({"rna": counts["rna"].copy(), "atac": counts["atac"].copy(), "third": third})
    cvi.tl.cplmixvae(mdata, n_categories=4, modalities=("rna", "atac"), layers=LAYERS, n_init=2, train_kwargs=QUICK)
    without = mdata.obs_names.isin(third.obs_names)
    for column in ("cplmixvae_category", "cplmixvae_confidence", "cplmixvae_stability"):
        np.testing.assert_array_equal(mdata.obs[column].isna(), without)
    assert np.isnan(mdata.obsm["X_cplmixvae"][without]).all()
    sizes = mdata.obs["cplmixvae_category"].value_counts(sort=False)
    assert sizes.sum() == 200
    assert sizes.is_monotonic_decreasing


def test_slots_survive_a_file(counts, tmp_path):
    cvi.tl.cplmixvae(counts, n_categories=4, modalities=("rna", "atac"), layers=LAYERS, train_kwargs=QUICK)
    counts.write(tmp_path / "x.h5mu")
    back = md.read_h5mu(tmp_path / "x.h5mu")
    assert (back.obs["cplmixvae_category"] == counts.obs["cplmixvae_category"]).all()
    np.testing.assert_array_equal(back.obsm["X_cplmixvae"], counts.obsm["X_cplmixvae"])
    assert back.uns["cplmixvae"]["settings"]["n_categories"] == 4
    assert list(back.uns["cplmixvae"]["categories"]) == ["0", "1", "2", "3"]
    adata = counts["rna"].copy()
    cvi.tl.cplmixvae(adata, n_categories=4, likelihood="nb", n_arms=1, train_kwargs=QUICK)
    adata.write(tmp_path / "x.h5ad")
    assert "consensus" not in ad.read_h5ad(tmp_path / "x.h5ad").uns["cplmixvae"]  # of a single arm


def test_seed_reproduces_and_leaves_the_random_state(counts):
    a, b = counts["rna"].copy(), counts["rna"].copy()
    state = torch.get_rng_state()
    for data in (a, b):
        cvi.tl.cplmixvae(data, n_categories=4, layers="log1p", seed=3, train_kwargs=QUICK)
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(a.obsm["X_cplmixvae"], b.obsm["X_cplmixvae"])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"modalities": ("rna", "atac")}, ValueError, "no `modalities` for an AnnData"),
        ({"correspondence_key": "links"}, ValueError, "no `correspondence_key` for an AnnData"),
        ({"layers": {"rna": "log1p"}}, TypeError, "`layers` of an AnnData to be a name"),
        ({"layers": "missing"}, KeyError, "missing"),
        ({"n_arms": 0}, ValueError, "`n_arms`"),
    ],
)
def test_bad_arguments_for_an_anndata_write_nothing(counts, arguments, error, message):
    adata = counts["rna"].copy()
    before = set(adata.obs), set(adata.obsm)
    with pytest.raises(error, match=message):
        cvi.tl.cplmixvae(adata, **{"n_categories": 3, "train_kwargs": QUICK, **arguments})
    assert (set(adata.obs), set(adata.obsm)) == before


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, ValueError, "`modalities` of a MuData"),
        ({"modalities": ("rna", "atac"), "layers": "log1p"}, TypeError, "`layers` to map modalities to keys"),
        ({"modalities": ("rna",)}, ValueError, "at least two `modalities`"),
        ({"modalities": ("rna", "protein")}, KeyError, "protein"),
    ],
)
def test_bad_arguments_for_a_mudata(counts, arguments, error, message):
    with pytest.raises(error, match=message):
        cvi.tl.cplmixvae(counts, **{"n_categories": 3, "train_kwargs": QUICK, **arguments})
