import anndata as ad
import mudata as md
import numpy as np
import pytest
import scipy.sparse as sp
import torch
from scipy.stats import norm
from sklearn.metrics import average_precision_score
from small import BOTH, make_jamie

import couplevi as cvi
from couplevi._mudata import without_pulling
from couplevi.model.jamie.differential import GroupMeans

N_PLANTED = 10
N_GENES = 100


def planted_counts(n=400, seed=0):
    """Two groups of cells, the first genes of which differ by a factor of 3; proteins that know the group."""
    rng = np.random.default_rng(seed)
    group = rng.permutation(np.arange(n) % 2)
    log_rate = np.tile(rng.normal(0, 1, N_GENES), (n, 1))
    sign = rng.choice([-1, 1], N_PLANTED)
    log_rate[:, :N_PLANTED] += np.outer(group, np.log(3) * sign)
    share = np.exp(log_rate) / np.exp(log_rate).sum(axis=1, keepdims=True)
    counts = {
        "rna": rng.poisson(rng.gamma(4, share * 1500 * rng.lognormal(0, 0.3, (n, 1)) / 4)),
        "protein": rng.poisson(np.exp(2 + rng.normal(0, 0.7, 12) * group[:, None])),
    }
    modalities = {m: ad.AnnData(sp.csr_matrix(x.astype(np.float32))) for m, x in counts.items()}
    for m, adata in modalities.items():
        adata.obs_names = [f"cell{i}" for i in range(n)]
        adata.var_names = [f"{m}{j}" for j in range(adata.n_vars)]
    with without_pulling():
        mdata = md.MuData(modalities)
    mdata.obs["group"] = np.array(["low", "high"])[group]
    mdata.obs["at_random"] = rng.permutation(mdata.obs["group"].to_numpy())
    return mdata, sign


@pytest.fixture(scope="module")
def counted():
    """A trained model of counts, its data, and the signs of the changes of the planted genes. Not to be changed."""
    mdata, sign = planted_counts()
    cvi.model.JAMIE.setup_mudata(mdata, modalities=("rna", "protein"))
    torch.manual_seed(0)
    model = cvi.model.JAMIE(mdata, n_latent=8, n_private=4, likelihoods={"rna": "nb", "protein": "poisson"})
    model.train(max_epochs=60, enable_progress_bar=False, accelerator="cpu")
    return model, mdata, sign


@pytest.fixture(scope="module")
def gaussian():
    """A trained model of Gaussian values whose deviations are calibrated, with two batches, and its data."""
    mdata = cvi.data.branching_manifold(n_obs=200, n_features={"rna": 30, "ephys": 8}, seed=1)
    rng = np.random.default_rng(0)
    mdata.obs["donor"] = rng.choice(["x", "y"], 200)
    mdata["ephys"].X = mdata["ephys"].X + 500 * (mdata.obs["donor"] == "y").to_numpy(np.float32)[:, None]
    mdata.obs["half"] = rng.choice(["one", "two"], 200)
    model = make_jamie(mdata, layers={"rna": "log1p"}, batch_key="donor")
    model.train(max_epochs=20, enable_progress_bar=False, accelerator="cpu")
    return model, mdata


def sampler(model, source, target):
    """Sampler of the means of groups of the model's own cells."""
    registered = model._registered()
    arguments = (registered.readers[source], registered.profiles(source), registered.covariates(source))
    return GroupMeans(model.module, *arguments, target, None)


@pytest.mark.parametrize("source", [None, "protein"])
def test_planted_changes_are_found_and_others_are_not(counted, source):
    model, mdata, sign = counted
    planted = mdata["rna"].var_names[:N_PLANTED]
    table = model.differential_expression(
        modality="rna", source=source, groupby="group", group1="high", group2="low", silent=True
    )
    assert average_precision_score(table.index.isin(planted), table["proba_de"]) > 0.95
    np.testing.assert_array_equal(np.sign(table.loc[planted, "lfc_mean"]), sign)
    np.testing.assert_allclose(np.abs(table.loc[planted, "lfc_mean"]), np.log2(3), atol=0.7)
    found = table.index[table["is_de_fdr_0.05"]]
    assert set(planted) <= set(found)
    assert len(found) <= N_PLANTED + 2


@pytest.mark.parametrize("source", [None, "protein"])
def test_groups_at_random_do_not_differ(counted, source):
    model, _, _ = counted
    table = model.differential_expression(
        modality="rna", source=source, groupby="at_random", group1="high", group2="low", silent=True
    )
    assert not table["is_de_fdr_0.05"].any()


