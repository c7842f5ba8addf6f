"""Likelihoods of counts in JAMIE: where training starts, what is imputed and explained, and what is refused."""

import mudata as md
import numpy as np
import pytest
import torch
from scipy.stats import pearsonr

import couplevi as cvi
from couplevi._mudata import without_pulling
from couplevi.model.jamie.counts import fit_dispersions, start_counts
from couplevi.model.jamie.training import training_data

ROUTE = {"source": "rna", "target": "atac"}
QUICK = {"max_epochs": 3, "enable_progress_bar": False, "accelerator": "cpu"}
LIKELIHOODS = {"rna": "nb", "atac": "poisson"}


def cells(n_obs=120, **kwargs):
    return cvi.data.count_clusters(n_obs=n_obs, n_features={"rna": 40, "atac": 60}, depth=500, seed=0, **kwargs)


def make(mdata, likelihoods=LIKELIHOODS, **kwargs):
    cvi.model.JAMIE.setup_mudata(mdata, modalities=("rna", "atac"), **kwargs)
    torch.manual_seed(0)
    return cvi.model.JAMIE(mdata, n_latent=4, likelihoods=likelihoods)


@pytest.fixture(scope="module")
def trained():
    """A model of counts of 300 cells, and its data. Not to be changed."""
    mdata = cells(300)
    model = make(mdata)
    model.train(**{**QUICK, "max_epochs": 300})
    return model, mdata


@pytest.fixture
def untrained():
    model = make(cells(), {"rna": "nb", "atac": "bernoulli"})
    dataset, _ = training_data(model.module, model._registered(), model.n_components_, model.settings_)
    start_counts(model.module, dataset, np.arange(len(dataset)))
    model.module.eval()
    return model.module, dataset


def test_decoders_start_from_the_mean_of_each_feature(untrained):
    module, dataset = untrained
    for m in ("rna", "atac"):
        z = torch.randn(3, module.n_latent, generator=torch.Generator().manual_seed(0))
        mean = module.decode(m, z, torch.zeros(3, 0)).mean
        x = np.asarray(dataset.counts[m][np.arange(120)])
        np.testing.assert_allclose(mean.detach(), np.tile(x.mean(axis=0), (3, 1)), rtol=1e-3, atol=1e-4)
    assert set(np.unique(dataset.counts["atac"][np.arange(120)])) == {0, 1}


def test_the_library_is_kept_in_the_range_of_those_seen(untrained):
    module, dataset = untrained
    sums = dataset.counts["rna"][np.arange(120)].sum(axis=1)
    np.testing.assert_allclose(module.library_range("rna").exp(), [sums.min(), sums.max()], rtol=1e-5)
    for shift, total in ((9.0, sums.max()), (-9.0, sums.min())):
        module.decoder("rna").output.bias.data += shift
        mean = module.expected("rna", torch.zeros(1, module.n_latent), torch.zeros(1, 0), None)
        assert float(mean.sum().detach()) == pytest.approx(total, rel=1e-4)
        module.decoder("rna").output.bias.data -= shift


def test_errors_are_relative_to_a_model_that_knows_mean_shares_alone(untrained):
    module, dataset = untrained
    x = torch.from_numpy(np.asarray(dataset.counts["rna"][np.arange(120)]))
    px = module.decode("rna", torch.zeros(120, module.n_latent), torch.zeros(120, 0), None, x.sum(dim=1, keepdim=True))
    assert float(module._error("rna", px, x).detach().mean()) == pytest.approx(1, rel=1e-3)


def test_dispersions_are_those_around_what_is_decoded(untrained):
    module, dataset = untrained
    rng = np.random.default_rng(0)
    rate, planted = rng.uniform(5, 50, 40), 0.3
    share = rate / rate.sum()
    dataset.counts["rna"] = rng.poisson(rate * rng.gamma(1 / planted, planted, (120, 40))).astype(np.float32)
    module.decoder("rna").output.bias.data = torch.from_numpy(np.log(share)).float()
    fit_dispersions(module, dataset, np.arange(len(dataset)))
    found = (-module.decoder("rna").head.log_inverse_dispersion).exp().detach()
    assert found.median() == pytest.approx(planted, rel=0.3)
    assert not module.decoder("rna").head.log_inverse_dispersion.requires_grad


