import re
import warnings

import anndata as ad
import mudata as md
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
from small import FEW, QUICK, fit_mixture, planted

import couplevi as cvi
from couplevi.model import CplMixVAE
from couplevi.model.cplmixvae.module import CplMixVAEModule
from couplevi.model.cplmixvae.start import renumbered
from couplevi.preparation import fingerprints


def test_planted_types_and_gradients_are_found(pruned, adata):
    assert len(pruned.categories_) == 3
    assert adjusted_rand_score(adata.obs["type"], pruned.predict()) > 0.95
    state = pruned.get_latent_representation()
    for kind in adata.obs["type"].unique():
        own = (adata.obs["type"] == kind).to_numpy()
        r = [abs(np.corrcoef(state[own, d], adata.obs["gradient"][own])[0, 1]) for d in range(2)]
        assert max(r) > 0.7


def test_history_of_pruning_goes_down_by_one_and_marks_the_kept_round(pruned):
    history = pruned.pruning_history
    n = history["n_categories"].to_numpy()
    assert n[0] == 6
    assert (np.diff(n) == -1).all()
    assert history["selected"].sum() == 1
    assert history.loc[history["selected"], "n_categories"].item() == len(pruned.categories_)
    assert history["elbo_shortfall"].min() == 0
    assert history.loc[history["n_categories"] == 2, "elbo_shortfall"].item() > 0.5
    history["n_categories"] = 0
    assert pruned.pruning_history["n_categories"].max() == 6


def test_pruned_categories_are_never_predicted(pruned):
    assert pruned.module.active.sum() == 3
    n_read = pruned.module.observation("adata").n_prepared + 2
    q = pruned.module.log_probabilities("adata", 0, torch.randn(50, n_read)).exp()
    assert (q[:, ~pruned.module.active] == 0).all()


def test_categories_are_numbered_by_size(pruned):
    sizes = pruned.predict().value_counts().sort_index()
    assert sizes.index.tolist() == ["0", "1", "2"]
    assert sizes.is_monotonic_decreasing


@pytest.fixture(scope="module")
def told(adata):
    """A tenth of the cells of two of the three types have a label."""
    adata = adata.copy()
    rng = np.random.default_rng(0)
    known = (rng.random(adata.n_obs) < 0.1) & (adata.obs["type"] != "2").to_numpy()
    adata.obs["known"] = adata.obs["type"].map({"0": "Sst", "1": "Vip"}).where(known)
    torch.manual_seed(0)
    CplMixVAE.setup_anndata(adata, labels_key="known")
    model = CplMixVAE(adata, 6, batch_size=128)
    model.train(**{**FEW, "max_epochs_prune": 10})
    return model, adata


def test_categories_of_labels_have_their_names_and_others_numbers(told):
    model, adata = told
    found = model.predict()
    assert set(found.cat.categories) == {"Sst", "Vip", "0"}
    expected = adata.obs["type"].map({"0": "Sst", "1": "Vip", "2": "0"})
    assert (found.astype(str) == expected).mean() > 0.99
    assert model.traverse_state("Vip").shape == (9, 40)
    assert list(model.consensus_matrix().index) == list(found.cat.categories)


def test_new_cells_need_no_labels(told):
    model, adata = told
    query = adata[:20].copy()
    del query.obs["known"]
    assert model.predict(query).equals(model.predict()[:20])


def test_labels_outlive_a_file(told, tmp_path):
    model, adata = told
    model.save(tmp_path / "model")
    pd.testing.assert_series_equal(CplMixVAE.load(tmp_path / "model", adata=adata).predict(), model.predict())


def test_categories_of_labels_are_not_removed(adata):
    """Labels that say nothing about the cells: each keeps its category where pruning would have two."""
    adata = adata.copy()
    adata.obs["known"] = np.array(["a", "b", "c", "d"])[np.arange(adata.n_obs) % 4]
    CplMixVAE.setup_anndata(adata, labels_key="known")
    model = CplMixVAE(adata, 8, batch_size=128)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.train(**{**FEW, "max_epochs": 4, "max_epochs_prune": 1}, min_consensus=0.0)
    assert model.pruning_history["n_categories"].min() >= 4
    assert {"a", "b", "c", "d"} <= set(model.predict_probabilities().columns)