def test_width_is_that_of_a_mean_of_measured_counts(counted):
    """Within the groups, where nothing differs, counts vary as the model says."""
    model, mdata, _ = counted
    low = np.flatnonzero(mdata.obs["group"] == "low")
    samples = sampler(model, "rna", "rna")(None, indices=low, transform_batch=None, n_samples_overall=4000)
    x = mdata["rna"].X[low].toarray()
    share = x / x.sum(axis=1, keepdims=True)
    often = (x.mean(axis=0) > 1) & (np.arange(N_GENES) >= N_PLANTED)
    np.testing.assert_allclose(samples.mean(axis=0)[often], share.mean(axis=0)[often], rtol=0.15)
    ratio = samples.std(axis=0) / (share.std(axis=0) / np.sqrt(len(low)))
    assert 0.8 < np.median(ratio[often]) < 1.25


@pytest.mark.parametrize("likelihood", ["nb", "zinb", "poisson", "bernoulli"])
def test_units_of_counts(likelihood, quick):
    """Shares of the library, which sum to one, or probabilities at a typical one, denoised and imputed alike."""
    mdata, _ = planted_counts(n=120)
    if likelihood == "bernoulli":
        mdata["rna"].X.data = (
            np.random.default_rng(0).binomial(mdata["rna"].X.data.astype(int), 0.05).astype(np.float32)
        )
    cvi.model.JAMIE.setup_mudata(mdata, modalities=("rna", "protein"))
    torch.manual_seed(0)
    model = cvi.model.JAMIE(mdata, n_latent=4, likelihoods={"rna": likelihood, "protein": "poisson"})
    model.train(**quick)
    x = mdata["rna"].X.toarray()
    means = (x > 0).mean(axis=0) if likelihood == "bernoulli" else (x / x.sum(axis=1, keepdims=True)).mean(axis=0)
    for source in ("rna", "protein"):
        samples = sampler(model, source, "rna")(
            None, indices=np.arange(120), transform_batch=None, n_samples_overall=2000
        )
        assert np.isfinite(samples).all()
        assert (samples >= 0).all()
        assert np.corrcoef(samples.mean(axis=0), means)[0, 1] > 0.95
        np.testing.assert_allclose(samples.mean(axis=0).sum(), means.sum(), rtol=0.3)


def test_imputed_means_and_their_spread_are_those_of_impute(gaussian):
    model, mdata = gaussian
    first = (mdata.obs["half"] == "one").to_numpy()
    table = model.differential_expression(
        modality="ephys", source="rna", groupby="half", group1="one", group2="two", silent=True
    ).loc[mdata["ephys"].var_names]
    imputed = model.impute(source="rna", target="ephys", return_sd=True)
    means, variances = [], []
    for cells in (first, ~first):
        x = imputed[cells].X
        means.append(x.mean(axis=0))
        variances.append((x.var(axis=0) + np.square(imputed[cells].layers["sd"]).mean(axis=0)) / cells.sum())
    sd = np.sqrt(np.sum(variances, axis=0))
    np.testing.assert_allclose(table["effect_std"], sd, rtol=0.05)
    for scale, mean, variance in zip(("scale1", "scale2"), means, variances, strict=True):
        assert (np.abs(table[scale] - mean) < 5 * np.sqrt(variance / 5000)).all()
    assert (np.abs(table["effect_mean"] - (means[0] - means[1])) < 5 * sd / np.sqrt(5000)).all()


def test_probability_is_that_of_a_normal_difference(gaussian):
    model, mdata = gaussian
    arguments = {"modality": "rna", "groupby": "cell_type", "group1": "A", "group2": "B", "silent": True}
    changed = model.differential_expression(delta=0.1, **arguments)
    mean, sd = changed["effect_mean"], changed["effect_std"]
    expected = np.maximum(norm.sf((0.1 - mean) / sd), norm.cdf((-0.1 - mean) / sd))
    np.testing.assert_allclose(changed["proba_de"], expected, atol=0.05)
    higher = model.differential_expression(mode="vanilla", **arguments).loc[changed.index]
    np.testing.assert_allclose(higher["proba_m1"], norm.sf(-mean / sd), atol=0.05)
    assert "is_de_fdr_0.05" not in higher


