import anndata as ad
import mudata as md
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp
import torch
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier

import couplevi as cvi
from couplevi._mudata import without_pulling

BOTH = ("rna", "atac")
QUICK = {"enable_progress_bar": False, "accelerator": "cpu"}
N_TYPES = 4


def donors(n=400, depth=2.0, strength=0.5, seed=0):
    """Counts of four types, weakly told apart by each modality, in cells of two donors whose genes differ."""
    rng = np.random.default_rng(seed)
    kind, donor = rng.integers(N_TYPES, size=n), np.arange(n) % 2
    parts = {}
    for m, n_vars in {"rna": 130, "atac": 60}.items():
        rate = rng.gamma(2, 1, n_vars) * np.exp(strength * rng.normal(size=(N_TYPES, n_vars)))[kind]
        rate = rate * np.exp(0.5 * rng.normal(size=(2, n_vars)))[donor]
        counts = rng.poisson(depth * rate * rng.uniform(0.5, 2, (n, 1))).astype(np.float32)
        parts[m] = ad.AnnData(sp.csr_matrix(counts), obs=pd.DataFrame(index=[f"cell{i}" for i in range(n)]))
        parts[m].var_names = [f"{m}{j}" for j in range(n_vars)]
    mdata = md.MuData(parts)
    mdata.obs["type"] = pd.Categorical([f"type{k}" for k in kind])
    mdata.obs["donor"] = np.array(["a", "b"])[donor]
    mdata.obs["known"] = mdata.obs["type"].astype(str).where(donor == 0, "unknown")
    return mdata


def fit(mdata, seed=0, train=None, modalities=BOTH, preset="default", **kwargs):
    """A model of the default length or of some epochs."""
    own = {name: kwargs.pop(name) for name in list(kwargs) if name.endswith(("_key", "_keys")) or name == "layers"}
    cvi.model.JAE.setup_mudata(mdata, modalities=modalities, **own)
    torch.manual_seed(seed)
    model = cvi.model.JAE(mdata, preset, **kwargs)
    model.train(**QUICK, **(train or {"max_epochs": 50}))
    return model


def components(mdata):
    """20 components of each modality, side by side."""
    parts = []
    for m in BOTH:
        adata = mdata[m].copy()
        sc.pp.normalize_total(adata, target_sum=1e4)
        sc.pp.log1p(adata)
        x = adata.X.toarray() - adata.X.toarray().mean(axis=0)
        u, s, _ = np.linalg.svd(x, full_matrices=False)
        parts.append((u * s)[:, :20] / np.sqrt(np.square(s).sum()))
    return np.hstack(parts)


def told(z, labels):
    return cross_val_score(KNeighborsClassifier(15), z, labels, cv=5).mean()


@pytest.fixture(scope="module")
def annotated():
    """Labels of donor a are known."""
    mdata = donors(depth=1.0, strength=0.35)
    return fit(mdata, labels_key="known", batch_key="donor"), mdata


def test_labels_of_one_donor_name_the_cells_of_the_other_better_than_their_neighbours_do(annotated):
    model, mdata = annotated
    kind, other = mdata.obs["type"].astype(str).to_numpy(), (mdata.obs["donor"] == "b").to_numpy()
    plain = components(mdata)
    neighbours = KNeighborsClassifier(15).fit(plain[~other], kind[~other]).score(plain[other], kind[other])
    accuracy = (model.predict_labels().astype(str) == kind)[other].mean()
    assert accuracy > max(0.9, neighbours + 0.03)


def test_the_embedding_knows_types_better_and_donors_less_than_components_do(annotated):
    model, mdata = annotated
    z, plain = model.get_latent_representation(), components(mdata)
    assert told(z, mdata.obs["type"]) > told(plain, mdata.obs["type"])
    assert told(plain, mdata.obs["donor"]) > 0.9
    assert told(z, mdata.obs["donor"]) < 0.65


def test_probabilities_are_those_of_the_labels_and_the_best_is_predicted(annotated):
    model, mdata = annotated
    p = model.predict_labels(soft=True)
    assert list(p.columns) == model.labels_ == ["type0", "type1", "type2", "type3"]
    assert list(p.index) == list(mdata.obs_names)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-5)
    assert (p.idxmax(axis=1) == model.predict_labels().astype(str)).all()


