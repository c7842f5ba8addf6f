"""A model for data of batches that it was not trained on."""

import mudata as md
import numpy as np
import pandas as pd
import pytest
import torch

import couplevi as cvi
from couplevi.model._mapping import only_added
from couplevi.model.jamie.mapping import frozen_in_mapping, trained_in_mapping

BOTH = ("rna", "ephys")
SETUP = {"modalities": BOTH, "layers": {"rna": "log1p"}, "batch_key": "batch"}
ROUTE = {"source": "rna", "target": "ephys"}
TRAIN = {"enable_progress_bar": False, "accelerator": "cpu"}


def cells(n=300, shift=2.0):
    """Cells of batches a and b, and, the last third, of c, whose RNA is shifted by two standard deviations."""
    mdata = cvi.data.branching_manifold(n_obs=n, n_features={"rna": 30, "ephys": 8}, noise=0.3, seed=1)
    rng = np.random.default_rng(0)
    x = np.asarray(mdata["rna"].layers["log1p"], dtype=np.float32)
    third = np.arange(n) >= 2 * n // 3
    x[third] += (shift * x.std(axis=0) * rng.choice([-1, 1], x.shape[1])).astype(np.float32)
    mdata["rna"].layers["log1p"] = x
    mdata.obs["batch"] = np.where(third, "c", np.where(np.arange(n) % 2, "a", "b"))
    mdata.obs["dose"] = rng.normal(size=n)
    return mdata


@pytest.fixture(scope="module")
def reference():
    mdata = cells()[:200].copy()
    covariates = {"continuous_covariate_keys": ["dose"]}
    model = cvi.tl.jamie(mdata, **SETUP, **covariates, seed=0, n_steps=300, train_kwargs=TRAIN)
    return model, mdata


@pytest.fixture
def new():
    return cells()[200:].copy()


def alone(mdata, modality="rna"):
    part = md.MuData({modality: mdata[modality].copy()})
    part.obs = part.obs.join(mdata.obs[["batch", "dose"]])
    return part


def everything(model, mdata):
    parts = {part: model.get_latent_representation(mdata, part=part) for part in ("shared", "private", "joint")}
    imputed = model.impute(**ROUTE, adata=mdata, transform_batch="a", return_sd=True)
    return [*parts.values(), imputed.X, imputed.layers["sd"]]


@pytest.mark.parametrize("modalities", ["rna", "both"])
def test_cells_of_the_reference_stay_where_they_are(reference, new, modalities):
    model, mdata = reference
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    expected = everything(model, mdata)
    query = alone(new) if modalities == "rna" else new
    mapped = cvi.model.JAMIE.load_query_data(query, model)
    start = mapped.get_latent_representation(query)
    mapped.train(max_epochs=40, **TRAIN)
    for found, value in zip(everything(mapped, mdata), expected, strict=True):
        np.testing.assert_array_equal(found, value)
    assert np.abs(mapped.get_latent_representation(query) - start).max() > 0.1
    for name, value in model.module.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0, equal_nan=True)
    assert model.mapped_ is False


def test_a_new_batch_begins_as_the_mean_of_those_that_are_known(reference, new):
    model, _ = reference
    mapped = cvi.model.JAMIE.load_query_data(new, model)
    weight = mapped.module.encoder("rna").hidden[0].weight
    assert mapped.reader("rna").design.batches == ("a", "b", "c")
    a, b, c, dose = weight[:, -4:].T
    torch.testing.assert_close(c, (a + b) / 2)
    old = model.module.encoder("rna").hidden[0].weight
    assert weight[:, :-2].equal(old[:, :-1])
    assert dose.equal(old[:, -1])


def test_training_takes_a_shift_of_the_batch_out(reference, new):
    model, mdata = reference
    mapped = cvi.model.JAMIE.load_query_data(new, model)
    truth = new["ephys"].X

    def left():
        """Share of the variance that imputations do not explain."""
        return (np.square(mapped.impute(**ROUTE).X - truth).mean(axis=0) / truth.var(axis=0)).mean()

    before = left()
    mapped.train(max_epochs=150, **TRAIN)
    assert left() < 0.75 * before
    assert mapped.is_fitted(new.obs_names, *BOTH).all()
    assert len(mapped.train_indices) == 100


