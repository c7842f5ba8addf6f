"""Situations that users reported to packages of this field: each has its answer, and so has its kind elsewhere."""

import copy
import pickle
import warnings

import anndata as ad
import mudata as md
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from model_table import MODELS, QUICK, build, fit, fresh

import couplevi as cvi
from couplevi._mudata import without_pulling
from couplevi.cli import main
from couplevi.train._arguments import checkpoint_path

BOTH = ("rna", "ephys")
LAYERS = {"rna": "log1p"}
FEW = {"max_epochs": 2, **QUICK}


@pytest.fixture(scope="module")
def model():
    """A small trained model and its data; not to be changed."""
    mdata = cvi.data.branching_manifold(n_obs=60, n_features={"rna": 30, "ephys": 10}, seed=1)
    return cvi.tl.jamie(mdata, modalities=BOTH, layers=LAYERS, n_latent=4, seed=0, train_kwargs=FEW), mdata


# a modality that was replaced without `mdata.update()`


@pytest.fixture
def stale(model):
    full = model[1]
    keep = full.obs_names[:50]
    mdata = md.MuData({m: full[m][keep].copy() for m in BOTH})
    mdata.mod["rna"] = full["rna"].copy()
    mdata.obs["cell_type"] = full.obs["cell_type"].reindex(mdata.obs_names)
    return mdata


@pytest.mark.parametrize(
    "call",
    [
        lambda model, mdata: cvi.tl.jamie(mdata, modalities=BOTH, train_kwargs=FEW),
        lambda model, mdata: cvi.tl.cplmixvae(mdata, n_categories=2, modalities=BOTH, train_kwargs=FEW),
        lambda model, mdata: cvi.tl.match(mdata, modalities=BOTH),
        lambda model, mdata: cvi.pp.link(mdata, modalities=BOTH),
        lambda model, mdata: cvi.tl.impute(mdata, model, source="rna", target="ephys"),
        lambda model, mdata: cvi.tl.impute_baseline(mdata, model, source="rna", target="ephys"),
        lambda model, mdata: cvi.tl.evaluate(mdata, model, labels="cell_type"),
        lambda model, mdata: cvi.tl.predict_labels(mdata, model, labels="cell_type"),
        lambda model, mdata: cvi.tl.explain(mdata, model, source="rna", target="ephys"),
        lambda model, mdata: cvi.tl.ablate(mdata, model, source="rna", target="ephys"),
        lambda model, mdata: model.get_latent_representation(mdata),
        lambda model, mdata: model.get_elbo(mdata),
    ],
)
def test_cells_that_the_mudata_does_not_know_are_refused(model, stale, call):
    before = set(stale.uns), set(stale.obsm), set(stale.obs)
    message = r"all 60 cells of modality 'rna' among `mdata.obs_names`, found 10 that are not.*call `mdata.update\(\)`"
    with pytest.raises(ValueError, match=message):
        call(model[0], stale)
    assert (set(stale.uns), set(stale.obsm), set(stale.obs)) == before


def test_umap_of_a_stale_mudata_is_refused(model, stale):
    for place in (stale, stale["rna"], stale["ephys"]):
        place.obsm["X_jamie"] = np.zeros((place.n_obs, 4), dtype=np.float32)
    with pytest.raises(ValueError, match="call `mdata.update"):
        cvi.tl.umap(stale, modalities=BOTH)


def test_an_updated_mudata_is_taken(model, stale):
    with without_pulling():
        stale.update()
    assert model[0].get_latent_representation(stale).shape == (60, 4)


# counts in place of measurements


def test_raw_counts_are_noticed():
    mdata = cvi.data.count_clusters(n_obs=60, n_features={"rna": 30, "atac": 20})
    cvi.model.JAMIE.setup_mudata(mdata, modalities=("rna", "atac"), layers={"atac": "log1p"})
    with pytest.warns(UserWarning, match="`X` of modality 'rna' looks like raw counts, up to .*layers={'rna'"):
        cvi.model.JAMIE(mdata)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cvi.model.JAMIE(mdata, likelihoods={"rna": "nb"})
        cvi.model.JAMIE.setup_mudata(mdata, modalities=("rna", "atac"), layers={"rna": "log1p", "atac": "log1p"})
        cvi.model.JAMIE(mdata)


def counts_like(adata):
    new = adata.copy()
    new.layers["log1p"] = np.random.default_rng(0).poisson(3, new.shape).astype(np.float32)
    new.layers["log1p"][0, 0] = 40
    return new


