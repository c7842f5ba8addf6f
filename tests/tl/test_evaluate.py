import logging

import mudata as md
import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.linear_model import RidgeCV
from sklearn.neighbors import KNeighborsRegressor
from sklearn.preprocessing import StandardScaler

import couplevi as cvi

BOTH = ("rna", "ephys")


@pytest.fixture(scope="module")
def hidden(quick):
    """A model that does not know the pairs of 20 of 80 cells."""
    mdata = cvi.data.branching_manifold(80, n_features={"rna": 30, "ephys": 8}, noise=0.3, seed=1)
    cvi.pp.link(mdata, modalities=BOTH, hide=0.25)
    model = cvi.tl.jamie(
        mdata, modalities=BOTH, correspondence_key="correspondence", seed=0, train_kwargs={**quick, "max_epochs": 40}
    )
    return model, mdata, mdata.obsp["correspondence"].diagonal() > 0


def value(frame, metric, **where):
    for column, wanted in {"metric": metric, **where}.items():
        frame = frame[frame[column] == wanted]
    assert len(frame) == 1, frame
    return frame["value"].item()


def test_frame_is_tidy(hidden):
    model, mdata, known = hidden
    frame = cvi.tl.evaluate(mdata, model, labels="cell_type", baselines=("knn", "ridge"))
    assert list(frame) == ["metric", "source", "target", "method", "split", "n", "value"]
    assert set(frame["method"]) == {"JAMIE", "knn", "ridge"}
    assert not frame.duplicated(["metric", "source", "target", "method", "split"]).any()
    assert set(frame.loc[frame["metric"] == "pearson", "split"]) == {"held_out"}
    assert frame.loc[frame["split"] == "held_out", "n"].unique().tolist() == [20]
    assert frame.loc[frame["split"] == "in_sample", "n"].unique().tolist() == [60]


def test_alignment_is_that_of_the_metrics(hidden):
    model, mdata, known = hidden
    frame = cvi.tl.evaluate(mdata, model, labels="cell_type")
    z = {m: mdata[m].obsm["X_jamie"] for m in BOTH}
    labels = mdata.obs["cell_type"].astype(str).to_numpy()
    for split, cells in (("in_sample", known), ("held_out", ~known)):
        rna, ephys, y = z["rna"][cells], z["ephys"][cells], labels[cells]
        assert value(frame, "foscttm", split=split) == pytest.approx(cvi.metrics.foscttm(rna, ephys))
        accuracy = cvi.metrics.label_transfer_accuracy(ephys, y, rna, y)
        assert value(frame, "lta", split=split, source="rna") == pytest.approx(accuracy)
        accuracy = cvi.metrics.label_transfer_accuracy(rna, y, ephys, y)
        assert value(frame, "lta", split=split, source="ephys") == pytest.approx(accuracy)


def test_imputation_and_baselines_are_those_of_scikit_learn(hidden):
    model, mdata, known = hidden
    frame = cvi.tl.evaluate(mdata, model, baselines=("knn", "ridge"))
    x, y = mdata["rna"].X, mdata["ephys"].X
    imputed = model.impute(source="rna", target="ephys").X[~known]
    correlation = cvi.metrics.pearson_per_feature(y[~known], imputed)
    where = {"source": "rna", "target": "ephys"}
    assert value(frame, "pearson", method="JAMIE", **where) == pytest.approx(correlation.mean(), rel=1e-4)
    assert value(frame, "pearson_median", method="JAMIE", **where) == pytest.approx(np.median(correlation), rel=1e-4)
    assert value(frame, "auroc", method="JAMIE", **where) == pytest.approx(
        cvi.metrics.auroc_per_feature(y[~known], imputed).mean(), rel=1e-3
    )
    error = np.sqrt(np.square(imputed - y[~known]).mean(axis=0)) / y[~known].std(axis=0)
    assert value(frame, "relative_rmse", method="JAMIE", **where) == pytest.approx(error.mean(), rel=1e-4)

    scale_x, scale_y = StandardScaler().fit(x[known]), StandardScaler().fit(y[known])
    for method, estimator in (("knn", KNeighborsRegressor(5)), ("ridge", RidgeCV(np.logspace(-1, 6, 15)))):
        estimator.fit(scale_x.transform(x[known]), scale_y.transform(y[known]))
        expected = scale_y.inverse_transform(estimator.predict(scale_x.transform(x[~known])))
        r = cvi.metrics.pearson_per_feature(y[~known], expected)
        assert value(frame, "pearson", method=method, **where) == pytest.approx(r.mean(), abs=1e-3)
        won = value(frame, f"features_won_against_{method}", **where)
        assert won == (correlation > r).sum()


def test_in_sample_imputation_is_labelled(hidden):
    model, mdata, _ = hidden
    frame = cvi.tl.evaluate(mdata, model, in_sample=True)
    assert set(frame.loc[frame["metric"] == "pearson", "split"]) == {"held_out", "in_sample"}


def test_new_cells_are_held_out(hidden):
    model, _, _ = hidden
    new = cvi.data.branching_manifold(30, n_features={"rna": 30, "ephys": 8}, noise=0.3, seed=1)
    for m in BOTH:
        new[m].obs_names = [f"new{i}" for i in range(30)]
    new.update()
    frame = cvi.tl.evaluate(new, model, baselines=("knn",))
    assert set(frame["split"]) == {"held_out"}