def test_the_linear_path_predicts_the_mean_of_a_new_batch_that_the_decoder_does(reference, new):
    model, mdata = reference
    mapped = cvi.model.JAMIE.load_query_data(new, model)
    mapped.train(max_epochs=20, **TRAIN)
    of_reference, means = [], []
    for share in (0.0, 1.0):
        mapped.module.linear_path("rna", "ephys").share.fill_(share)
        means.append(mapped.impute(**ROUTE, transform_batch="c").X.mean(axis=0))
        model.module.linear_path("rna", "ephys").share.fill_(share)
        of_reference.append([m.impute(**ROUTE, adata=mdata, transform_batch="a").X for m in (model, mapped)])
    np.testing.assert_allclose(*means, atol=1e-4)
    for before, after in of_reference:
        np.testing.assert_array_equal(after, before)


def test_weights_of_the_reference_are_not_decayed(reference, new):
    model, _ = reference
    mapped = cvi.model.JAMIE.load_query_data(new, model)
    with pytest.raises(ValueError, match="no `weight_decay` for a mapped model"):
        mapped.train(max_epochs=1, plan_kwargs={"weight_decay": 0.1}, **TRAIN)


def test_intervals_of_a_new_batch_are_measured_on_its_pairs(reference, new):
    model, _ = reference
    x = new["ephys"].X
    new["ephys"].X = x + (x.std(axis=0) * np.random.default_rng(1).normal(size=x.shape)).astype(np.float32)
    known = md.MuData({"rna": new["rna"].copy(), "ephys": new["ephys"][:40].copy()})
    known.obs = new.obs.loc[known.obs_names, ["batch", "dose"]]
    mapped = cvi.model.JAMIE.load_query_data(known, model)
    with pytest.warns(UserWarning, match=r"batches \['c'\] are those of other batches, as .* not seen 20"):
        plain = mapped.impute(**ROUTE, return_sd=True).layers["sd"]
    mapped.train(max_epochs=60, **TRAIN)
    imputed = mapped.impute(**ROUTE, return_sd=True)
    unseen = imputed.obs_names.isin(new.obs_names[40:])
    coverage = cvi.metrics.interval_coverage(new["ephys"].X[40:], imputed.X[unseen], imputed.layers["sd"][unseen])
    assert 0.8 < coverage.mean() < 0.98
    assert imputed.layers["sd"].mean() > 1.5 * plain.mean()
    factor = mapped.module.inflation("rna", "ephys").clone()
    assert factor.isnan().tolist() == [True, True, False]
    mapped.train(max_epochs=4, **TRAIN)  # all pairs were seen: nothing can be held back any more
    torch.testing.assert_close(mapped.module.inflation("rna", "ephys"), factor, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("modalities", ["rna", "both"])
def test_a_mapped_model_is_saved_and_mapped_further(reference, new, tmp_path, modalities):
    model, mdata = reference
    model.save(tmp_path / "reference")
    query = alone(new) if modalities == "rna" else new
    mapped = cvi.model.JAMIE.load_query_data(query, tmp_path / "reference")
    mapped.train(max_epochs=5, **TRAIN)
    mapped.save(tmp_path / "mapped", save_anndata=True)
    expected = mapped.get_latent_representation(query)
    for data in (None, query, False):
        again = cvi.model.JAMIE.load(tmp_path / "mapped", adata=data)
        np.testing.assert_allclose(again.get_latent_representation(query), expected, atol=1e-6)
        assert again.mapped_ is True
    again = cvi.model.JAMIE.load(tmp_path / "mapped", adata=query)
    again.train(max_epochs=3, **TRAIN)
    np.testing.assert_array_equal(again.get_latent_representation(mdata), model.get_latent_representation(mdata))
    third = new.copy()
    third.obs["batch"] = "d"
    further = cvi.model.JAMIE.load_query_data(third, mapped)
    further.train(max_epochs=3, **TRAIN)
    assert further.reader("rna").design.batches == ("a", "b", "c", "d")
    np.testing.assert_allclose(further.get_latent_representation(query), expected, atol=1e-6)


def test_a_query_is_scored_and_has_no_links_of_its_own(reference, new):
    model, _ = reference
    mapped = cvi.model.JAMIE.load_query_data(alone(new), model)
    with pytest.warns(UserWarning, match=r"batches \['c'\] are those of other batches"):
        frame = cvi.tl.evaluate(new, mapped)
    assert frame.loc[frame["metric"] == "pearson", "value"].notna().all()
    message = "with modalities .*, found no 'ephys'. Load the reference"
    with pytest.raises(ValueError, match=message):
        mapped.fitted_links("ephys", "rna")
    with pytest.raises(ValueError, match=message), pytest.warns(UserWarning, match="those of other batches"):
        cvi.tl.evaluate(new, mapped, baselines="ridge")


def test_genes_that_are_missing_are_filled_and_named(reference, new):
    model, _ = reference
    query = alone(new)
    query = md.MuData({"rna": query["rna"][:, 3:].copy()})
    query.obs = new.obs.loc[query.obs_names, ["batch", "dose"]]
    with pytest.warns(UserWarning, match="3 of the 30 features .* missing, and have their mean in training"):
        mapped = cvi.model.JAMIE.load_query_data(query, model)
    with pytest.warns(UserWarning, match="3 of the 30 features"):
        mapped.train(max_epochs=2, **TRAIN)
    filled = new.copy()
    filled["rna"].layers["log1p"][:, :3] = model.module.observation("rna").preparation.mean[:3].numpy()
    with pytest.warns(UserWarning, match="3 of the 30 features"):
        found = mapped.get_latent_representation(query)
    np.testing.assert_allclose(found, mapped.get_latent_representation(alone(filled)), atol=1e-5)


def test_only_columns_of_added_categories_have_a_gradient(reference, new):
    model, _ = reference
    mapped = cvi.model.JAMIE.load_query_data(new, model)
    module, weight = mapped.module, mapped.module.decoder("rna").hidden[0].weight
    with only_added(module, trained_in_mapping(module), mapped.reader("rna").design.added):
        weight.square().sum().backward()
    moved = (weight.grad != 0).any(dim=0)
    assert moved.nonzero().ravel().tolist() == [weight.shape[1] - 2]
    weight.grad = None
    weight.square().sum().backward()
    assert (weight.grad != 0).any(dim=0).all()
    weight.grad = None
    is_frozen = frozen_in_mapping(module)
    assert not is_frozen("encoders.0.hidden.0.weight")
    assert is_frozen("encoders.0.hidden.0.bias")


def test_where_nothing_is_new_nothing_is_trained(reference, new):
    model, mdata = reference
    new.obs["batch"] = "a"
    mapped = cvi.model.JAMIE.load_query_data(new, model)
    np.testing.assert_array_equal(mapped.get_latent_representation(), model.get_latent_representation(new))
    with pytest.raises(ValueError, match=r"does not know, found batches \['a', 'b'\] only"):
        mapped.train(max_epochs=1, **TRAIN)
    plain = cells(60)
    model = cvi.tl.jamie(plain, modalities=BOTH, seed=0, train_kwargs={**TRAIN, "max_epochs": 1})
    mapped = cvi.model.JAMIE.load_query_data(plain.copy(), model)
    with pytest.raises(ValueError, match="found a reference without covariates. Use the model as it is"):
        mapped.train(max_epochs=1, **TRAIN)


def test_a_query_that_does_not_fit_is_refused_and_left_alone(reference, new):
    model, mdata = reference
    untrained = cvi.model.JAMIE(mdata, n_latent=4)
    uns = dict(new.uns)
    few = md.MuData({"rna": new["rna"][:, :20].copy()})
    few.obs = new.obs.loc[few.obs_names, ["batch", "dose"]]
    no_column, missing = new.copy(), new.copy()
    del no_column.obs["batch"]
    missing.obs["batch"] = pd.Series([None, *["c"] * 99], index=missing.obs_names, dtype=object)
    other = md.MuData({"protein": new["ephys"].copy()})
    for query, of, error, message in (
        (new["rna"], model, TypeError, "a MuData"),
        (new, untrained, RuntimeError, "a trained reference"),
        (new, "model", FileNotFoundError, "a saved model"),
        (new, 3, TypeError, "a JAMIE model, or the folder of one, found builtins.int"),
        (few, model, ValueError, "10 missing"),
        (no_column, model, KeyError, "column 'batch'"),
        (missing, model, ValueError, "found 1 missing"),
        (other, model, KeyError, "`modalities` to be one of"),
    ):
        with pytest.raises(error, match=message):
            cvi.model.JAMIE.load_query_data(query, of)
    assert dict(new.uns) == uns


def test_a_model_that_was_not_mapped_is_not_trained_on_half_of_its_modalities(reference, new, tmp_path):
    model, _ = reference
    model.save(tmp_path / "m")
    part = alone(new)
    part.obs["batch"] = "a"
    half = cvi.model.JAMIE.load(tmp_path / "m", adata=part)
    np.testing.assert_array_equal(half.get_latent_representation(), model.get_latent_representation(part))
    with pytest.raises(KeyError, match="'ephys'"):
        half.train(max_epochs=1, **TRAIN)