def test_counts_given_to_a_model_of_logarithms_are_noticed(model):
    query = counts_like(model[1]["rna"])
    with pytest.warns(UserWarning, match="Values of `layers.'log1p'.` of modality 'rna' go .* like raw counts"):
        model[0].get_latent_representation(query, modality="rna")
    with pytest.warns(UserWarning, match="like raw counts"):
        model[0].impute(source="rna", target="ephys", adata=query)
    sparse = query.copy()
    sparse.layers["log1p"] = sp.csr_matrix(sparse.layers["log1p"])
    with pytest.warns(UserWarning, match="like raw counts"):
        model[0].impute(source="rna", target="ephys", adata=sparse)


def test_logarithms_given_to_a_model_of_counts_are_noticed():
    adata = cvi.data.count_clusters(n_obs=80, n_features={"rna": 30, "atac": 20})["rna"]
    cvi.model.CplMixVAE.setup_anndata(adata)
    mixture = cvi.model.CplMixVAE(adata, 3, likelihood="nb", batch_size=64)
    mixture.train(max_epochs=1, prune=False, **QUICK)
    query = adata.copy()
    query.X = query.layers["log1p"]
    with (
        pytest.warns(UserWarning, match="like transformed ones, and those in training were whole"),
        pytest.raises(ValueError, match="counts in `X`, whole numbers"),
    ):
        mixture.predict(query)


def test_values_far_from_those_of_training_are_noticed(model):
    query = model[1]["ephys"].copy()
    query.X = 100 * query.X
    with pytest.warns(UserWarning, match="in training from .* scaled or transformed in another way"):
        model[0].impute(source="ephys", target="rna", adata=query)


def test_data_like_those_of_training_are_taken_in_silence(model):
    new = cvi.data.branching_manifold(n_obs=60, n_features={"rna": 30, "ephys": 10}, seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model[0].get_latent_representation(new)
        model[0].get_latent_representation(new["ephys"][:3].copy(), modality="ephys")


# cells of zeros


def test_cells_of_zeros_are_noticed_at_set_up_and_in_new_data(model):
    mdata = cvi.data.branching_manifold(n_obs=40, n_features={"rna": 30, "ephys": 10}, seed=1)
    mdata["ephys"].X[:7] = 0
    with pytest.warns(UserWarning, match="7 of 40 cells have only zeros in `X` of modality 'ephys'.*leave them out"):
        cvi.model.JAMIE.setup_mudata(mdata, modalities=BOTH, layers=LAYERS)
    with pytest.warns(UserWarning, match="7 of 40 cells have only zeros"):
        cvi.tl.match(mdata, modalities=BOTH, layers=LAYERS)
    with pytest.warns(UserWarning, match="7 of 40 cells have only zeros"):
        model[0].get_latent_representation(mdata["ephys"], modality="ephys")
    adata = mdata["ephys"].copy()
    with pytest.warns(UserWarning, match="7 of 40 cells have only zeros in `X`, which"):
        cvi.model.CplMixVAE.setup_anndata(adata)
    adata.X = sp.csr_matrix(adata.X)
    with pytest.warns(UserWarning, match="7 of 40 cells have only zeros in `X`, which"):
        cvi.model.CplMixVAE.setup_anndata(adata)


# names that are not plain texts


def test_names_from_an_array_are_saved_and_loaded(model, tmp_path):
    mdata = cvi.data.branching_manifold(n_obs=60, n_features={"rna": 30, "ephys": 10}, seed=1)
    cvi.pp.link(mdata, modalities=tuple(np.array(BOTH)), hide=0.2)
    a, b = np.array(BOTH)
    keys = {(a, b): np.array(["correspondence"])[0]}
    for modalities in (tuple(np.array(BOTH)), list(np.array(BOTH))):
        new = cvi.tl.jamie(
            mdata,
            modalities=modalities,
            layers={a: np.array(["log1p"])[0]},
            correspondence_key=keys,
            n_pcs={a: np.int64(5)},
            train_kwargs=FEW,
        )
        new.save(tmp_path / "m", overwrite=True)
        loaded = cvi.model.JAMIE.load(tmp_path / "m", adata=mdata)
        np.testing.assert_array_equal(loaded.get_latent_representation(), new.get_latent_representation())
    mdata.write(tmp_path / "m.h5mu")
    assert list(md.read_h5mu(tmp_path / "m.h5mu").uns["jamie"]["modalities"]) == list(BOTH)


def test_what_cannot_be_read_again_is_not_saved(model, tmp_path):
    fitted = copy.deepcopy(model[0])
    fitted.save(tmp_path / "m")
    old = (tmp_path / "m" / "model.pt").read_bytes()
    fitted.run_name_ = pd.Timestamp("2026-01-01")
    with pytest.raises(TypeError, match="Nothing was saved. Pass plain Python values"):
        fitted.save(tmp_path / "m", overwrite=True)
    assert (tmp_path / "m" / "model.pt").read_bytes() == old


# a slash in what becomes a slot


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda model, mdata: cvi.tl.jamie(mdata, modalities=BOTH, key_added="a/b"), "key_added"),
        (lambda model, mdata: cvi.tl.cplmixvae(mdata["rna"], n_categories=2, key_added="a/b"), "key_added"),
        (lambda model, mdata: cvi.tl.match(mdata, modalities=BOTH, key_added="a/b"), "key_added"),
        (lambda model, mdata: cvi.pp.link(mdata, modalities=BOTH, key_added="a/b"), "key_added"),
        (lambda model, mdata: cvi.tl.impute(mdata, model, source="rna", target="ephys", key_added="a/b"), "key_added"),
        (
            lambda model, mdata: cvi.tl.impute_baseline(mdata, model, source="rna", target="ephys", key_added="a/b"),
            "key_added",
        ),
        (lambda model, mdata: cvi.tl.explain(mdata, model, source="rna", target="ephys", key_added="a/b"), "key_added"),
        (lambda model, mdata: cvi.tl.umap(mdata, key_added="a/b"), "key_added"),
        (lambda model, mdata: cvi.tl.predict_labels(mdata, model, labels="cell/type"), "labels"),
    ],
)
def test_a_slash_is_refused_before_anything_is_done(model, call, argument):
    fitted, mdata = model
    mdata = mdata.copy()
    mdata.obs["cell/type"] = mdata.obs["cell_type"]
    before = set(mdata.uns), set(mdata.obsm), set(mdata.obsp)
    with pytest.raises(ValueError, match=f"a name without a slash as `{argument}`, found .*choose another name"):
        call(fitted, mdata)
    assert (set(mdata.uns), set(mdata.obsm), set(mdata.obsp)) == before