def test_parts_of_the_embedding_are_what_they_are_called(annotated):
    model, _ = annotated
    whole, biology, free = (model.get_latent_representation(blocks=name) for name in ("all", "biology", "free"))
    np.testing.assert_array_equal(np.hstack([biology, free]), whole)
    assert (biology.shape[1], free.shape[1]) == (4, 20)
    p = model.predict_labels(soft=True).to_numpy()
    assert np.corrcoef(biology[:, 0], p[:, 0])[0, 1] > 0.999
    np.testing.assert_array_equal(model.get_latent_representation(indices=[5, 2]), whole[[5, 2]])


def test_a_type_that_was_never_seen_is_less_typical():
    scores = []
    for left_out in (0, 2):
        mdata = donors(seed=1)
        mdata.obs["known"] = mdata.obs["known"].where(mdata.obs["type"] != f"type{left_out}", None)
        model = fit(mdata, labels_key="known", batch_key="donor", train={"max_epochs": 40})
        assert len(model.labels_) == N_TYPES - 1
        new = (mdata.obs["donor"] == "b").to_numpy()
        typicality = model.get_typicality().to_numpy()[new]
        assert ((typicality >= 0) & (typicality <= 1)).all()
        scores.append(roc_auc_score(mdata.obs["type"][new] == f"type{left_out}", -typicality))
    assert np.mean(scores) > 0.8
    unknown = model.predict_labels(unknown_below=0.05)
    assert (unknown == "unknown").equals(model.get_typicality() < 0.05)
    assert unknown.cat.categories[-1] == "unknown"


def test_typicality_of_cells_with_a_label_is_about_uniform(annotated):
    model, mdata = annotated
    known = model.get_typicality()[(mdata.obs["donor"] == "a").to_numpy()]
    assert known.mean() == pytest.approx(0.5, abs=0.1)
    assert (known < 0.05).mean() < 0.12


def test_cells_that_lack_a_modality_are_placed_among_those_that_do_not():
    mdata = donors()
    with without_pulling():
        mosaic = md.MuData({"rna": mdata["rna"][:300].copy(), "atac": mdata["atac"][100:].copy()})
    mosaic.obs = mosaic.obs.join(mdata.obs)
    model = fit(mosaic, labels_key="type", batch_key="donor")
    z = model.get_latent_representation()
    state = np.where(np.arange(400) < 100, "rna", np.where(np.arange(400) < 300, "both", "atac"))
    state = pd.Series(state, mdata.obs_names).reindex(mosaic.obs_names)
    assert np.isfinite(z).all()
    assert told(z, mosaic.obs["type"].astype(str)) > 0.9
    both = (state == "both").to_numpy()
    nearest = KNeighborsClassifier(15).fit(z[both], mosaic.obs["type"][both])
    assert nearest.score(z[~both], mosaic.obs["type"][~both]) > 0.9
    alone = model.get_latent_representation(modality="rna")
    names = mosaic["rna"].obs_names
    single = (state.reindex(names) == "rna").to_numpy()
    np.testing.assert_allclose(alone[single], z[mosaic.obs_names.get_indexer(names[single])], atol=1e-5)
    assert np.abs(alone[~single] - z[mosaic.obs_names.get_indexer(names[~single])]).max() > 0.01


def test_cells_of_other_modalities_have_no_place(annotated):
    model, mdata = annotated
    further = ad.AnnData(np.ones((3, 2), np.float32), obs=pd.DataFrame(index=["x", "y", "z"]))
    further.var_names = ["p", "q"]
    with without_pulling():
        more = md.MuData({**mdata.mod, "protein": further})
    more.obs["donor"] = mdata.obs["donor"].reindex(more.obs_names).fillna("a")
    rows = more.obs_names.isin(["x", "y", "z"])
    z, labels = model.get_latent_representation(more), model.predict_labels(more, unknown_below=0.1)
    assert np.isnan(z[rows]).all()
    assert np.isfinite(z[~rows]).all()
    assert labels.isna().to_numpy().tolist() == rows.tolist()
    assert model.get_typicality(more).isna().to_numpy().tolist() == rows.tolist()