def test_labels_of_held_out_cells_alone_are_named_and_do_not_end_pruning(adata):
    adata = adata[:200].copy()
    held_out = np.argsort(fingerprints(adata.X), kind="stable")[-4:]  # of a split in the order of values
    adata.obs["known"] = pd.Series(list("abcd"), adata.obs_names[held_out], dtype=object).reindex(adata.obs_names)
    CplMixVAE.setup_anndata(adata, labels_key="known")
    torch.manual_seed(0)
    model = CplMixVAE(adata, 9, batch_size=64)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.train(
            **{**FEW, "max_epochs": 5, "max_epochs_prune": 5},
            min_consensus=0.0,
            datasplitter_kwargs={"shuffle_set_split": False},
        )
    assert not set("abcd") & set(model.predict_probabilities())
    assert any("no cell trained on has: ['a', 'b', 'c', 'd']" in str(w.message) for w in caught)
    assert model.pruning_history["n_categories"].tolist()[:2] == [4, 3]


def test_one_label_in_all_communities_leaves_one_category(adata):
    adata = adata[:200].copy()
    adata.obs["known"] = "all alike"
    CplMixVAE.setup_anndata(adata, labels_key="known")
    model = CplMixVAE(adata, 4, batch_size=64)
    with pytest.warns(UserWarning, match="categories have collapsed: 1 of 1 are used"):
        model.train(**{**FEW, "max_epochs": 4})
    assert (model.predict() == "all alike").all()
    np.testing.assert_allclose(model.predict_probabilities(), 1)


def test_labels_that_cannot_be_categories(adata):
    adata = adata.copy()
    adata.obs["many"] = [f"kind{i % 5}" for i in range(adata.n_obs)]
    CplMixVAE.setup_anndata(adata, labels_key="many")
    with pytest.raises(ValueError, match=r"more categories than the 5 labels, found 5. Pass `n_categories=6`"):
        CplMixVAE(adata, 5)
    adata.obs["size"] = np.linspace(0, 1, adata.n_obs)
    with pytest.raises(ValueError, match="labels in column 'size'"):
        CplMixVAE.setup_anndata(adata, labels_key="size")
    with pytest.raises(KeyError, match="column 'absent'"):
        CplMixVAE.setup_anndata(adata, labels_key="absent")


def test_cells_between_categories_are_unknown(pruned, adata):
    between = adata[:40].copy()
    kinds = [adata.X[(adata.obs["type"] == k).to_numpy()].mean(axis=0) for k in ("0", "1")]
    between.X = np.linspace(0, 1, 40)[:, None] * kinds[0] + np.linspace(1, 0, 40)[:, None] * kinds[1]
    largest = pruned.predict_probabilities(between).max(axis=1)
    found = pruned.predict(between, unknown_below=0.9)
    np.testing.assert_array_equal(found == "unknown", largest < 0.9)
    assert 0 < (found == "unknown").sum() < 20
    known = found != "unknown"
    np.testing.assert_array_equal(found[known], pruned.predict(between)[known])
    with pytest.raises(ValueError, match="`unknown_below`"):
        pruned.predict(unknown_below=1.1)


def test_new_cells_by_feature_name(pruned, adata):
    query = adata[::7, ::-1].copy()
    query = ad.concat([query, ad.AnnData(np.ones((query.n_obs, 1)), query.obs, pd.DataFrame(index=["x"]))], axis=1)
    query = query[:, ["x", *adata.var_names[::-1]]].copy()
    np.testing.assert_allclose(pruned.predict_probabilities(query), pruned.predict_probabilities().iloc[::7], atol=1e-5)
    np.testing.assert_allclose(
        pruned.get_latent_representation(query), pruned.get_latent_representation()[::7], atol=1e-5
    )
    with pytest.raises(ValueError, match=r"all 40 features .* 9 missing: \['gene3', "):
        pruned.predict(adata[:, [*range(3), *range(12, 40)]].copy())