def test_a_slash_in_the_name_of_a_modality_is_refused():
    mdata = cvi.data.branching_manifold(n_obs=20)
    other = md.MuData({"rna": mdata["rna"].copy(), "a/b": mdata["ephys"].copy()})
    for setup in (cvi.model.JAMIE.setup_mudata, cvi.model.CplMixVAE.setup_mudata):
        with pytest.raises(ValueError, match="a name without a slash as `modalities`, found 'a/b'"):
            setup(other, modalities=("rna", "a/b"))


def test_a_slot_is_a_text(model):
    with pytest.raises(TypeError, match="`key_added` to be a text, found 3"):
        cvi.tl.umap(model[1], key_added=3)


# other features


def test_data_with_more_and_reordered_features_are_loaded(model, tmp_path):
    fitted, mdata = model
    fitted.save(tmp_path / "m")
    rna = mdata["rna"]
    further = ad.AnnData(rna.X[:, :3].copy(), obs=rna.obs[[]], layers={"log1p": rna.layers["log1p"][:, :3]})
    further.var_names = ["new0", "new1", "new2"]
    wider = ad.concat([further, rna[:, ::-1]], axis=1)
    other = md.MuData({"rna": wider, "ephys": mdata["ephys"][:, ::-1].copy()})
    loaded = cvi.model.JAMIE.load(tmp_path / "m", adata=other)
    np.testing.assert_allclose(loaded.get_latent_representation(), fitted.get_latent_representation(), atol=1e-5)
    loaded.train(**FEW)
    assert loaded.impute(source="ephys", target="rna").shape == (60, 30)


@pytest.mark.parametrize("sparse", [False, True])
def test_a_few_missing_features_have_their_mean_and_are_named(model, sparse):
    fitted, mdata = model
    query = mdata["rna"].copy()
    names = list(query.var_names[[2, 5, 29]])
    filled = query.copy()
    mean = filled.layers["log1p"].mean(axis=0)
    filled.layers["log1p"][:, [2, 5, 29]] = mean[[2, 5, 29]]
    lacking = query[:, ~query.var_names.isin(names)].copy()
    if sparse:
        lacking.layers["log1p"] = sp.csr_matrix(lacking.layers["log1p"])
    with pytest.warns(
        UserWarning, match="3 of the 30 features of .* are missing, and have their mean in training"
    ) as w:
        z = fitted.get_latent_representation(lacking, modality="rna")
    assert all(name in str(w[0].message) for name in names)
    np.testing.assert_allclose(z, fitted.get_latent_representation(filled, modality="rna"), atol=1e-4)


def test_too_many_missing_features_are_refused(model):
    query = model[1]["rna"][:, 7:].copy()
    with pytest.raises(ValueError, match=r"found 7 missing: .* Up to 20% are filled with their mean in training"):
        model[0].impute(source="rna", target="ephys", adata=query)


