import logging

import mudata as md
import numpy as np
import pytest
from sklearn.linear_model import RidgeCV
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.preprocessing import StandardScaler

import couplevi as cvi

BOTH = ("rna", "ephys")


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


@pytest.fixture
def disjoint(hidden):
    """30 cells in rna and 40 others in ephys; their types are columns of the modalities, three of rna missing."""
    _, mdata, _ = hidden
    names = mdata.obs_names
    cells = {"rna": names[:30], "ephys": names[40:]}
    parts = {m: mdata[m][own].copy() for m, own in cells.items()}
    for m, own in cells.items():
        parts[m].obs["kind"] = mdata.obs["cell_type"].reindex(own).astype(str)
    parts["rna"].obs.iloc[:3, 0] = ["unknown", None, "nan"]
    return md.MuData(parts)


def test_labels_are_transferred_between_cells_that_have_no_pair(hidden, disjoint, caplog):
    model, _, _ = hidden
    with caplog.at_level(logging.WARNING, logger="couplevi"):
        frame = cvi.tl.evaluate(disjoint, model, labels="kind")
    assert caplog.messages[0].startswith("Label transfer alone was scored: no cell was measured in two modalities")
    assert frame["metric"].tolist() == ["cells_without_label", "lta", "lta"]
    assert set(frame["split"]) == {"unpaired"}
    assert value(frame, "cells_without_label") == 3
    z = {m: model.get_latent_representation(disjoint[m], modality=m) for m in BOTH}
    z["rna"] = z["rna"][3:]
    y = {"rna": disjoint["rna"].obs["kind"].iloc[3:].astype(str), "ephys": disjoint["ephys"].obs["kind"].astype(str)}
    for source, target, n in (("rna", "ephys", 27), ("ephys", "rna", 40)):
        accuracy = KNeighborsClassifier(5).fit(z[target], y[target]).score(z[source], y[source])
        assert value(frame, "lta", source=source, target=target, n=n) == pytest.approx(accuracy)


def test_why_nothing_can_be_scored_is_said(hidden, disjoint, caplog):
    model, _, _ = hidden
    with caplog.at_level(logging.WARNING, logger="couplevi"):
        assert cvi.tl.evaluate(disjoint, model).empty
        assert cvi.tl.evaluate(disjoint, model, labels="kind", n_neighbors=28).empty
        assert cvi.tl.evaluate(md.MuData({"rna": disjoint["rna"]}), model).empty
    why = "Nothing was scored: no cell was measured in two modalities of the model, which imputation and FOSCTTM need. "
    assert [m.removeprefix(why) for m in caplog.messages] == [
        f"Label transfer needs `labels` of at least {n} cells of each modality." for n in (5, 28, 5)
    ]


def test_partly_paired_cells_are_scored_by_both_ways(hidden):
    model, mdata, known = hidden
    names = mdata.obs_names
    parts = md.MuData({"rna": mdata["rna"][names[:60]].copy(), "ephys": mdata["ephys"][names[30:]].copy()})
    parts.obs["cell_type"] = mdata.obs["cell_type"]
    frame = cvi.tl.evaluate(parts, model, labels="cell_type")
    n = frame[frame["metric"] == "lta"].groupby(["source", "split"])["n"].sum()
    assert n["rna", "unpaired"] == 30
    assert n["ephys", "unpaired"] == 20
    assert n["rna", "held_out"] == (~known[30:60]).sum()


def test_nothing_held_out_is_said(fitted, caplog):
    model, mdata = fitted
    with caplog.at_level(logging.WARNING, logger="couplevi"):
        frame = cvi.tl.evaluate(mdata, model, labels="cell_type")
    assert "Imputation was not scored" in caplog.text
    assert "foscttm" in set(frame["metric"])
    assert "pearson" not in set(frame["metric"])


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


def test_untrained_model_is_refused(mdata):
    cvi.model.JAMIE.setup_mudata(mdata, modalities=BOTH)
    with pytest.raises(RuntimeError, match="untrained model"):
        cvi.tl.evaluate(mdata, cvi.model.JAMIE(mdata))