def test_imputed_counts_follow_those_measured(trained):
    model, mdata = trained
    imputed = model.impute(**ROUTE).X
    truth = mdata["atac"].X
    assert pearsonr(np.log(imputed.mean(axis=0)), np.log(truth.mean(axis=0))).statistic > 0.99
    within = [pearsonr(imputed[:, j], truth[:, j]).statistic for j in range(60)]
    assert np.mean(within) > 0.5
    sums = truth.sum(axis=1)
    assert (imputed.sum(axis=1) <= sums.max() * 1.001).all()
    assert (imputed.sum(axis=1) >= sums.min() * 0.999).all()


@pytest.mark.parametrize("likelihood", ["nb", "zinb", "poisson", "bernoulli"])
def test_each_likelihood_is_trained_saved_and_loaded(likelihood, tmp_path):
    mdata = cells(sparse=True)
    model = make(mdata, {"rna": "nb", "atac": likelihood})
    model.train(**QUICK)
    expected = model.impute(**ROUTE, return_sd=True)
    assert (expected.X >= 0).all()
    if likelihood == "bernoulli":
        assert (expected.X <= 1).all()
        np.testing.assert_allclose(expected.layers["sd"] ** 2, expected.X * (1 - expected.X), rtol=0.2, atol=0.02)
    model.save(tmp_path / "model", save_anndata=True)
    again = cvi.model.JAMIE.load(tmp_path / "model")
    np.testing.assert_allclose(again.impute(**ROUTE, return_sd=True).layers["sd"], expected.layers["sd"], rtol=1e-5)


def test_imputed_counts_have_the_library_size_that_is_asked_for(trained):
    model, mdata = trained
    expected, scaled = model.impute(**ROUTE).X, model.impute(**ROUTE, library_size=1e4).X
    np.testing.assert_allclose(scaled.sum(axis=1), 1e4, rtol=1e-4)
    np.testing.assert_allclose(scaled / 1e4, expected / expected.sum(axis=1, keepdims=True), rtol=1e-3, atol=1e-7)
    with without_pulling():
        other = mdata.copy()
    cvi.tl.impute(other, model, **ROUTE)
    np.testing.assert_allclose(other["rna"].obsm["jamie_atac"], expected, rtol=1e-5)


def test_intervals_of_counts_hold_most_of_those_never_seen():
    mdata = cells(500)
    model = make(mdata[:400].copy())
    model.train(**{**QUICK, "max_epochs": 300})
    torch.manual_seed(0)
    drawn = model.posterior_predictive_sample(mdata, **ROUTE, n_samples=100)[400:]
    low, high = np.quantile(drawn, [0.05, 0.95], axis=2)
    truth = mdata["atac"].X[400:]
    assert 0.85 < ((truth >= low) & (truth <= high)).mean() < 0.99
    assert (drawn == np.round(drawn)).all()
    np.testing.assert_allclose(drawn.mean(axis=2).mean(axis=0), truth.mean(axis=0), rtol=0.3, atol=0.3)


def test_draws_of_binary_values_are_as_likely_as_imputed():
    mdata = cells()
    model = make(mdata, {"rna": "nb", "atac": "bernoulli"})
    model.train(**QUICK)
    drawn = model.posterior_predictive_sample(**ROUTE, n_samples=200)
    np.testing.assert_allclose(drawn.mean(axis=(0, 2)), model.impute(**ROUTE).X.mean(axis=0), atol=0.02)