# things that models are asked for


@pytest.mark.parametrize("name", MODELS)
def test_a_pickle_of_a_model_says_how_to_save_it(name, tmp_path):
    fitted = fit(name, fresh(), epochs=1)
    for save in (pickle.dumps, lambda m: torch.save(m, tmp_path / "m.pt")):
        with pytest.raises(TypeError, match=rf"Write `model.save\(folder\)`, and read `{name}.load\(folder\)`"):
            save(fitted)
    assert copy.copy(fitted).module is fitted.module


@pytest.mark.parametrize("name", MODELS)
def test_what_a_model_does_not_offer_is_hidden(name):
    fitted = fit(name, fresh(), epochs=1)
    for method in (
        *(["get_normalized_expression"] if name != "JAMIE" else []),
        "differential_abundance",
        "minify_adata",
        "minify_mudata",
        "convert_legacy_save",
    ):
        assert not hasattr(fitted, method)
        assert method not in dir(fitted)
    with pytest.raises(AttributeError, match=f"{name} has no `minify_adata`"):
        fitted.minify_adata()


@pytest.mark.parametrize(
    ("indices", "error", "message"),
    [
        (["cell1", "cell2"], TypeError, r"positions of cells.*For names take `obs_names.get_indexer\(names\)`"),
        ([0.5], TypeError, "positions of cells"),
        ([0, 60], IndexError, "`indices` below 60, the number of cells"),
        ([True, False], TypeError, "a mask of 60"),
    ],
)
@pytest.mark.parametrize("modality", [None, "rna"])
def test_indices_are_positions(model, indices, error, message, modality):
    with pytest.raises(error, match=message):
        model[0].get_latent_representation(indices=indices, modality=modality)


@pytest.mark.parametrize("indices", [[3, 1], np.array([3, 1]), pd.Index([3, 1]), [-57, 1], []])
def test_indices_that_are_taken(model, indices):
    z = model[0].get_latent_representation()
    np.testing.assert_array_equal(model[0].get_latent_representation(indices=indices), z[np.asarray(indices, int)])
    mask = np.isin(np.arange(60), np.asarray(indices, int) % 60)
    np.testing.assert_array_equal(model[0].get_latent_representation(indices=mask), z[mask])


def test_messages_of_an_anndata_do_not_speak_of_a_modality():
    adata = cvi.data.count_clusters(n_obs=60, n_features={"rna": 30, "atac": 20})["rna"]
    cvi.model.CplMixVAE.setup_anndata(adata, layer="log1p")
    mixture = cvi.model.CplMixVAE(adata, 3, batch_size=64)
    mixture.train(max_epochs=1, prune=False, **QUICK)
    with pytest.raises(ValueError, match="missing") as error:
        mixture.predict(adata[:, :5].copy())
    assert "'adata'" not in str(error.value)
    adata.layers["log1p"][0, 0] = np.nan
    with pytest.raises(ValueError, match=r"finite values in `layers\['log1p'\]`, found") as error:
        cvi.model.CplMixVAE.setup_anndata(adata, layer="log1p")
    assert "'adata'" not in str(error.value)
    with pytest.raises(KeyError, match="layers") as error:
        cvi.model.CplMixVAE.setup_anndata(adata, layer="raw")
    assert "'adata'" not in str(error.value)


# confidences


@pytest.mark.parametrize(
    ("confidence", "error", "message"),
    [
        (
            [0.5, np.nan],
            ValueError,
            r"a number between 0 and 1 in each row of column 'confidence', found nan in 1 of 2",
        ),
        ([0.5, None], ValueError, "found nan in 1 of 2 rows. Fill"),
        (["high", "low"], TypeError, "found 'high' in 2 of 2 rows"),
        ([0.5, -1.0], ValueError, "found -1.0 in 1 of 2 rows. Fill or scale it"),
    ],
)
def test_confidences_of_a_table_are_numbers_between_0_and_1(model, confidence, error, message):
    mdata = model[1].copy()
    names = mdata.obs_names[:2]
    table = pd.DataFrame({"rna": names, "ephys": names, "confidence": confidence})
    with pytest.raises(error, match=message) as caught:
        cvi.pp.link(mdata, modalities=BOTH, pairs=table)
    assert "mdata.update" not in str(caught.value)
    assert "correspondence" not in mdata.obsp