def test_cells_without_label_are_left_out_and_counted(hidden):
    model, mdata, known = hidden
    other = mdata.copy()
    labels = other.obs["cell_type"].astype(object)
    labels.iloc[np.flatnonzero(~known)[:3]] = [np.nan, "unknown", "nan"]
    other.obs["label"] = labels
    frame = cvi.tl.evaluate(other, model, labels="label")
    assert value(frame, "cells_without_label", split="held_out") == 3
    assert value(frame, "cells_without_label", split="in_sample") == 0
    row = frame[(frame["metric"] == "lta") & (frame["split"] == "held_out")]
    assert row["n"].unique().tolist() == [17]


def test_nothing_held_out_is_said(fitted, caplog):
    model, mdata = fitted
    with caplog.at_level(logging.WARNING, logger="couplevi"):
        frame = cvi.tl.evaluate(mdata, model, labels="cell_type")
    assert "Imputation was not scored" in caplog.text
    assert "foscttm" in set(frame["metric"])
    assert "pearson" not in set(frame["metric"])


def test_baseline_of_many_features_reads_components(quick, monkeypatch):
    monkeypatch.setattr("couplevi.tl._baselines.MAX_BASELINE_FEATURES", 10)
    mdata = cvi.data.branching_manifold(60, n_features={"rna": 30, "ephys": 8}, sparse=True)
    model = cvi.tl.jamie(mdata, modalities=BOTH, train_kwargs={**quick, "train_size": 0.8})
    frame = cvi.tl.evaluate(mdata, model, baselines=("ridge",))
    assert value(frame, "pearson", method="ridge", source="rna") > 0.5


def test_three_modalities(three_modalities, quick):
    mdata = three_modalities.copy()
    model = cvi.tl.jamie(mdata, modalities=("rna", "ephys", "morph"), train_kwargs=quick)
    frame = cvi.tl.evaluate(mdata, model)
    assert set(zip(frame["source"], frame["target"], strict=True)) == {
        ("rna", "ephys"),
        ("rna", "morph"),
        ("ephys", "morph"),
    }


def test_bad_requests(hidden, tmp_path):
    model, mdata, _ = hidden
    with pytest.raises(ValueError, match=r"`baselines` to be one of \['knn', 'ridge'\], found 'svm'"):
        cvi.tl.evaluate(mdata, model, baselines=("svm",))
    with pytest.raises(KeyError, match=r"mdata.obs\['nope'\]"):
        cvi.tl.evaluate(mdata, model, labels="nope")
    with pytest.raises(TypeError, match="a MuData"):
        cvi.tl.evaluate(mdata["rna"], model)
    model.save(tmp_path / "m")
    loaded = cvi.model.JAMIE.load(tmp_path / "m", adata=False)
    assert len(cvi.tl.evaluate(mdata, loaded))
    with pytest.raises(ValueError, match="a model with its training data to fit baselines, found one without"):
        cvi.tl.evaluate(mdata, loaded, baselines=("knn",))


def test_weak_links_do_not_drown_the_baseline(quick):
    """Each cell has its own pair and many links of 0.01 to others."""
    mdata = cvi.data.branching_manifold(80, n_features={"rna": 30, "ephys": 8}, noise=0.2, seed=1)
    sure = sp.diags(np.r_[np.ones(60), np.zeros(20)]).tolil()
    scores = []
    for n_weak in (0, 300):
        weak = np.random.default_rng(0).integers(0, 60, (2, n_weak))
        links = sure.copy()
        links[weak[0], weak[1]] = 0.01
        links.setdiag(sure.diagonal())
        cvi.pp.link(mdata, modalities=BOTH, pairs=links.tocsr())
        model = cvi.tl.jamie(mdata, modalities=BOTH, correspondence_key="correspondence", train_kwargs=quick)
        frame = cvi.tl.evaluate(mdata, model, baselines=("knn", "ridge"))
        scores.append([value(frame, "pearson", source="rna", method=m) for m in ("knn", "ridge")])
    np.testing.assert_allclose(scores[0], scores[1], atol=0.02)


def test_cells_that_cannot_be_scored_give_nan_and_no_warning(hidden):
    model, mdata, known = hidden
    constant = mdata.copy()
    constant["ephys"].X[:] = 1
    frame = cvi.tl.evaluate(constant, model, baselines=("knn",))
    assert np.isnan(value(frame, "pearson", source="rna", method="JAMIE"))
    bare = mdata.copy()
    bare.obs.loc[~known, "cell_type"] = None
    frame = cvi.tl.evaluate(bare, model, labels="cell_type")
    assert "jensen_shannon" not in set(frame["metric"])
    assert value(frame, "cells_without_label", split="held_out") == 20


def test_baselines_need_the_links_of_the_training(hidden, tmp_path):
    model, mdata, known = hidden
    model.save(tmp_path / "m")
    others = cvi.data.branching_manifold(80, n_features={"rna": 30, "ephys": 8}, seed=5)
    others = md.MuData({m: a.copy() for m, a in others.mod.items()})
    for adata in others.mod.values():
        adata.obs_names = "new" + adata.obs_names
    others.update()
    elsewhere = cvi.model.JAMIE.load(tmp_path / "m", adata=others)
    for baselines in ("knn", "ridge"):
        with pytest.raises(ValueError, match="hold the links it was trained on, for a baseline, found 0 linked cells"):
            cvi.tl.evaluate(others, elsewhere, baselines=baselines)


def test_untrained_model_is_refused(mdata):
    cvi.model.JAMIE.setup_mudata(mdata, modalities=BOTH)
    with pytest.raises(RuntimeError, match="untrained model"):
        cvi.tl.evaluate(mdata, cvi.model.JAMIE(mdata))
