"""What a model makes of batches and other covariates."""

import mudata as md
import numpy as np
import pytest
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier

import couplevi as cvi

BOTH = ("rna", "ephys")
SETUP = {"modalities": BOTH, "layers": {"rna": "log1p"}, "seed": 0}
ROUTE = {"source": "rna", "target": "ephys"}
OFFSET = 0.5


def two_batches(n=200):
    """Cells of two batches; values of the second are shifted by half a standard deviation, feature by feature."""
    mdata = cvi.data.branching_manifold(n_obs=n, n_features={"rna": 30, "ephys": 8}, seed=1)
    second = np.arange(n) % 2 == 1
    rng = np.random.default_rng(0)
    mdata["rna"].layers["log1p"] = np.asarray(mdata["rna"].layers["log1p"], dtype=np.float32)
    for values in (mdata["rna"].layers["log1p"], mdata["ephys"].X):
        values[second] += (OFFSET * values.std(axis=0) * rng.choice([-1, 1], values.shape[1])).astype(np.float32)
    mdata.obs["batch"] = np.where(second, "b", "a")
    mdata.obs["dose"] = rng.normal(size=n)
    mdata.obs["sex"] = rng.choice(["f", "m"], n)
    return mdata


@pytest.fixture(scope="module")
def trained():
    mdata = two_batches()
    train = {"enable_progress_bar": False, "accelerator": "cpu"}
    covariates = {"categorical_covariate_keys": ["sex"], "continuous_covariate_keys": ["dose"]}
    model = cvi.tl.jamie(mdata, **SETUP, batch_key="batch", **covariates, n_steps=300, train_kwargs=train)
    return model, mdata


def told(z, labels):
    return cross_val_score(KNeighborsClassifier(15), z, labels, cv=5).mean()


def test_latents_hold_types_and_less_of_the_batch(trained):
    model, mdata = trained
    without = two_batches()
    train = {"enable_progress_bar": False, "accelerator": "cpu"}
    cvi.tl.jamie(without, **SETUP, n_steps=300, train_kwargs=train)
    assert told(without.obsm["X_jamie_shared"], without.obs["batch"]) > 0.85
    assert told(mdata.obsm["X_jamie_shared"], mdata.obs["batch"]) < 0.8
    for z in (mdata.obsm["X_jamie"], mdata["rna"].obsm["X_jamie"]):
        assert told(z, mdata.obs["cell_type"]) > 0.9