def test_statistics_of_measured_values(counted):
    model, mdata, _ = counted
    table = model.differential_expression(
        modality="rna", groupby="group", group1="high", group2="low", batch_size=64, silent=True
    ).loc[mdata["rna"].var_names]
    for k, group in enumerate(("high", "low"), start=1):
        x = mdata["rna"].X[(mdata.obs["group"] == group).to_numpy()].toarray()
        np.testing.assert_allclose(table[f"raw_mean{k}"], x.mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(table[f"non_zeros_proportion{k}"], (x > 0).mean(axis=0), rtol=1e-5)
        scaled = (1e4 * x / x.sum(axis=1, keepdims=True)).mean(axis=0)
        np.testing.assert_allclose(table[f"raw_normalized_mean{k}"], scaled, rtol=1e-5)
    imputed = model.differential_expression(modality="rna", source="protein", groupby="group", silent=True)
    assert not [name for name in imputed if name.startswith("raw_")]
    assert list(imputed["comparison"].unique()) == ["high vs Rest", "low vs Rest"]


def test_ways_to_name_the_same_groups(counted):
    """By a column, positions, a mask or a query; of a MuData, or of the modality alone. Data stay as they are."""
    model, mdata, _ = counted
    high = (mdata.obs["group"] == "high").to_numpy()
    alone = mdata["rna"].copy()
    alone.obs["group"] = mdata.obs["group"]
    partly = mdata.copy()
    partly.obs["group"] = partly.obs["group"].where(np.arange(400) < 300)
    arguments = {"modality": "rna", "silent": True}
    by_name = {"groupby": "group", "group1": "high", "group2": "low"}
    columns = ["proba_de", "lfc_mean", "is_de_fdr_0.05"]
    expected = model.differential_expression(**by_name, **arguments)[columns]
    before = list(mdata.obs)
    for given in (
        {"idx1": np.flatnonzero(high), "idx2": np.flatnonzero(~high)},
        {"idx1": high},
        {"idx1": "group == 'high'", "idx2": "group == 'low'"},
        {"adata": alone, **by_name},
    ):
        assert expected.equals(model.differential_expression(**given, **arguments)[columns])
    assert list(mdata.obs) == before
    some = model.differential_expression(mdata[:300].copy(), **by_name, **arguments)
    assert some[columns].equals(model.differential_expression(partly, **by_name, **arguments)[columns])


def test_batches_in_which_cells_are_decoded(gaussian):
    """Halves at random differ by what two batches do where each is decoded in one of them, and else by nothing."""
    model, _ = gaussian
    module, registered = model.module, model._registered()
    x = torch.from_numpy(module.observation("ephys").preparation.record().transform(registered.values("ephys")))
    covariates = torch.from_numpy(registered.covariates("ephys"))
    with torch.inference_mode():
        z = module.encode("ephys", x, covariates).loc
        in_x, in_y = (
            module.features("ephys", module.shared(z), covariates, [b], module.private(z)).mean(axis=0) for b in (0, 1)
        )
    arguments = {"modality": "ephys", "groupby": "half", "group1": "one", "group2": "two", "silent": True}
    effect = {
        batches: model.differential_expression(
            batch_correction=True, batchid1=[batches[0]], batchid2=[batches[1]], **arguments
        )["effect_mean"].loc[list(registered.readers["ephys"].var_names)]
        for batches in ("xx", "xy", "yx")
    }
    size = np.abs(in_x - in_y).max()
    np.testing.assert_allclose(effect["xy"] - effect["xx"], in_x - in_y, atol=0.1 * size)
    np.testing.assert_allclose(effect["yx"] - effect["xx"], in_y - in_x, atol=0.1 * size)
    of_all = model.differential_expression(batch_correction=True, **arguments)["effect_mean"]
    np.testing.assert_allclose(of_all.loc[effect["xx"].index], effect["xx"], atol=0.1 * size)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, ValueError, "`groupby` or `idx1`"),
        ({"groupby": "kind"}, KeyError, "column 'kind'"),
        ({"groupby": "cell_type", "group1": "A", "group2": "Z"}, ValueError, "at least 2 cells in each group, found 0"),
        ({"idx1": [0]}, ValueError, "at least 2 cells in each group, found 1"),
        ({"idx1": [0, 500]}, IndexError, "below 45"),
        ({"groupby": "cell_type", "modality": "atac"}, ValueError, "`modality` to be one of"),
        ({"groupby": "cell_type", "source": "atac"}, ValueError, "`source` to be one of"),
        ({"groupby": "cell_type", "source": "ephys"}, ValueError, "differ"),
        ({"groupby": "cell_type", "mode": "changes"}, ValueError, "`mode` to be one of"),
        ({"groupby": "cell_type", "delta": 0}, ValueError, "`delta`"),
        ({"groupby": "cell_type", "source": "rna"}, RuntimeError, "calibrated standard deviations"),
        ({"groupby": "cell_type", "batch_correction": True}, ValueError, "`batch_key`"),
    ],
)
def test_what_cannot_be_compared(fitted, arguments, error, message):
    model, _ = fitted
    with pytest.raises(error, match=message):
        model.differential_expression(**{"modality": "ephys", "silent": True, **arguments})


def test_untrained_model():
    mdata = cvi.data.branching_manifold(n_obs=40, n_features={"rna": 30, "ephys": 8})
    with pytest.raises(RuntimeError, match="train"):
        make_jamie(mdata, modalities=BOTH, layers={"rna": "log1p"}).differential_expression(modality="rna")