def test_confidences_of_a_table_may_be_nullable_or_text_of_numbers(model):
    mdata = model[1].copy()
    names = mdata.obs_names[:2]
    for confidence in (pd.array([0.5, 1.0], dtype="Float64"), ["0.5", "1"], [1, 0]):
        table = pd.DataFrame({"rna": names, "ephys": names, "confidence": confidence})
        cvi.pp.link(mdata, modalities=BOTH, pairs=table)
        assert mdata.obsp["correspondence"].sum() == pd.to_numeric(pd.Series(confidence)).sum()


def test_nan_in_a_matrix_of_pairs_is_told_as_such(model):
    mdata = model[1].copy()
    with pytest.raises(ValueError, match="confidences between 0 and 1 in `pairs`, found NaN in 1 entries") as caught:
        cvi.pp.link(mdata, modalities=BOTH, pairs=sp.csr_matrix(([np.nan], ([0], [0])), shape=(60, 60)))
    assert "mdata.update" not in str(caught.value)


# names that are not texts


def numbered(adata, axis):
    """The same data, named by numbers as a data frame does."""
    new = adata.copy()
    getattr(new, axis).index = range(len(getattr(new, axis)))
    return new


@pytest.mark.parametrize(
    "call",
    [
        lambda mdata: cvi.tl.jamie(mdata, modalities=BOTH, layers=LAYERS, train_kwargs=FEW),
        lambda mdata: cvi.tl.match(mdata, modalities=BOTH, layers=LAYERS),
        lambda mdata: cvi.pp.link(mdata, modalities=BOTH),
        lambda mdata: cvi.tl.umap(mdata, modalities=BOTH),
    ],
)
def test_numbers_as_names_of_cells_are_refused(model, call):
    rna, ephys = (model[1][m] for m in BOTH)
    with pytest.raises(
        TypeError, match=r"texts as `mdata\['rna'\].obs_names`, found integer, such as 0. .*astype\(str\)"
    ):
        call(md.MuData({"rna": numbered(rna, "obs"), "ephys": numbered(ephys, "obs")}))


def test_numbers_as_names_of_features_are_refused(model):
    rna, ephys = (model[1][m] for m in BOTH)
    message = r"texts as names of the features of .*'ephys'.*, found integer, such as 0. .*astype\(str\)"
    with pytest.raises(TypeError, match=message):
        cvi.model.JAMIE.setup_mudata(md.MuData({"rna": rna.copy(), "ephys": numbered(ephys, "var")}), modalities=BOTH)
    with pytest.raises(TypeError, match=message):
        model[0].get_latent_representation(numbered(ephys, "var"), modality="ephys")
    for axis, what in (("obs", "cells"), ("var", "features")):
        with pytest.raises(TypeError, match=f"texts as names of {what}, found integer"):
            cvi.model.CplMixVAE.setup_anndata(numbered(ephys, axis))


@pytest.mark.parametrize("kind", ["category", "string"])
def test_names_of_other_kinds_of_texts_are_taken(model, kind):
    parts = {m: model[1][m].copy() for m in BOTH}
    for adata in parts.values():
        adata.obs.index, adata.var.index = adata.obs.index.astype(kind), adata.var.index.astype(kind)
    z = model[0].get_latent_representation(md.MuData(parts))
    np.testing.assert_array_equal(z, model[0].get_latent_representation())
    cvi.model.JAMIE.setup_mudata(md.MuData(parts), modalities=BOTH, layers=LAYERS)


# representations of many kinds


def test_columns_of_a_table_are_numbers_of_any_kind(model):
    rna = model[1]["rna"].copy()
    table = rna.to_df("log1p")
    rna.obsm["table"], rna.obsm["nullable"] = table, table.astype("Float32")
    given = []
    for use_rep in ("table", "nullable"):
        mdata = md.MuData({"rna": rna, "ephys": model[1]["ephys"].copy()})
        new = cvi.tl.jamie(mdata, modalities=BOTH, use_rep={"rna": use_rep}, n_latent=2, seed=0, train_kwargs=FEW)
        given.append(new.impute(source="ephys", target="rna"))
    np.testing.assert_allclose(given[1].X, given[0].X, atol=1e-4)
    assert given[1].var_names.equals(rna.var_names)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            lambda t: t.assign(batch="a"),
            TypeError,
            r"In modality 'rna': .*numbers in each column .* others in \['batch'\]",
        ),
        (lambda t: t.rename(columns={"rna1": "rna0"}), ValueError, r"each feature of .* once, found \['rna0'\]"),
        (lambda t: t.to_numpy().reshape(60, 3, 10), ValueError, r"a matrix in `obsm\['rep'\]`, found 3 dimensions"),
        (
            lambda t: np.ma.masked_equal(t.to_numpy(), 0),
            ValueError,
            r"values in `obsm\['rep'\]` of modality 'rna', found \d+ that are masked. Leave out or fill",
        ),
        (lambda t: t.astype("Float32").mask(t == 0), ValueError, r"finite values in .*NaN"),
    ],
)
def test_representations_that_are_not_numbers_of_named_features_are_refused(model, change, error, message):
    mdata = md.MuData({m: model[1][m].copy() for m in BOTH})
    mdata["rna"].obsm["rep"] = change(mdata["rna"].to_df("log1p"))
    with pytest.raises(error, match=message):
        cvi.model.JAMIE.setup_mudata(mdata, modalities=BOTH, use_rep={"rna": "rep"})