def test_values_are_predicted_as_measured_in_a_batch(trained):
    model, mdata = trained
    a, b, both, default = (model.impute(**ROUTE, transform_batch=batch).X for batch in ("a", "b", ["b", "a"], None))
    batch = mdata.obs["batch"]
    means = [mdata["ephys"].X[batch == name].mean(axis=0) for name in "ab"]
    sd = mdata["ephys"].X.std(axis=0)
    predicted, true = (b - a).mean(axis=0) / sd, (means[1] - means[0]) / sd
    assert np.corrcoef(predicted, true)[0, 1] > 0.9
    assert 0.4 < np.polyfit(true, predicted, 1)[0] < 1.2
    np.testing.assert_allclose(both, (a + b) / 2, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(default, both, rtol=1e-4, atol=1e-4)


def test_deviations_come_with_any_batch(trained):
    model, mdata = trained
    imputed = model.impute(**ROUTE, return_sd=True, transform_batch="a")
    assert (imputed.layers["sd"] > 0).all()


def test_explanations_hold_covariates_at_those_of_the_cell(trained):
    model, mdata = trained
    cells = mdata.obs_names[:4]
    imputed = model.impute(**ROUTE).X[:4]
    e = cvi.tl.explain(mdata, model, **ROUTE, cells=cells, progress_bar=False)
    assert e.values.shape == (4, 30, 8)
    size = np.abs(imputed - e.base_values).max()
    np.testing.assert_allclose(e.values.sum(axis=1) + e.base_values, imputed, atol=0.02 * size)
    exact = cvi.tl.explain(mdata, model, **ROUTE, cells=cells[:2], method="permutation", progress_bar=False)
    np.testing.assert_allclose(exact.values.sum(axis=1) + exact.base_values, imputed[:2], rtol=1e-3, atol=1e-3 * size)
    assert cvi.tl.explain(
        mdata, model, **ROUTE, cells=cells, aggregate="mean_abs", progress_bar=False
    ).values.shape == (
        30,
        8,
    )


def test_nothing_ablated_is_the_imputation(trained):
    model, mdata = trained
    frame = cvi.tl.ablate(mdata, model, **ROUTE, groups={"one": ["rna0"]}, progress_bar=False)
    r = cvi.metrics.pearson_per_feature(mdata["ephys"].X, model.impute(**ROUTE).X)
    np.testing.assert_allclose(frame["intact"], r, rtol=1e-4)


def test_tools_find_the_batch_in_the_cells(trained):
    model, mdata = trained
    mdata = mdata.copy()
    frame = cvi.tl.evaluate(mdata, model, labels="cell_type", in_sample=True)
    assert frame.loc[frame["metric"] == "lta", "value"].min() > 0.8
    cvi.tl.predict_labels(mdata, model, labels="cell_type")
    assert (mdata.obs["jamie_cell_type"] == mdata.obs["cell_type"]).mean() > 0.9
    alone = model.reader("rna").cells(mdata, mdata.obs_names[:5])
    z = model.get_latent_representation(alone, modality="rna")
    np.testing.assert_allclose(z, model.get_latent_representation(modality="rna")[:5], atol=1e-5)
    assert set(mdata["rna"].obs) == set(trained[1]["rna"].obs)


def test_a_saved_model_knows_its_batches(trained, tmp_path):
    model, mdata = trained
    model.save(tmp_path / "model")
    for data in (mdata, False):
        again = cvi.model.JAMIE.load(tmp_path / "model", adata=data)
        imputed = again.impute(**ROUTE, adata=mdata, transform_batch="b").X
        np.testing.assert_allclose(imputed, model.impute(**ROUTE, transform_batch="b").X, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda obs: obs.drop(columns="batch"), KeyError, "column 'batch' in the `obs` of a modality"),
        (lambda obs: obs.assign(batch="new"), ValueError, r"\['a', 'b'\], found also \['new'\] in 200 cells"),
        (lambda obs: obs.assign(batch=[None, *obs["batch"][1:]]), ValueError, "'batch', found 1 missing"),
        (lambda obs: obs.assign(dose=np.nan), ValueError, "'dose', found 200 missing"),
    ],
)
def test_other_data_say_what_they_lack(trained, change, error, message):
    model, mdata = trained
    other = mdata.copy()
    other.obs = change(other.obs)
    for call in (model.get_latent_representation, lambda data: model.impute(**ROUTE, adata=data)):
        with pytest.raises(error, match=message):
            call(other)
    with pytest.raises(ValueError, match="`transform_batch` to name"):
        model.impute(**ROUTE, transform_batch="c")


def test_a_batch_may_be_small_lack_a_modality_or_be_that_of_one(quick):
    mdata = two_batches(90)
    few = mdata.obs_names[85:]  # five cells
    alone = mdata.obs_names[60:85]  # no ephys
    mdata.obs["batch"] = np.where(mdata.obs_names.isin(few), "few", np.where(mdata.obs_names.isin(alone), "rna", "ab"))
    part = md.MuData(
        {"rna": mdata["rna"].copy(), "ephys": mdata["ephys"][~mdata["ephys"].obs_names.isin(alone)].copy()}
    )
    part.obs["batch"] = mdata.obs["batch"]
    model = cvi.tl.jamie(part, **SETUP, batch_key="batch", train_kwargs=quick)
    assert np.isfinite(part.obsm["X_jamie"]).all()
    averaged, first = (model.impute(**ROUTE, transform_batch=b).X for b in (None, ["ab", "few"]))
    np.testing.assert_array_equal(averaged, first)  # those in which the target was measured
    confounded = md.MuData({"rna": mdata["rna"][:45].copy(), "ephys": mdata["ephys"][45:].copy()})
    confounded.obs["batch"] = np.where(confounded.obs_names.isin(mdata.obs_names[:45]), "a", "b")
    with pytest.warns(UserWarning, match="No profile of"):
        cvi.tl.jamie(confounded, **SETUP, batch_key="batch", train_kwargs=quick)
    assert np.isfinite(confounded.obsm["X_jamie"]).all()