def test_cells_of_a_modality_that_has_none_of_them_are_explained_and_finetuned_by_the_others(annotated):
    _, mdata = annotated
    model = fit(mdata, batch_key="donor", train={"max_epochs": 2})
    with without_pulling():
        alone = md.MuData({"rna": mdata["rna"][:40].copy(), "atac": mdata["atac"][:0].copy()})
        same = md.MuData({"rna": mdata["rna"][:40].copy()})
    alone.obs["donor"], same.obs["donor"] = mdata.obs["donor"], mdata.obs["donor"]
    assert model.get_reconstruction_error(alone) == model.get_reconstruction_error(same)
    before = model.get_reconstruction_error(alone)
    model.finetune(alone, max_epochs=3, lr=1e-3, **QUICK)
    assert model.get_reconstruction_error(alone)["rna"] < before["rna"]


def test_counts_are_normalised_and_logarithms_taken_as_they_are():
    mdata = donors(n=120)
    model = fit(mdata, train={"max_epochs": 3})
    z = model.get_latent_representation()
    assert model.counted_ == {"rna": True, "atac": True}
    for m in BOTH:
        sc.pp.normalize_total(mdata[m], target_sum=1e4)
        sc.pp.log1p(mdata[m])
        mdata[m].layers["log"] = mdata[m].X.copy()
    other = fit(mdata, layers=dict.fromkeys(BOTH, "log"), train={"max_epochs": 3})
    assert other.counted_ == {"rna": False, "atac": False}
    np.testing.assert_allclose(other.get_latent_representation(), z, atol=0.1)


def test_counts_that_are_read_in_parts_give_the_same(tmp_path):
    mdata = donors(n=120)
    model = fit(mdata, labels_key="known", train={"max_epochs": 3})
    backed = {}
    for m in BOTH:
        mdata[m].write_h5ad(tmp_path / f"{m}.h5ad")
        backed[m] = ad.read_h5ad(tmp_path / f"{m}.h5ad", backed="r")
    with without_pulling():
        parts = md.MuData(backed)
    parts.obs["known"] = mdata.obs["known"].reindex(parts.obs_names)
    other = fit(parts, labels_key="known", train={"max_epochs": 3})
    assert other.counted_ == model.counted_
    np.testing.assert_allclose(other.get_latent_representation(), model.get_latent_representation(), atol=1e-3)


def test_a_query_that_turns_out_to_hold_no_counts_is_refused(annotated):
    model, mdata = annotated
    query = mdata["rna"][:10].copy()
    query.X = query.X * 0.5
    with (
        pytest.warns(UserWarning, match="Name the layer of counts"),
        pytest.raises(ValueError, match="counts in .*whole numbers of at least 0"),
    ):
        model.get_latent_representation(query, modality="rna")


# what there may be little of


def test_without_labels_it_embeds_and_says_that_there_are_none():
    mdata = donors(n=200)
    model = fit(mdata, batch_key="donor")
    z = model.get_latent_representation()
    assert z.shape == (200, 20)
    assert told(z, mdata.obs["type"]) > told(components(mdata), mdata.obs["type"]) - 0.05
    assert model.get_latent_representation(blocks="biology").shape == (200, 0)
    for method in (model.predict_labels, model.get_typicality):
        with pytest.raises(
            ValueError, match="trained with two or more labels, found none. Set the data up with `labels"
        ):
            method()


@pytest.mark.parametrize("labels", [[None], ["B", "unknown"]])
def test_labels_that_tell_nothing_apart_are_not_used(labels):
    mdata = donors(n=60)
    mdata.obs["known"] = np.resize(np.array(labels, dtype=object), 60)
    with pytest.warns(UserWarning, match=r"Column 'known' has . labels, from which nothing can be told apart"):
        model = fit(mdata, labels_key="known", train={"max_epochs": 2})
    assert model.labels_ == []


def test_a_label_of_cells_with_none_of_the_modalities_is_not_learned():
    mdata = donors(n=100)
    further = ad.AnnData(np.ones((3, 2), np.float32), obs=pd.DataFrame(index=["x", "y", "z"]))
    further.var_names = ["p", "q"]
    with without_pulling():
        more = md.MuData({**mdata.mod, "protein": further})
    more.obs["known"] = mdata.obs["known"].reindex(more.obs_names).fillna("another")
    model = fit(more, labels_key="known", train={"max_epochs": 2})
    assert model.labels_ == ["type0", "type1", "type2", "type3"]
    assert model.get_typicality()[mdata.obs_names].notna().all()