@pytest.mark.parametrize("features", [None, ["atac7", "atac0"]])
def test_a_route_of_counts_predicts_what_is_imputed(trained, features):
    model, mdata = trained
    reader = model.reader("rna")
    route = model.route("rna", "atac", features=features)
    x = route.read(reader.read(mdata), reader.where)
    imputed = model.impute(**ROUTE).to_df()
    expected = imputed if features is None else imputed[features]
    np.testing.assert_allclose(route.predict(route.preparation.transform(x)), expected, rtol=1e-3, atol=1e-4)


def test_explanations_of_counts_add_up(trained):
    model, mdata = trained
    names = list(mdata.obs_names[:3])
    explained = cvi.tl.explain(mdata, model, **ROUTE, targets=["atac3"], cells=names, n_nodes=50)
    imputed = model.impute(**ROUTE)[names, "atac3"].X[:, 0]
    np.testing.assert_allclose(explained.values[:, :, 0].sum(axis=1) + explained.base_values[:, 0], imputed, rtol=0.05)
    np.testing.assert_allclose(explained.data, np.log1p(mdata["rna"][names].X), rtol=1e-4)


def test_deeplift_of_counts_is_refused(trained):
    _, mdata = trained
    model = cvi.tl.jamie(
        mdata.copy(), modalities=("rna", "atac"), likelihoods=LIKELIHOODS, normalization="batch", train_kwargs=QUICK
    )
    with pytest.raises(ValueError, match="found exponentials of a likelihood of counts"):
        cvi.tl.explain(mdata, model, **ROUTE, cells=mdata.obs_names[:2], method="deep")
    latent = cvi.tl.explain(
        mdata.copy(), model, source="rna", target="latent", cells=mdata.obs_names[:2], method="deep"
    )
    expected = model.get_latent_representation(modality="rna")[:2]
    np.testing.assert_allclose(latent.values.sum(axis=1) + latent.base_values, expected, atol=1e-3)


def test_counts_read_in_parts_are_those_in_memory(tmp_path):
    mdata = cells(sparse=True)
    mdata.write(tmp_path / "data.h5mu")
    imputed = []
    for backed in (False, True):
        data = md.read_h5mu(tmp_path / "data.h5mu", backed=backed)
        model = make(data)
        model.train(**QUICK)
        imputed.append(model.impute(**ROUTE).X)
    np.testing.assert_allclose(*imputed, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("likelihoods", "change", "message"),
    [
        ({"rna": "nb", "atac": "nb"}, lambda x: x + 0.5, "Expected counts in .*rna.*found values from"),
        ({"rna": "poisson", "atac": "nb"}, lambda x: -x, "Expected counts in .*rna.*found values from"),
        ({"protein": "nb"}, lambda x: x, "protein"),
    ],
)
def test_what_is_no_count_is_refused(likelihoods, change, message):
    mdata = cells()
    mdata["rna"].X = change(mdata["rna"].X)
    with pytest.raises(ValueError, match=message):
        make(mdata, likelihoods)


@pytest.mark.parametrize("library_size", [0, -1.0, float("nan")])
def test_library_sizes_out_of_range_are_refused(trained, library_size):
    with pytest.raises(ValueError, match="`library_size`"):
        trained[0].impute(**ROUTE, library_size=library_size)


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_what_has_no_library_is_not_scaled(likelihood):
    mdata = cells()
    mdata["atac"].layers["log1p"] = np.log1p(mdata["atac"].X)
    model = make(
        mdata, {"rna": "nb", "atac": likelihood}, layers={"atac": "log1p"} if likelihood == "gaussian" else None
    )
    model.train(**QUICK)
    with pytest.raises(ValueError, match=rf"counts of 'atac' to be explained, found likelihood '{likelihood}'"):
        model.impute(**ROUTE, library_size=1e4)
    with pytest.raises(ValueError, match=rf"found likelihood '{likelihood}'"):
        model.get_normalized_expression(modality="atac")
    if likelihood == "gaussian":
        with pytest.raises(ValueError, match="found likelihood 'gaussian'"):
            model.posterior_predictive_sample(**ROUTE)