def test_masked_values_are_no_measurements(model):
    mdata = md.MuData({m: model[1][m].copy() for m in BOTH})
    values = np.asarray(mdata["rna"].layers["log1p"])
    mdata["rna"].layers["log1p"] = np.ma.masked_array(values, np.zeros(values.shape, bool))
    z = model[0].get_latent_representation(mdata)  # nothing is masked
    np.testing.assert_array_equal(z, model[0].get_latent_representation())
    mdata["rna"].layers["log1p"] = np.ma.masked_array(values, np.eye(60, 30, dtype=bool))
    for call in (
        lambda: model[0].get_latent_representation(mdata),
        lambda: cvi.tl.match(mdata, modalities=BOTH, layers=LAYERS),
    ):
        with pytest.raises(ValueError, match="found 30 that are masked. Leave out or fill"):
            call()


def test_a_mudata_in_a_mudata_is_refused(model):
    inner = md.MuData({"ephys": model[1]["ephys"].copy()})
    mdata = md.MuData({"rna": model[1]["rna"].copy(), "more": inner})
    for call in (cvi.tl.match, cvi.pp.link, cvi.model.JAMIE.setup_mudata):
        with pytest.raises(TypeError, match="an AnnData as modality 'more', found MuData. Build a MuData of its own"):
            call(mdata, modalities=("rna", "more"))


# saving and loading


def test_a_file_or_a_folder_in_the_wrong_place_is_told(model, tmp_path):
    fitted = model[0]
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="a folder, found .*file', which is a file"):
        fitted.save(tmp_path / "file", overwrite=True)
    with pytest.raises(ValueError, match="`prefix` for names of files, found 'run/1_'. Name the folder in `dir_path`"):
        fitted.save(tmp_path / "m", prefix="run/1_")
    assert not (tmp_path / "m").exists()
    fitted.save(tmp_path / "m")
    with pytest.raises(FileNotFoundError, match="name the same folder and prefix"):
        cvi.model.JAMIE.load(tmp_path / "m" / "model.pt", adata=False)
    with pytest.raises(ValueError, match="a CplMixVAE model, found a JAMIE model. Call `cvi.model.JAMIE.load`"):
        cvi.model.CplMixVAE.load(tmp_path / "m", adata=False)


def test_hardware_that_is_not_there_is_told_when_loading(model, tmp_path):
    model[0].save(tmp_path / "m")
    message = "hardware of this machine, found `accelerator='tpu'` and .*Leave both out"
    with pytest.raises(ValueError, match=message):
        cvi.model.JAMIE.load(tmp_path / "m", adata=False, accelerator="tpu")


# what is missing is not measured


def test_features_that_are_missing_are_not_scored(model):
    fitted, mdata = model
    lacking = md.MuData({"rna": mdata["rna"].copy(), "ephys": mdata["ephys"][:, 2:].copy()})
    lacking.obs["cell_type"] = mdata.obs["cell_type"].reindex(lacking.obs_names)
    with (
        pytest.warns(UserWarning, match="2 of the 10 features"),  # as good as they are for latents
        pytest.raises(ValueError, match="all 10 features .* found 2 missing"),
    ):
        cvi.tl.evaluate(lacking, fitted, in_sample=True)
    with pytest.raises(ValueError, match="all 10 features .* found 2 missing"):
        cvi.tl.ablate(lacking, fitted, source="rna", target="ephys", progress_bar=False)
    with pytest.warns(UserWarning, match="2 of the 10 features"):
        cvi.tl.impute(lacking, fitted, source="ephys", target="rna")


def test_an_untrained_model_has_no_mean_to_fill_with(model, tmp_path):
    mdata = model[1].copy()
    cvi.model.JAMIE.setup_mudata(mdata, modalities=BOTH, layers=LAYERS)
    cvi.model.JAMIE(mdata, n_latent=4).save(tmp_path / "m")
    lacking = md.MuData({"rna": mdata["rna"][:, 1:].copy(), "ephys": mdata["ephys"].copy()})
    with pytest.raises(ValueError, match="found 1 missing"):
        cvi.model.JAMIE.load(tmp_path / "m", adata=lacking)