def test_training_on_with_fewer_labels_leaves_the_others_where_they_were():
    mdata = donors(n=100)
    model = fit(mdata, labels_key="type", train={"max_epochs": 5})
    means = model.module.label_means.clone()
    mdata.obs["type"] = mdata.obs["type"].cat.remove_categories("type1")
    model.train(max_epochs=1, **QUICK)
    assert torch.equal(model.module.label_means[1], means[1])
    assert not torch.equal(model.module.label_means[0], means[0])
    assert model.get_typicality().notna().all()


def test_one_batch_is_like_none():
    mdata = donors(n=60)
    mdata.obs["donor"] = "a"
    for preset, width in (("default", 24), ("paper", 9)):
        model = fit(mdata, labels_key="type", batch_key="donor", preset=preset, train={"max_epochs": 2})
        assert model.get_latent_representation().shape[1] == width


def test_a_type_of_three_cells_and_one_of_a_single_donor_are_kept():
    mdata = donors(n=400, strength=0.8)
    kind = mdata.obs["type"].astype(str).to_numpy().copy()
    keep = np.ones(400, dtype=bool)
    keep[np.flatnonzero(kind == "type3")[3:]] = False
    keep[(kind == "type2") & (mdata.obs["donor"] == "b").to_numpy()] = False
    mdata = mdata[keep].copy()
    model = fit(mdata, labels_key="type", batch_key="donor")
    found = model.predict_labels().astype(str).to_numpy()
    for label in ("type2", "type3"):
        assert (found == label)[(mdata.obs["type"] == label).to_numpy()].mean() > 0.95


def test_scores_of_the_cell_cycle_are_learned_where_they_are_known():
    mdata = donors(n=300)
    rng = np.random.default_rng(0)
    cycle = rng.normal(size=(300, 2))
    counts = mdata["rna"].X.toarray()
    counts[:, :20] = rng.poisson(5 * np.exp(cycle @ rng.normal(0, 0.7, (2, 20))))
    mdata["rna"].X = sp.csr_matrix(counts)
    for i, key in enumerate(("S_score", "G2M_score")):
        mdata.obs[key] = np.where(np.arange(300) % 2, 3 + 0.2 * cycle[:, i], np.nan)
    keys = {"labels_key": "type", "cell_cycle_keys": ("S_score", "G2M_score")}
    model = fit(mdata, **keys, cell_cycle_weight=0.2, train={"max_epochs": 80})
    assert model.cycle_[0][0] == pytest.approx(3, abs=0.05)
    found = model.get_latent_representation(blocks="biology")[:, 4:]
    held_out = np.arange(300) % 2 == 0
    for i in range(2):
        assert np.corrcoef(found[held_out, i], cycle[held_out, i])[0, 1] > 0.7


def test_a_constant_score_of_the_cell_cycle_has_a_unit_of_its_own():
    mdata = donors(n=60)
    mdata.obs["S_score"], mdata.obs["G2M_score"] = 0.1, np.linspace(0, 1, 60)
    cvi.model.JAE.setup_mudata(mdata, modalities=BOTH, cell_cycle_keys=("S_score", "G2M_score"))
    (mean, sd), _ = cvi.model.JAE(mdata).cycle_
    assert (mean, sd) == (pytest.approx(0.1), 1.0)


def test_the_published_latent_has_a_block_for_the_batch_and_is_taken_as_it_is():
    mdata = donors(n=100)
    model = fit(mdata, labels_key="known", batch_key="donor", preset="paper", train={"max_epochs": 3})
    z = model.get_latent_representation()
    assert z.shape[1] == 4 + 2 + 5
    p = model.predict_labels(soft=True).to_numpy()
    logits = z[:, :4]
    np.testing.assert_allclose(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), p, atol=1e-5)
    assert model.get_latent_representation(blocks="biology").shape[1] == 4
    assert model.module.n_covariates == 0