def test_traversal_follows_the_planted_gradient(pruned, adata):
    """Along the state that follows the gradient, features change by their slope."""
    state = pruned.get_latent_representation()
    own = (pruned.predict() == "0").to_numpy()
    gradient = adata.obs["gradient"].to_numpy()[own]
    r = [np.corrcoef(state[own, d], gradient)[0, 1] for d in range(2)]
    path = pruned.traverse_state("0", dimension=int(np.argmax(np.abs(r))), n_steps=5)
    assert path.shape == (5, 40)
    slope = np.polyfit(gradient, np.asarray(adata.X)[own], 1)[0]
    change = (path.iloc[-1] - path.iloc[0]).to_numpy() * np.sign(r[int(np.argmax(np.abs(r)))])
    assert np.corrcoef(change, slope)[0, 1] > 0.95
    np.testing.assert_allclose(np.diff(path.to_numpy(), axis=0, n=2), 0, atol=1e-4)  # affine
    low, high = path.index[[0, -1]]
    assert np.quantile(state[own], 0.0) <= low < high <= np.quantile(state[own], 1.0)


def test_features_are_ranked_by_the_planted_gradient(pruned, adata):
    own = (pruned.predict() == "0").to_numpy()
    x, gradient = np.asarray(adata.X)[own], adata.obs["gradient"].to_numpy()[own]
    state = pruned.get_latent_representation()[own]
    r = [np.corrcoef(state[:, d], gradient)[0, 1] for d in range(2)]
    best = int(np.argmax(np.abs(r)))
    ranked = pruned.rank_features("0", dimension=best)
    assert list(ranked.columns) == ["names", "scores", "logfoldchanges", "pvals", "pvals_adj"]
    assert ranked["scores"].abs().is_monotonic_decreasing
    slope = pd.Series(np.polyfit(gradient, x, 1)[0], adata.var_names)
    along = ranked.set_index("names")["logfoldchanges"].loc[adata.var_names] * np.sign(r[best])
    assert np.corrcoef(along, slope)[0, 1] > 0.95
    with pytest.raises(ValueError, match="`dimension`"):
        pruned.rank_features("0", dimension=9)


def test_a_state_needs_three_cells(pruned, monkeypatch):
    monkeypatch.setattr(pruned, "_states_of", lambda *_: (None, np.zeros((2, 3))))
    with pytest.raises(ValueError, match="three or more cells of category '0', found 2"):
        pruned.rank_features("0")


def test_elbo_is_better_for_the_data_than_for_noise(pruned, adata):
    noise = adata.copy()
    noise.X = np.random.default_rng(0).permuted(adata.X, axis=0)
    assert pruned.get_elbo() > pruned.get_elbo(noise) + 5


def test_arms_of_two_modalities_share_categories(joint):
    model, mdata = joint
    assert adjusted_rand_score(mdata.obs["type"], model.predict()) > 0.9
    a, b = (model.predict(mdata, modality=m) for m in ("a", "b"))
    both = a.notna() & b.notna()
    assert 0 < both.sum() < mdata.n_obs
    assert adjusted_rand_score(a[both], b[both]) > 0.8
    between = model.consensus_matrix(between=("b", "a"))
    np.testing.assert_allclose(between, model.consensus_matrix(between=("a", "b")).T)
    assert np.diag(between).mean() > 0.8


def test_traversal_of_a_modality(joint):
    model, _ = joint
    assert list(model.traverse_state("0", modality="b").columns) == [f"b{j}" for j in range(12)]
    with pytest.raises(ValueError, match="`modality` to be one of"):
        model.traverse_state("0")


def test_traversal_needs_cells_of_the_category_in_the_modality(joint, monkeypatch):
    model, _ = joint
    names = model.predict()
    monkeypatch.setattr(model, "predict", lambda: names.where(names != "0", "1"))
    with pytest.raises(ValueError, match="cells of category '0' that were measured in 'b', found none"):
        model.traverse_state("0", modality="b")


def test_unlinked_modalities_are_warned_about_and_still_train():
    a, b = planted(80), planted(80, n_features=12)
    b.obs_names, b.var_names = [f"other{i}" for i in range(80)], [f"b{j}" for j in range(12)]
    mdata = md.MuData({"a": a, "b": b})
    with pytest.warns(UserWarning, match="No profile of .* is linked"):
        CplMixVAE.setup_mudata(mdata, modalities=("a", "b"))
    model = CplMixVAE(mdata, 3, batch_size=64)
    model.train(**QUICK)
    assert model.predict().notna().all()


