import anndata as ad
import mudata as md
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scipy.stats import spearmanr

import couplevi as cvi

ROUTE = {"source": "rna", "target": "ephys"}


@pytest.fixture
def data(fitted):
    model, mdata = fitted
    return model, mdata.copy()


@pytest.fixture(scope="module")
def planted():
    """Each target is the sum of three of 30 source features."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 30)).astype(np.float32)
    drivers = np.stack([rng.choice(30, 3, replace=False) for _ in range(12)])
    y = np.stack([x[:, d] @ rng.uniform(0.7, 1.3, 3) for d in drivers], axis=1)
    modalities = {"rna": ad.AnnData(x), "ephys": ad.AnnData((y + 0.3 * rng.normal(size=y.shape)).astype(np.float32))}
    for name, adata in modalities.items():
        adata.obs_names = [f"cell{i}" for i in range(600)]
        adata.var_names = [f"{name}{j}" for j in range(adata.n_vars)]
    mdata = md.MuData(modalities)
    quiet = {"enable_progress_bar": False, "accelerator": "cpu"}
    model = cvi.tl.jamie(mdata, modalities=("rna", "ephys"), seed=0, n_steps=400, train_kwargs=quiet)
    return model, mdata, drivers


def test_planted_drivers_rank_first_by_shap_and_ablation_agrees(planted):
    model, mdata, drivers = planted
    e = cvi.tl.explain(mdata, model, **ROUTE, cells=mdata.obs_names[:30], aggregate="mean_abs")
    first = np.sort(np.argsort(-e.values, axis=0)[:3].T)
    assert (first == np.sort(drivers)).all(axis=1).mean() >= 0.95
    frame = cvi.tl.ablate(mdata, model, **ROUTE, progress_bar=False)
    shift = frame.pivot(index="group", columns="target", values="shift").loc[e.feature_names, e.output_names]
    agreement = [spearmanr(shift.iloc[:, t], e.values[:, t])[0] for t in range(12)]
    assert np.mean(agreement) >= 0.8
    change = frame.pivot(index="group", columns="target", values="change").loc[e.feature_names, e.output_names]
    assert (np.sort(np.argsort(change.to_numpy(), axis=0)[:3].T) == np.sort(drivers)).all(axis=1).mean() >= 0.95


def test_ablated_values_are_imputed_from_replaced_features(data):
    model, mdata = data
    both = mdata["rna"].obs_names.intersection(mdata["ephys"].obs_names)
    groups = {"a": ["rna3"], "b": ["rna5", "rna0"]}
    frame = cvi.tl.ablate(mdata, model, **ROUTE, groups=groups, progress_bar=False).set_index(["group", "target"])
    measured = mdata["ephys"][both].X
    for name, members in groups.items():
        replaced = mdata["rna"].copy()
        columns = replaced.var_names.get_indexer(members)
        replaced.layers["log1p"][:, columns] = replaced.layers["log1p"][:, columns].mean(axis=0)
        intact = model.impute(**ROUTE, adata=mdata["rna"][both].copy()).X
        ablated = model.impute(**ROUTE, adata=replaced[both].copy()).X
        rows = frame.loc[name].loc[list(mdata["ephys"].var_names)]
        r = cvi.metrics.pearson_per_feature(measured, ablated)
        np.testing.assert_allclose(rows["ablated"], r, atol=1e-4)
        np.testing.assert_allclose(rows["intact"], cvi.metrics.pearson_per_feature(measured, intact), atol=1e-5)
        np.testing.assert_allclose(rows["change"], rows["ablated"] - rows["intact"])
        np.testing.assert_allclose(rows["shift"], np.sqrt(np.square(ablated - intact).mean(axis=0)), rtol=1e-3)
        assert (rows["n_features"] == len(set(members))).all()
    assert frame["z_score"].isna().all()  # two groups say nothing about what is usual


def test_without_all_features_nothing_correlates(data):
    model, mdata = data
    frame = cvi.tl.ablate(mdata, model, **ROUTE, groups={"all": mdata["rna"].var_names})
    assert (frame["ablated"] == 0).all()


def test_every_feature_by_itself_and_its_z_score(data):
    model, mdata = data
    frame = cvi.tl.ablate(mdata, model, **ROUTE, targets=["ephys1", "ephys4"])
    assert list(frame["group"].unique()) == list(mdata["rna"].var_names)
    for target, rows in frame.groupby("target"):
        change = rows["change"]
        np.testing.assert_allclose(rows["z_score"], (change - change.mean()) / change.std(ddof=0))
        assert target in ("ephys1", "ephys4")
    single = cvi.tl.ablate(mdata, model, **ROUTE, targets=["ephys4"], groups={"x": ["rna7"]})
    row = frame.query("group == 'rna7' and target == 'ephys4'")
    np.testing.assert_allclose(single["ablated"], row["ablated"])


def test_sparse_and_reduced_data_give_the_same(mdata, quick):
    dense = mdata.copy()
    mdata["rna"].layers["log1p"] = sp.csr_matrix(mdata["rna"].layers["log1p"])
    model = cvi.tl.jamie(
        dense, modalities=("rna", "ephys"), layers={"rna": "log1p"}, n_pcs={"rna": 5}, seed=0, train_kwargs=quick
    )
    a, b = (cvi.tl.ablate(m, model, **ROUTE) for m in (dense, mdata))
    np.testing.assert_allclose(a["ablated"], b["ablated"], atol=1e-4)
    half = {"most": mdata["rna"].var_names[:20]}
    a, b = (cvi.tl.ablate(m, model, **ROUTE, groups=half) for m in (dense, mdata))
    np.testing.assert_allclose(a["shift"], b["shift"], rtol=1e-3)


def test_label_transfer_without_all_features_is_chance(planted):
    model, mdata, _ = planted
    mdata = mdata.copy()
    mdata.obs["sign"] = np.where(np.asarray(mdata["ephys"].X[:, 0]) > 0, "up", "down")
    groups = {"nothing much": ["rna1"], "all": mdata["rna"].var_names}
    frame = cvi.tl.ablate(mdata, model, **ROUTE, metric="lta", labels="sign", groups=groups).set_index("group")
    assert frame.loc["all", "intact"] > 0.75
    assert abs(frame.loc["all", "ablated"] - 0.5) < 0.1
    assert abs(frame.loc["nothing much", "change"]) < 0.1
    assert frame["target"].unique().tolist() == ["sign"]
    again = cvi.tl.ablate(mdata, model, **ROUTE, metric="lta", labels="sign", groups=groups).set_index("group")
    pd.testing.assert_frame_equal(frame, again)


@pytest.fixture
def genome(data):
    """Peaks 1 kb long every 10 kb of two chromosomes, genes at known places."""
    model, mdata = data
    start = 10_000 * (np.arange(30) % 15)
    mdata["rna"].var_names = [f"chr{1 + j // 15}:{s}-{s + 1000}" for j, s in enumerate(start)]
    ephys = mdata["ephys"].var
    ephys["chrom"] = ["1", "1", "2", "2", "X", "1", "2", None]
    ephys["start"] = [20_000, 75_000, 0, 140_500, 5, 500_000, 41_500, 0]
    ephys["end"] = [21_000, 76_000, 10, 141_500, 10, 500_001, 49_000, 10]
    model.var_names_["rna"] = list(mdata["rna"].var_names)
    mdata.update()
    return model, mdata


@pytest.fixture
def renamed(genome):
    model, mdata = genome
    yield model, mdata
    model.var_names_["rna"] = [f"rna{j}" for j in range(30)]


def test_windows_hold_the_features_that_lie_in_them(renamed):
    model, mdata = renamed
    frame = cvi.tl.ablate(mdata, model, **ROUTE, windows=[0, 10_000, "chromosome", "genome"])
    n = frame.pivot(index="target", columns="group", values="n_features")
    assert "ephys7" not in n.index  # it has no position
    assert n.loc["ephys0", ["0 bp", "10 kb", "chromosome", "genome"]].tolist() == [1, 3, 15, 30]
    assert n.loc["ephys1", ["0 bp", "10 kb", "chromosome", "genome"]].tolist() == [0, 2, 15, 30]
    assert n.loc["ephys3", ["0 bp", "10 kb"]].tolist() == [1, 2]
    assert n.loc["ephys4", ["10 kb", "chromosome", "genome"]].tolist() == [0, 0, 30]
    assert n.loc["ephys5", ["10 kb", "chromosome"]].tolist() == [0, 15]
    assert n.loc["ephys6", ["0 bp", "10 kb"]].tolist() == [0, 2]
    empty = frame[frame["n_features"] == 0]
    np.testing.assert_allclose(empty["change"], 0, atol=1e-6)
    names = mdata["rna"].var_names
    by_hand = cvi.tl.ablate(mdata, model, **ROUTE, targets=["ephys0"], groups={"10 kb": names[1:4]})
    one = cvi.tl.ablate(mdata, model, **ROUTE, targets=["ephys6", "ephys0"], windows=10_000).set_index("target")
    np.testing.assert_allclose(one.loc["ephys0", "ablated"], by_hand["ablated"])
    assert one["n_features"].to_dict() == {"ephys6": 2, "ephys0": 3}
    row = frame.query("group == '10 kb' and target == 'ephys0'")
    np.testing.assert_allclose(row["ablated"], by_hand["ablated"])
    change = frame.query("group == 'genome'")["change"]
    z = frame.query("group == 'genome'")["z_score"]
    np.testing.assert_allclose(z, (change - change.mean()) / change.std(ddof=0))


def test_windows_find_a_planted_regulator():
    """Each gene depends on the peak next to it: in new cells, removing 10 kb costs as much as removing the genome."""
    rng = np.random.default_rng(1)
    peaks = rng.normal(size=(900, 20)).astype(np.float32)
    genes = (2 * peaks + 0.3 * rng.normal(size=peaks.shape)).astype(np.float32)
    modalities = {"atac": ad.AnnData(peaks), "rna": ad.AnnData(genes)}
    place = 1_000_000 * np.arange(20)
    for adata in modalities.values():
        adata.obs_names = [f"cell{i}" for i in range(900)]
    modalities["atac"].var_names = [f"chr1_{p}_{p + 500}" for p in place]
    modalities["rna"].var_names = [f"gene{j}" for j in range(20)]
    modalities["rna"].var["interval"] = [f"chr1:{p + 2000}-{p + 9000}" for p in place]
    trained, new = (
        md.MuData({m: a[rows].copy() for m, a in modalities.items()}) for rows in (slice(400), slice(400, None))
    )
    quiet = {"enable_progress_bar": False, "accelerator": "cpu"}
    model = cvi.tl.jamie(trained, modalities=("atac", "rna"), seed=0, n_steps=250, train_kwargs=quiet)
    route = {"source": "atac", "target": "rna"}
    frame = cvi.tl.ablate(new, model, **route, windows=[1_000, 10_000, "genome"])
    change = frame.groupby("group", sort=False)["change"].mean()
    assert change["1 kb"] == pytest.approx(0, abs=1e-6)
    assert change["10 kb"] < 0.9 * change["genome"] < 0


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"target": "rna"}, ValueError, "`target` to differ from `source`"),
        ({"target": "nope"}, ValueError, "`target` to be one of"),
        ({"groups": {"a": ["nope"]}}, KeyError, "features of 'rna' in group 'a'.*\\['nope'\\]"),
        ({"groups": {"a": []}}, ValueError, "at least one of the features of 'rna' in group 'a', found none"),
        ({"groups": ["rna0"]}, TypeError, "`groups` to map names to features, found list"),
        ({"groups": {"a": ["rna0"]}, "windows": [5]}, ValueError, "`groups` or `windows`, found both"),
        ({"windows": ["exon"]}, ValueError, "`windows` to be whole base pairs.*found exon"),
        ({"windows": [5]}, ValueError, "positions of the features of modality 'rna'"),
        ({"targets": ["nope"]}, KeyError, "outputs of 'ephys'.*\\['nope'\\]"),
        ({"targets": ["ephys0", "ephys0"]}, ValueError, "outputs of 'ephys' once, found \\['ephys0'\\] more than"),
        ({"groups": {}}, ValueError, "one or more `groups`"),
        ({"groups": {1: ["rna0"], "1": ["rna1"]}}, ValueError, "`groups` of different names"),
        ({"windows": []}, ValueError, "one or more different `windows`"),
        ({"windows": [5, 5]}, ValueError, "one or more different `windows`"),
        ({"labels": "cell_type"}, ValueError, "no `labels` with `metric='correlation'`"),
        ({"metric": "lta", "labels": "cell_type", "targets": ["ephys0"]}, ValueError, "no `targets` with"),
        ({"metric": "lta", "labels": "cell_type", "windows": [5]}, ValueError, "no `windows` with"),
        ({"cells": ["nope"]}, KeyError, "cells measured in 'rna' and 'ephys'"),
        ({"cells": ["cell0"], "metric": "speed"}, ValueError, "`metric` to be one of"),
        ({"metric": "lta"}, KeyError, "mdata.obs\\[None\\].*Name the column"),
        ({"metric": "lta", "labels": "cell_type", "n_neighbors": 50}, ValueError, "at least 100 cells with labels"),
        ({"metric": "lta", "labels": "cell_type", "n_seeds": 0}, ValueError, "`n_seeds`"),
    ],
)
def test_bad_input(data, arguments, error, message):
    model, mdata = data
    with pytest.raises(error, match=message):
        cvi.tl.ablate(mdata, model, **(ROUTE | arguments))


def test_too_few_cells_are_refused(data):
    model, mdata = data
    both = mdata["rna"].obs_names.intersection(mdata["ephys"].obs_names)
    with pytest.raises(ValueError, match="at least 3 cells to score on, found 2"):
        cvi.tl.ablate(mdata, model, **ROUTE, cells=both[:2])
    with pytest.raises(ValueError, match="`background` of at least 2 cells, found 1"):
        cvi.tl.ablate(mdata, model, **ROUTE, background=[mdata["rna"].obs_names[0]])


def test_windows_on_other_chromosomes_are_refused(renamed):
    model, mdata = renamed
    mdata["ephys"].var["chrom"] = "NC_000067.7"
    with pytest.raises(ValueError, match="features of 'rna' in the windows of 'ephys', found none. Do both"):
        cvi.tl.ablate(mdata, model, **ROUTE, windows=[1000])


def test_a_representation_has_no_positions(mdata, quick):
    mdata["rna"].obsm["X_pca"] = mdata["rna"].X[:, :3].copy()
    model = cvi.tl.jamie(mdata, modalities=("rna", "ephys"), use_rep={"rna": "X_pca"}, train_kwargs=quick)
    with pytest.raises(ValueError, match="features of modality 'rna' in `var`"):
        cvi.tl.ablate(mdata, model, **ROUTE, windows=[5])
    assert cvi.tl.ablate(mdata, model, **ROUTE)["group"].unique().tolist() == ["X_pca_0", "X_pca_1", "X_pca_2"]