def test_one_modality_is_enough():
    mdata = donors(n=100)
    model = fit(mdata, modalities=("rna",), labels_key="type", train={"max_epochs": 3})
    z = model.get_latent_representation()
    np.testing.assert_allclose(model.get_latent_representation(mdata["rna"].copy()), z, atol=1e-6)
    assert list(model.get_reconstruction_error()) == ["rna"]


# what is refused


def test_set_up_says_what_is_wrong():
    mdata = donors(n=40)
    setup = cvi.model.JAE.setup_mudata
    with pytest.raises(TypeError, match="a MuData"):
        cvi.model.JAE.setup_anndata(mdata["rna"])
    with pytest.raises(TypeError, match="`setup_mudata` for a MuData"):
        cvi.model.JAE.setup_anndata(mdata)
    with pytest.raises(KeyError, match="nothing"):
        setup(mdata, modalities=BOTH, labels_key="nothing")
    with pytest.raises(ValueError, match=r"one or more `modalities`, found \[\]. The MuData has .*'rna'"):
        setup(mdata, modalities=())
    mdata.obs["size"] = np.linspace(0, 1, 40)
    with pytest.raises(ValueError, match="labels in column 'size', found numbers that are not whole"):
        setup(mdata, modalities=BOTH, labels_key="size")
    for keys in ("S_score", ("S_score",), ("size", None)):
        with pytest.raises(ValueError, match="two columns as `cell_cycle_keys`"):
            setup(mdata, modalities=BOTH, cell_cycle_keys=keys)
    with pytest.raises(TypeError, match="numbers in column 'donor'"):
        setup(mdata, modalities=BOTH, cell_cycle_keys=("size", "donor"))
    assert "_scvi_uuid" not in mdata.uns


def test_a_model_says_what_it_lacks():
    mdata = donors(n=40)
    with pytest.raises(ValueError, match="a MuData that is set up, found one that is not"):
        cvi.model.JAE(mdata)
    cvi.model.JAE.setup_mudata(mdata, modalities=BOTH)
    model = cvi.model.JAE(mdata)
    with pytest.raises(ValueError, match="Labels are those of the data"):
        cvi.model.JAE(registry=model.registry_)
    assert repr(model) == "JAE model, not trained, 0 labels, n_free: 20, atac: 60 features, rna: 130 features"
    mdata.obs["S_score"], mdata.obs["G2M_score"] = 1.0, np.nan
    cvi.model.JAE.setup_mudata(mdata, modalities=BOTH, cell_cycle_keys=("S_score", "G2M_score"))
    with pytest.raises(ValueError, match="scores of at least two cells in column 'G2M_score'"):
        cvi.model.JAE(mdata)


def test_questions_that_have_no_answer_are_refused(annotated):
    model, mdata = annotated
    with pytest.raises(ValueError, match="`blocks` to be one of"):
        model.get_latent_representation(blocks="batch")
    with pytest.raises(ValueError, match="`modality` to say what the AnnData holds"):
        model.get_latent_representation(mdata["rna"].copy())
    with pytest.raises(ValueError, match="`modality` to be one of"):
        model.get_latent_representation(modality="protein")
    with pytest.raises(ValueError, match="`unknown_below` to be a number from 0 to 1"):
        model.predict_labels(unknown_below=2)
    with pytest.raises(IndexError, match="`indices` below 400"):
        model.get_latent_representation(indices=[400])
    with without_pulling():
        other = md.MuData({"protein": mdata["rna"].copy()})
    with pytest.raises(KeyError, match="one or more of the modalities"):
        model.get_latent_representation(other)
    with pytest.raises(ValueError, match="at least one cell"):
        model.predict_labels(mdata["rna"][:0].copy(), modality="rna")
    with pytest.raises(KeyError, match="column 'donor' in `adata.obs`"):
        model.get_latent_representation(mdata["rna"].copy(), modality="rna")


def test_weights_that_are_not_finite_are_not_kept(annotated):
    model = fit(donors(n=60), train={"max_epochs": 2})
    before = model.get_latent_representation()
    for call in (model.train, model.finetune):
        hook = model.module.output.weight.register_hook(lambda g: g * float("nan"))
        with pytest.raises(RuntimeError, match="a finite loss|finite weights"):
            call(max_epochs=2, **QUICK)
        hook.remove()
        np.testing.assert_array_equal(model.get_latent_representation(), before)