def test_types_are_told_by_what_ties_them(adata):
    """Started at six categories; the three of the types are the first that are trained."""
    model = fit_mixture(adata, 6, {**FEW, "max_epochs_prune": 10})
    assert model.pruning_history["n_categories"].tolist() == [3, 2]
    assert adjusted_rand_score(adata.obs["type"], model.predict()) > 0.99


def test_connectivity_out_of_range(adata):
    CplMixVAE.setup_anndata(adata)
    with pytest.raises(ValueError, match="`max_connectivity` .*found 1.5"):
        CplMixVAE(adata, 3).train(max_connectivity=1.5)


@pytest.mark.parametrize("n_arms", [1, 3])
def test_any_number_of_arms(adata, n_arms):
    model = fit_mixture(adata, 3, {**QUICK, "max_epochs": 30}, n_arms=n_arms)
    assert adjusted_rand_score(adata.obs["type"], model.predict()) > 0.8
    if n_arms == 1:
        assert model.pruning_history["consensus"].isna().all()
        with pytest.raises(ValueError, match="arms that saw the same cells"):
            model.consensus_matrix()
    else:
        assert model.consensus_matrix().to_numpy().diagonal().mean() > 0.9


@pytest.mark.parametrize("likelihood", ["nb", "zinb"])
def test_counts(likelihood):
    mdata = cvi.data.count_clusters(n_obs=300, seed=0)
    adata = mdata["rna"]
    adata.X = sp.csr_matrix(adata.X)
    model = fit_mixture(adata, 5, {**QUICK, "max_epochs": 60}, likelihood=likelihood)
    assert adjusted_rand_score(mdata.obs["cell_type"].loc[adata.obs_names], model.predict()) > 0.8
    path = model.traverse_state("0")
    total = path.sum(axis=1).to_numpy()
    np.testing.assert_allclose(total, 1e4, rtol=1e-3 if likelihood == "nb" else 0.2)
    assert (total <= 1e4 * 1.001).all()  # zero inflation takes from the expected counts
    dense = adata.copy()
    dense.X = dense.X.toarray()
    np.testing.assert_allclose(model.predict_probabilities(dense), model.predict_probabilities(), atol=1e-5)


def test_likelihood_by_modality():
    rna = cvi.data.count_clusters(n_obs=100, seed=0)["rna"]
    other = planted(100, n_features=8)
    other.obs_names = rna.obs_names
    mdata = md.MuData({"rna": rna, "other": other})
    CplMixVAE.setup_mudata(mdata, modalities=("rna", "other"))
    model = CplMixVAE(mdata, 3, likelihood={"rna": "nb"}, batch_size=64)
    model.train(**QUICK)
    assert model.module.reads_features("rna")
    assert not model.module.reads_features("other")
    with pytest.raises(ValueError, match="`likelihood` to be one of"):
        CplMixVAE(mdata, 3, likelihood={"protein": "nb"})


@pytest.mark.parametrize("coupling", ["euclidean", "aitchison", "minimum_variance"])
def test_coupling_brings_arms_together(monkeypatch, coupling):
    """A continuum without types is cut at will, each arm in its own way at the start, unless the arms have to agree."""
    start, first = CplMixVAEModule.start, []

    def start_anywhere(module, modality, arm, x, labels):
        own = KMeans(8, n_init=1, random_state=arm).fit_predict(x)
        first[arm:] = [own]
        shared = np.zeros((8, 8))
        np.add.at(shared, (own, first[0]), 1)
        start(module, modality, arm, x, torch.from_numpy(renumbered(own, shared)))

    monkeypatch.setattr(CplMixVAEModule, "start", start_anywhere)
    continuum = planted(n_types=1)
    apart, together = (
        fit_mixture(continuum, 8, {**QUICK, "max_epochs": 60}, coupling=coupling, coupling_weight=w)
        for w in (0.0, None)
    )
    distance = [m.history["coupling_train"].iloc[-1, 0] for m in (apart, together)]
    assert distance[1] < 0.8 * distance[0]
    difference = [
        (m.predict_probabilities(arm=0) - m.predict_probabilities(arm=1)).abs().to_numpy().mean()
        for m in (apart, together)
    ]
    assert difference[1] < 0.9 * difference[0]


