"""Figures of explanations and of the paper's comparisons."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import jensenshannon

import couplevi as cvi

ROUTE = {"source": "rna", "target": "ephys"}
LATENT = {"source": "rna", "target": "latent"}
TYPES = {"labels": "cell_type"}


@pytest.fixture(scope="module")
def explained(fitted):
    model, mdata = fitted
    mdata = mdata.copy()
    cvi.tl.impute(mdata, model, **ROUTE)
    cvi.tl.impute_baseline(mdata, model, **ROUTE, method="knn")
    cvi.tl.predict_labels(mdata, model, labels="cell_type")
    cells = mdata["rna"].obs_names[:5]
    cvi.tl.explain(mdata, model, **ROUTE, targets=["ephys1", "ephys2", "ephys5"], cells=cells, progress_bar=False)
    for target in ("latent", "cell_type"):
        cvi.tl.explain(mdata, model, source="rna", target=target, cells=cells, progress_bar=False)
    return mdata


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def labels(ticks):
    return [tick.get_text() for tick in ticks]


def test_explain_shows_the_first_features_of_each_target(explained):
    ax = cvi.pl.explain(explained, **ROUTE, n_features=2, show=False)
    table = explained["ephys"].varm["jamie_shap_from_rna"]
    rows, columns = labels(ax.get_yticklabels()), labels(ax.get_xticklabels())
    assert sorted(rows) == ["ephys1", "ephys2", "ephys5"]
    first = {row: set(np.argsort(-table[int(row[5:])])[:2]) for row in rows}
    assert {int(c[3:]) for c in columns} == set.union(*first.values())
    image = np.asarray(ax.images[0].get_array())
    for i, row in enumerate(rows):
        values = table[int(row[5:])]
        np.testing.assert_allclose(image[i], [values[int(c[3:])] / values.max() for c in columns], rtol=1e-5)
    dots = {(rows[int(y)], int(columns[int(x)][3:])) for x, y in ax.collections[0].get_offsets()}
    assert dots == {(row, feature) for row, features in first.items() for feature in features}


def test_explain_shows_latents_and_labels(explained):
    rows = labels(cvi.pl.explain(explained, **LATENT, targets=["3"], show=False).get_yticklabels())
    assert rows == ["3"]
    ax = cvi.pl.explain(explained, source="rna", target="cell_type", show=False)
    assert sorted(labels(ax.get_yticklabels())) == ["A", "B", "C"]


def frame_of(n_groups, n_targets=4):
    rng = np.random.default_rng(0)
    rows = [(f"g{g}", f"t{t}", 0.9, 0.9 - 0.1 * g - 0.01 * t) for g in range(n_groups) for t in range(n_targets)]
    frame = pd.DataFrame(rows, columns=["group", "target", "intact", "ablated"])
    return frame.assign(change=frame["ablated"] - frame["intact"]).iloc[rng.permutation(len(frame))]


def test_ablation_of_few_groups_shows_each_target():
    frame = frame_of(3).sort_values("group")
    ax = cvi.pl.ablation(frame, show=False)
    assert labels(ax.get_xticklabels()) == ["intact", "g0", "g1", "g2"]
    lines = {tuple(np.round(line.get_ydata(), 3)) for line in ax.lines if len(line.get_ydata()) == 4}
    assert lines == {tuple(np.round([0.9, *(0.9 - 0.1 * g - 0.01 * t for g in range(3))], 3)) for t in range(4)}
    assert ax.get_title() == "4 targets"


def test_ablation_of_many_groups_shows_the_largest_losses():
    ax = cvi.pl.ablation(frame_of(12), n_groups=3, show=False)
    assert labels(ax.get_yticklabels()) == ["g9", "g10", "g11"]
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], [0.915, 1.015, 1.115])


def test_imputation_comparison_counts_features(explained):
    ax = cvi.pl.imputation_comparison(explained, **ROUTE, show=False)
    both = explained["ephys"].obs_names.isin(explained["rna"].obs_names)
    ephys = explained["ephys"][both]
    r = {k: cvi.metrics.pearson_per_feature(ephys.X, ephys.layers[f"{k}_from_rna"]) for k in ("knn", "jamie")}
    points = np.asarray(ax.collections[0].get_offsets())
    np.testing.assert_allclose(points, np.column_stack([r["knn"], r["jamie"]]), rtol=1e-5)
    wins = int((r["jamie"] > r["knn"]).sum())
    assert f"jamie better: {wins}, worse: {8 - wins}" in ax.get_title()
    assert "30 cells" in ax.get_title()
    some = cvi.pl.imputation_comparison(explained, **ROUTE, cells=ephys.obs_names[:12], show=False)
    assert "12 cells" in some.get_title()


def test_distribution_similarity_is_one_minus_the_distance(explained):
    axes = cvi.pl.distribution_similarity(explained, **ROUTE, **TYPES, keys=["jamie", "knn"], min_cells=5, show=False)
    assert [ax.get_title().split(",")[0] for ax in axes] == ["jamie", "knn"]
    both = explained["ephys"].obs_names.isin(explained["rna"].obs_names)
    ephys = explained["ephys"][both]
    is_a = (explained.obs.loc[ephys.obs_names, "cell_type"] == "A").to_numpy()
    x, y = ephys.X[is_a], ephys.layers["knn_from_rna"][is_a]
    expected = []
    for j in range(8):
        edges = np.linspace(min(x[:, j].min(), y[:, j].min()), max(x[:, j].max(), y[:, j].max()), 21)
        expected.append(1 - jensenshannon(np.histogram(x[:, j], edges)[0], np.histogram(y[:, j], edges)[0], base=2))
    line = next(line for line in axes[1].lines if line.get_label().startswith("A"))
    np.testing.assert_allclose(line.get_xdata(), np.sort(expected), atol=0.02)
    assert line.get_ydata()[0] == 1
    assert line.get_label() == f"A ({np.mean(expected):.2f})"


def test_distribution_similarity_leaves_rare_types_out(explained):
    with pytest.raises(ValueError, match="a type of at least 1000 cells"):
        cvi.pl.distribution_similarity(explained, **ROUTE, **TYPES, min_cells=1000)


def test_accuracy_shows_runs_and_their_mean():
    frame = pd.DataFrame({"method": ["a", "a", "b"], "foscttm": [0.1, 0.2, 0.4], "lta": [0.9, 0.8, 0.3]})
    ax = cvi.pl.accuracy(frame, show=False)
    points = [np.asarray(c.get_offsets()).tolist() for c in ax.collections]
    assert points[0] == [[0.1, 0.9], [0.2, 0.8]]
    np.testing.assert_allclose(points[1], [[0.15, 0.85]])
    assert points[2] == [[0.4, 0.3]]
    assert labels(ax.get_legend().get_texts()) == ["a", "b"]


def test_feature_by_type_draws_the_quartiles(explained):
    axes = cvi.pl.feature_by_type(explained, **ROUTE, **TYPES, features=["ephys3", "ephys0"], show=False)
    assert [ax.get_title().split("\n")[0] for ax in axes] == ["ephys3", "ephys0"]
    assert labels(axes[0].get_xticklabels()) == ["A", "B", "C"]
    both = explained["ephys"].obs_names.isin(explained["rna"].obs_names)
    ephys = explained["ephys"][both, "ephys3"]
    types = explained.obs.loc[ephys.obs_names, "cell_type"].astype(str).to_numpy()
    medians = [np.median(x[types == t]) for x in (ephys.X, ephys.layers["jamie_from_rna"]) for t in "ABC"]
    lines = [line.get_ydata() for line in axes[0].lines if line.get_color() == "black"]
    drawn = [y[0] for y in lines if len(y) == 2 and y[0] == y[1]]
    for median in medians:
        assert np.isclose(drawn, median, rtol=1e-5).any()
    assert labels(axes[1].get_legend().get_texts()) == ["measured", "imputed"]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: cvi.pl.explain(m, source="ephys", target="rna"), KeyError, "Run `cvi.tl.explain"),
        (lambda m: cvi.pl.explain(m, source="no", target="rna"), KeyError, "`source` to be one of"),
        (lambda m: cvi.pl.explain(m, **ROUTE, targets=["ephys0"]), KeyError, "explained targets in 'ephys'"),
        (lambda m: cvi.pl.explain(m, **ROUTE, n_features=0), ValueError, "`n_features`"),
        (lambda m: cvi.pl.ablation(pd.DataFrame({"group": [1]})), KeyError, "Pass what `cvi.tl.ablate` returned"),
        (lambda m: cvi.pl.ablation(frame_of(2), n_groups=0), ValueError, "`n_groups`"),
        (lambda m: cvi.pl.accuracy(pd.DataFrame({"method": ["a"]})), KeyError, "columns \\['method', 'foscttm', 'lta'"),
        (lambda m: cvi.pl.imputation_comparison(m, **ROUTE, baseline="no"), KeyError, "layers\\['no_from_rna'\\]"),
        (lambda m: cvi.pl.imputation_comparison(m, **ROUTE, cells=["no"]), KeyError, "cells of 'ephys'"),
        (
            lambda m: cvi.pl.feature_by_type(m, **ROUTE, labels="no", features="ephys0"),
            KeyError,
            "mdata.obs\\['no'\\]",
        ),
        (lambda m: cvi.pl.feature_by_type(m, **ROUTE, **TYPES, features="no"), KeyError, "unknown ones: \\['no'\\]"),
    ],
)
def test_bad_input(explained, call, error, message):
    with pytest.raises(error, match=message):
        call(explained)


def test_explain_names_what_was_explained(explained, fitted):
    mdata = explained.copy()
    options = {"source": "rna", "cells": mdata["rna"].obs_names[:3], "progress_bar": False, "key_added": "k"}
    cvi.tl.explain(mdata, fitted[0], target="latent", targets=["7", "2"], **options)
    assert mdata["rna"].varm["k_shap_to_latent"].shape == (30, 32)
    ax = cvi.pl.explain(mdata, **LATENT, key="k", show=False)  # of a key that no model was fitted under
    assert sorted(labels(ax.get_yticklabels())) == ["2", "7"]
    cvi.tl.explain(mdata, fitted[0], target="cell_type", targets=["B"], **(options | {"key_added": "jamie"}))
    assert labels(cvi.pl.explain(mdata, source="rna", target="cell_type", show=False).get_yticklabels()) == ["B"]


def test_nothing_to_score_is_refused(explained):
    with pytest.raises(ValueError, match="a target with a score, found none"):
        cvi.pl.ablation(frame_of(2).assign(intact=np.nan))
    both = explained["ephys"].obs_names.intersection(explained["rna"].obs_names)
    with pytest.raises(ValueError, match="cells over which a measured feature varies, found 1 cells"):
        cvi.pl.imputation_comparison(explained, **ROUTE, cells=both[:1])
    with pytest.raises(ValueError, match="at least one imputation in `keys`"):
        cvi.pl.distribution_similarity(explained, **ROUTE, **TYPES, keys=[])
    mdata = explained.copy()
    mdata["ephys"].layers["jamie_from_rna"][:, 3] = np.nan
    with pytest.raises(ValueError, match="features that were imputed, found others among"):
        cvi.pl.feature_by_type(mdata, **ROUTE, **TYPES, features=["ephys3"])


def test_cells_without_any_label_are_refused(explained):
    mdata = explained.copy()
    mdata.obs["none"] = "unknown"
    with pytest.raises(ValueError, match="cells with a label in `mdata.obs\\['none'\\]`"):
        cvi.pl.feature_by_type(mdata, **ROUTE, labels="none", features="ephys0")