def test_a_modality_that_data_lack_is_named():
    mixture = fit("CplMixVAE", fresh(), epochs=1)
    only = md.MuData({"rna": fresh()["rna"].copy()})
    for ask in (mixture.predict, mixture.get_latent_representation):
        with pytest.raises(KeyError, match=r"`modality` to be one of \['rna'\]"):
            ask(only, modality="atac")


def test_saved_data_of_the_old_model_stay_if_the_new_one_cannot_be_saved(model, tmp_path):
    fitted = copy.copy(model[0])
    fitted.save(tmp_path / "m", save_anndata=True)
    before = sorted(path.name for path in (tmp_path / "m").iterdir())
    fitted.run_name_ = pd.Timestamp("2026-01-01")
    with pytest.raises(TypeError, match="Nothing was saved"):
        fitted.save(tmp_path / "m", overwrite=True)
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == before == ["mdata.h5mu", "model.pt"]


def test_a_modality_may_have_any_name(tmp_path):
    mdata = cvi.data.branching_manifold(n_obs=60, n_features={"rna": 30, "ephys": 10}, seed=1)
    named = md.MuData({"data_frame": mdata["rna"].copy(), "values": mdata["ephys"].copy()})
    fitted = cvi.tl.jamie(named, modalities=("data_frame", "values"), layers={"data_frame": "log1p"}, train_kwargs=FEW)
    fitted.save(tmp_path / "m")
    loaded = cvi.model.JAMIE.load(tmp_path / "m", adata=named)
    np.testing.assert_array_equal(loaded.get_latent_representation(), fitted.get_latent_representation())


def test_no_cells_have_no_evidence(model):
    empty = model[1][:0].copy()
    with pytest.raises(ValueError, match="at least one cell of modality 'ephys', found none"):
        model[0].get_elbo(empty)


@pytest.mark.parametrize("name", MODELS)
def test_units_are_divided_among_processes_whatever_the_model(name, monkeypatch):
    asked = []

    class Stop(Exception):
        pass

    def splitter(dataset, **options):
        asked.append(options["distributed_sampler"])
        raise Stop

    cls = MODELS[name].cls
    monkeypatch.setattr(f"{cls.__module__}.CoupledDataSplitter", splitter)
    for strategy, divided in ((None, False), ("ddp_find_unused_parameters_true", True)):
        given = {} if strategy is None else {"strategy": strategy}
        with pytest.raises(Stop):
            cls.train(build(name, fresh()), max_epochs=1, **given, **QUICK, **MODELS[name].train)
        assert asked.pop() == divided


def test_warnings_point_at_the_line_of_the_user(model):
    query = model[1]["rna"][:, 1:].copy()
    with pytest.warns(UserWarning, match="missing") as caught:
        model[0].get_latent_representation(query, modality="rna")
    assert caught[0].filename == __file__
    mdata = model[1].copy()
    mdata["ephys"].X[:, 0] = 1.0
    with pytest.warns(UserWarning, match="constant") as caught:
        cvi.tl.jamie(mdata, modalities=BOTH, layers=LAYERS, n_latent=4, train_kwargs=FEW)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("known", [None, "by_name"])
def test_matches_are_a_guess_where_a_modality_tells_nothing(model, known):
    mdata = md.MuData({m: model[1][m][:12].copy() for m in BOTH})
    mdata["ephys"].X[:] = 2.5
    with pytest.warns(UserWarning, match="All 12 cells of modality 'ephys' have the same values: .* a guess"):
        cvi.tl.match(mdata, modalities=BOTH, layers=LAYERS, known=known)


# values that are hard to compute with


@pytest.mark.parametrize("in_parts", [False, True])
def test_half_precision_is_computed_with_in_single(in_parts, tmp_path):
    found = []
    for dtype in (np.float32, np.float16):
        mdata = cvi.data.branching_manifold(n_obs=30, n_features={"rna": 10, "ephys": 10}, seed=1)
        mdata["ephys"].X = (50 * np.asarray(mdata["ephys"].X)).astype(np.float16).astype(dtype)
        if in_parts:
            mdata.write(tmp_path / f"{dtype.__name__}.h5mu")
            mdata = md.read_h5mu(tmp_path / f"{dtype.__name__}.h5mu", backed="r")
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)  # the squares of some overflow
            cvi.tl.match(mdata, modalities=BOTH, layers=LAYERS, known="by_name")
        new = cvi.tl.jamie(mdata, modalities=BOTH, layers=LAYERS, n_latent=4, seed=0, train_kwargs=FEW)
        found.append((mdata.obsp["match"].toarray(), new.get_latent_representation()))
    for single, half in zip(*found, strict=True):
        np.testing.assert_array_equal(half, single)


