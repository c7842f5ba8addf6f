import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.linear_model import LinearRegression
from sklearn.metrics import silhouette_score
from sklearn.neighbors import KNeighborsRegressor

import couplevi as cvi

SIMULATIONS = [cvi.data.branching_manifold, cvi.data.count_clusters]


@pytest.mark.parametrize("simulate", SIMULATIONS)
def test_seed_reproduces_everything(simulate):
    one, same, other = (simulate(50, paired=0.5, seed=s) for s in (1, 1, 2))
    for m in one.mod:
        np.testing.assert_array_equal(one[m].X, same[m].X)
        assert one[m].obs_names.equals(same[m].obs_names)
    assert not np.array_equal(one["rna"].X, other["rna"].X)


@pytest.mark.parametrize("simulate", SIMULATIONS)
@pytest.mark.parametrize("paired", [0.0, 0.5, 1.0])
def test_share_of_paired_cells(simulate, paired):
    mdata = simulate(80, paired=paired)
    first, second = (mdata[m].obs_names for m in mdata.mod)
    assert len(first.intersection(second)) == 80 * paired
    assert len(first) == len(second) == 40 + 40 * paired
    assert mdata.n_obs == 80


@pytest.mark.parametrize("simulate", SIMULATIONS)
def test_cells_do_not_depend_on_what_was_measured(simulate):
    complete, partial = simulate(60, seed=3), simulate(60, paired=0.3, seed=3)
    for m in complete.mod:
        np.testing.assert_array_equal(partial[m].X, complete[m][partial[m].obs_names].X)
    names = partial.obs_names
    np.testing.assert_array_equal(partial.obs["cell_type"], complete.obs["cell_type"].loc[names])
    rows = complete.obs_names.get_indexer(names)
    np.testing.assert_array_equal(partial.obsm["latent_true"], complete.obsm["latent_true"][rows])


@pytest.mark.parametrize("simulate", SIMULATIONS)
def test_sparse_holds_the_same_values(simulate):
    dense, sparse = simulate(40), simulate(40, sparse=True)
    assert sp.issparse(sparse["rna"].X)
    np.testing.assert_allclose(sparse["rna"].X.toarray(), dense["rna"].X)
    np.testing.assert_allclose(sparse["rna"].layers["log1p"].toarray(), dense["rna"].layers["log1p"], rtol=1e-6)


@pytest.mark.parametrize("simulate", SIMULATIONS)
def test_latent_determines_both_modalities(simulate):
    mdata = simulate(600, seed=0)
    truth = mdata.obsm["latent_true"]
    for m in mdata.mod:
        x = mdata[m].layers.get("log1p", mdata[m].X)
        x = (x - x.mean(axis=0)) / np.where(x.std(axis=0) > 0, x.std(axis=0), 1)
        fit = KNeighborsRegressor(10).fit(x[:400], truth[:400])
        assert fit.score(x[400:], truth[400:]) > 0.5


def test_branches_are_apart_and_values_as_documented():
    mdata = cvi.data.branching_manifold(300)
    assert silhouette_score(mdata.obsm["latent_true"], mdata.obs["cell_type"]) > 0.4
    assert set(mdata.obs["cell_type"]) == {"A", "B", "C"}
    assert mdata.obs["pseudotime"].between(0, 1).all()
    assert mdata["rna"].X.min() == 0
    assert np.mean(mdata["rna"].X == 0) == pytest.approx(0.5, abs=0.01)
    np.testing.assert_allclose(mdata["rna"].layers["log1p"], np.log1p(mdata["rna"].X))
    assert mdata["ephys"].X.std(axis=0).max() > 10 * mdata["ephys"].X.std(axis=0).min()


def test_noise_weakens_the_signal():
    def explained(noise):
        mdata = cvi.data.branching_manifold(300, noise=noise)
        position = mdata.obsm["latent_true"]
        design = np.hstack([position, position**2, position**3, position[:, :1] * position[:, 1:]])
        return LinearRegression().fit(design, mdata["ephys"].X).score(design, mdata["ephys"].X)

    assert explained(0.0) > explained(0.5) > explained(2.0)


def test_counts_are_integers_of_the_asked_depth():
    mdata = cvi.data.count_clusters(400, n_clusters=4, depth=3000)
    for m, depth in (("rna", 3000), ("atac", 1500)):
        x = mdata[m].X
        np.testing.assert_array_equal(x, np.round(x))
        assert x.sum(axis=1).mean() == pytest.approx(depth, rel=0.1)
        np.testing.assert_allclose(np.expm1(mdata[m].layers["log1p"]).sum(axis=1), 1e4, rtol=1e-3)
    assert mdata.obs["cell_type"].nunique() == 4
    # expression varies more than a Poisson count of the same mean, accessibility does not by itself
    ratio = {m: np.median(mdata[m].X.var(axis=0) / mdata[m].X.mean(axis=0)) for m in mdata.mod}
    assert ratio["rna"] > 1.5 * ratio["atac"]


def test_number_of_features():
    mdata = cvi.data.branching_manifold(20, n_features={"ephys": 3})
    assert (mdata["rna"].n_vars, mdata["ephys"].n_vars) == (400, 3)


@pytest.mark.parametrize("simulate", SIMULATIONS)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_obs": 3}, "`n_obs` to be a whole number of at least 10"),
        ({"n_features": {"other": 3}}, "`n_features` to map names"),
        ({"n_features": {"rna": 0}}, "n_features\\['rna'\\]"),
        ({"paired": 1.5}, "`paired` to be between 0 and 1"),
    ],
)
def test_bad_arguments(simulate, arguments, message):
    with pytest.raises(ValueError, match=message):
        simulate(**{"n_obs": 20, **arguments})