def test_same_seed_same_result_and_other_seed_another(adata):
    a, b, c = (fit_mixture(adata, 4, seed=seed).predict_probabilities() for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(a, b)
    assert not np.allclose(a, c)


def test_order_and_storage_of_cells_do_not_matter(adata):
    other = adata[::-1].copy()
    other.X = sp.csr_matrix(other.X)
    a, b = fit_mixture(adata).predict_probabilities(), fit_mixture(other).predict_probabilities()
    np.testing.assert_allclose(a, b.loc[a.index], atol=1e-4)


def test_saved_model_keeps_mask_and_names(pruned, adata, tmp_path):
    pruned.save(tmp_path / "model", save_anndata=True)
    loaded = CplMixVAE.load(tmp_path / "model", accelerator="cpu")
    torch.testing.assert_close(loaded.module.active, pruned.module.active)
    pd.testing.assert_frame_equal(loaded.predict_probabilities(), pruned.predict_probabilities())
    np.testing.assert_array_equal(loaded.get_latent_representation(), pruned.get_latent_representation())
    pd.testing.assert_frame_equal(loaded.pruning_history, pruned.pruning_history)
    without = CplMixVAE.load(tmp_path / "model", adata=False, accelerator="cpu")
    query = adata[:20].copy()
    pd.testing.assert_frame_equal(without.predict_probabilities(query), pruned.predict_probabilities(query))
    with pytest.raises(ValueError, match="Expected a JAMIE model, found a CplMixVAE model"):
        cvi.model.JAMIE.load(tmp_path / "model")


def test_saved_joint_model(joint, tmp_path):
    model, mdata = joint
    model.save(tmp_path / "model")
    loaded = CplMixVAE.load(tmp_path / "model", adata=mdata.copy(), accelerator="cpu")
    pd.testing.assert_frame_equal(loaded.predict_probabilities(), model.predict_probabilities())


def test_saving_the_data_of_one_kind_replaces_that_of_the_other(pruned, joint, tmp_path):
    joint[0].save(tmp_path / "model", save_anndata=True)
    pruned.save(tmp_path / "model", overwrite=True, save_anndata=True)
    assert sorted(p.name for p in (tmp_path / "model").iterdir()) == ["adata.h5ad", "model.pt"]
    assert len(CplMixVAE.load(tmp_path / "model").categories_) == 3


def test_second_training_goes_on(adata):
    model = fit_mixture(adata, 4)
    before = model.module.observation("adata").preparation.mean.clone()
    elbo = model.get_elbo()
    model.train(**{**QUICK, "max_epochs": 20})
    assert model.get_elbo() > elbo
    torch.testing.assert_close(model.module.observation("adata").preparation.mean, before)


def test_data_are_not_changed(adata):
    given = adata.copy()
    fit_mixture(given)
    assert set(given.uns) == {"_scvi_uuid", "_scvi_manager_uuid"}
    np.testing.assert_array_equal(given.X, adata.X)
    assert list(given.obs) == list(adata.obs)
    assert not given.obsm


def test_bad_data_are_refused(adata):
    with pytest.raises(TypeError, match="Expected an AnnData, found pandas"):
        CplMixVAE.setup_anndata(adata.to_df())
    with pytest.raises(TypeError, match="For a MuData call `setup_mudata`"):
        CplMixVAE.setup_anndata(md.MuData({"a": adata.copy()}))
    with pytest.raises(TypeError, match="Expected a MuData"):
        CplMixVAE.setup_mudata(adata, modalities=("a", "b"))
    with pytest.raises(ValueError, match="a view of another one"):
        CplMixVAE.setup_anndata(adata[:10])
    with pytest.raises(ValueError, match="at least two cells"):
        CplMixVAE.setup_anndata(adata[:1].copy())
    with pytest.raises(KeyError, match=re.escape("layers['counts']")):
        CplMixVAE.setup_anndata(adata, layer="counts")
    with pytest.raises(ValueError, match="a layer or a representation"):
        CplMixVAE.setup_anndata(adata, layer="x", use_rep="y")
    with pytest.raises(KeyError, match="column 'donor' in `adata.obs`"):
        CplMixVAE.setup_anndata(adata, batch_key="donor")
    double = adata.copy()
    double.obs_names = ["same", "same", *double.obs_names[2:]]
    with pytest.raises(ValueError, match="each cell once"):
        CplMixVAE.setup_anndata(double)
    double = adata.copy()
    double.var_names = ["same", "same", *double.var_names[2:]]
    with pytest.raises(ValueError, match="each feature once"):
        CplMixVAE.setup_anndata(double)
    nan = adata.copy()
    nan.X[0, 0] = np.nan
    with pytest.raises(ValueError, match="finite values in `X`"):
        CplMixVAE.setup_anndata(nan)
    with pytest.raises(ValueError, match=re.escape("Call `CplMixVAE.setup_anndata(adata, ...)`")):
        CplMixVAE(planted(10), 3)


def test_representation_and_layer():
    adata = planted(80)
    adata.layers["scaled"] = adata.X * 2
    adata.obsm["pca"] = np.asarray(adata.X[:, :10])
    CplMixVAE.setup_anndata(adata, use_rep="pca")
    model = CplMixVAE(adata, 3, batch_size=64)
    assert model.var_names_["adata"][:2] == ("pca_0", "pca_1")
    model.train(**QUICK)
    CplMixVAE.setup_anndata(adata, layer="scaled")
    model = CplMixVAE(adata, 3, batch_size=64)
    model.train(**QUICK)
    np.testing.assert_allclose(model.module.observation("adata").preparation.mean, 2 * adata.X.mean(axis=0), atol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.predict(arm=2), "`arm` to be one of"),
        (lambda m: m.get_latent_representation(arm=-1), "`arm` to be a whole number"),
        (lambda m: m.get_latent_representation(arm=None), "`arm` to be a whole number"),
        (lambda m: m.traverse_state("0", dimension=1.0), "`dimension` to be a whole number"),
        (lambda m: m.consensus_matrix(between=3), "`between` to be two of"),
        (lambda m: m.consensus_matrix(between=(["a"], "b")), "`between` to be two of"),
        (lambda m: m.predict(modality="rna"), "`modality` to be one of"),
        (lambda m: m.traverse_state("9"), "`category` to be one of"),
        (lambda m: m.traverse_state("0", dimension=3), "`dimension` to be one of"),
        (lambda m: m.traverse_state("0", n_steps=1), "`n_steps`"),
        (lambda m: m.consensus_matrix(between=("a", "b")), "`between` to be two of"),
        (lambda m: m.predict("cells.h5ad"), "Expected an AnnData or a MuData, found str"),
    ],
)
def test_bad_questions(pruned, call, message):
    with pytest.raises(ValueError, match=message):
        call(pruned)