def test_sparse_half_precision_is_refused(model):
    mdata = md.MuData({m: model[1][m].copy() for m in BOTH})
    values = sp.csr_matrix(mdata["rna"].layers["log1p"])
    values.data = values.data.astype(np.float16)
    mdata["rna"].layers["log1p"] = values
    for call in (cvi.model.JAMIE.setup_mudata, cvi.tl.match):
        with pytest.raises(TypeError, match=r"In modality 'rna': .* sparse ones of float16. Convert .*np.float32"):
            call(mdata, modalities=BOTH, layers=LAYERS)


@pytest.mark.parametrize("value", [1e300, -1e39])
@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
def test_values_beyond_single_precision_are_refused(model, value, kind):
    mdata = md.MuData({m: model[1][m].copy() for m in BOTH})
    values = np.asarray(mdata["ephys"].X, dtype=np.float64)
    values[0, 0] = value
    mdata["ephys"].X = kind(values)
    message = r"values below 3.4e\+38 in `X` of modality 'ephys', found 1 beyond it. .*single precision"
    for call in (
        lambda: cvi.model.JAMIE.setup_mudata(mdata, modalities=BOTH, layers=LAYERS),
        lambda: model[0].get_latent_representation(mdata),
        lambda: cvi.tl.match(mdata, modalities=BOTH, layers=LAYERS),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_umap_needs_more_points_than_its_start_has_eigenvectors(model):
    cell = model[1][:1].copy()
    for place in (cell, *cell.mod.values()):
        place.obsm["X_jamie"] = np.zeros((1, 4), dtype=np.float32)
    with pytest.raises(ValueError, match="at least 4 profiles and cells with a latent, found 3. .* draw the latents"):
        cvi.tl.umap(cell, modalities=BOTH)


# measurements in place of labels


@pytest.mark.parametrize(
    "call",
    [
        lambda mdata, model: cvi.tl.evaluate(mdata, model, labels="depth", in_sample=True),
        lambda mdata, model: cvi.tl.predict_labels(mdata, model, labels="depth"),
        lambda mdata, model: cvi.tl.match(mdata, modalities=BOTH, layers=LAYERS, group_key="depth"),
    ],
)
@pytest.mark.parametrize("kind", ["float64", "Float32"])
def test_measurements_are_no_labels(model, call, kind):
    mdata = model[1].copy()
    mdata.obs["depth"] = pd.array(np.linspace(0, 1, 60), dtype=kind)
    with pytest.raises(ValueError, match="labels in column 'depth', found numbers that are not whole. Cut it into"):
        call(mdata, model[0])


# paths


def test_a_tilde_is_the_folder_of_the_user(model, tmp_path, monkeypatch, capsys):
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.chdir(here)
    model[0].save("~/m")
    cvi.model.JAMIE.load("~/m", adata=False)
    assert (home / "m" / "model.pt").is_file()
    assert checkpoint_path("~/state.ckpt") == home / "state.ckpt"
    assert main(["match", "~/in.h5mu", "--modalities", "rna,ephys", "--out=~/out.h5mu"]) == 2
    assert f"Expected a MuData at '{home / 'in.h5mu'}', found no such file" in capsys.readouterr().err
    assert not any(here.iterdir())


def test_a_model_whose_data_cannot_be_written_is_not_saved(model, tmp_path):
    fitted, mdata = model
    fitted.save(tmp_path / "m", save_anndata=True)
    before = {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir()}
    other = mdata.copy()
    other.uns["function"] = print
    new = cvi.tl.jamie(other, modalities=BOTH, layers=LAYERS, n_latent=3, train_kwargs=FEW)
    with pytest.raises(Exception, match="No method registered for writing"):
        new.save(tmp_path / "m", overwrite=True, save_anndata=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir()} == before


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"--out": "."}, "Expected a file to write to, found a folder '.'. Name a file in it."),
        ({"--out": "out.h5mu", "--model": "in.h5mu"}, "Expected a folder for the model, found a file 'in.h5mu'"),
    ],
)
def test_what_cannot_be_written_is_told_before_training(model, tmp_path, monkeypatch, capsys, given, message):
    monkeypatch.chdir(tmp_path)
    model[1].write("in.h5mu")
    monkeypatch.setattr(cvi.tl, "jamie", lambda *args, **kwargs: pytest.fail("trained"))
    options = [part for pair in given.items() for part in pair]
    assert main(["run", "in.h5mu", "--modalities", "rna,ephys", *options]) == 2
    assert message in capsys.readouterr().err