def test_joint_model_wants_to_know_what_an_anndata_holds(joint):
    model, mdata = joint
    with pytest.raises(ValueError, match="a MuData, or an AnnData of one modality"):
        model.predict(mdata["a"])
    with pytest.raises(ValueError, match="one of the modalities"):
        model.predict(md.MuData({"c": mdata["a"].copy()}))


def test_augmented_training_still_finds_the_types(adata):
    model = fit_mixture(adata, 3, {**QUICK, "max_epochs": 30}, augmentation_rate=0.3)
    assert adjusted_rand_score(adata.obs["type"], model.predict()) > 0.9


def test_queries_that_cannot_be_answered(pruned, adata):
    double = adata[:4].copy()
    double.obs_names = ["same", "same", "c", "d"]
    with pytest.raises(ValueError, match="each cell once"):
        pruned.predict(double)
    with pytest.raises(ValueError, match="at least one cell"):
        pruned.get_elbo(adata[:0].copy())
    with pytest.raises(ValueError, match=re.escape("Pass one of its modalities: `mdata[name]`")):
        pruned.consensus_matrix(md.MuData({"adata": adata.copy()}))


def test_number_of_categories_is_required(adata):
    CplMixVAE.setup_anndata(adata)
    with pytest.raises(TypeError, match="Expected `n_categories`"):
        CplMixVAE(adata)


def test_repr_and_indices_of_a_trained_model():
    adata = planted(60)
    model = fit_mixture(adata, 3, batch_size=40)
    assert repr(model) == "CplMixVAE model, 3 categories, n_arms: 2, adata: 40 features"
    np.testing.assert_array_equal(np.sort(np.r_[model.train_indices, model.validation_indices]), np.arange(60))
