import numpy as np
import pytest

import couplevi as cvi

ROUTE = {"source": "rna", "target": "ephys"}


def test_features_are_counted(imputed, both):
    ax = cvi.pl.imputation_comparison(imputed, **ROUTE, show=False)
    ephys = imputed["ephys"][both]
    r = {k: cvi.metrics.pearson_per_feature(ephys.X, ephys.layers[f"{k}_from_rna"]) for k in ("knn", "jamie")}
    points = np.asarray(ax.collections[0].get_offsets())
    np.testing.assert_allclose(points, np.column_stack([r["knn"], r["jamie"]]), rtol=1e-5)
    wins = int((r["jamie"] > r["knn"]).sum())
    assert f"jamie better: {wins}, worse: {8 - wins}" in ax.get_title()
    assert "30 cells, trained on" in ax.get_title()
    some = cvi.pl.imputation_comparison(imputed, **ROUTE, cells=ephys.obs_names[:12], show=False)
    assert "12 cells" in some.get_title()


def test_held_out_cells_of_both_are_shown(imputed, both):
    mdata = imputed.copy()
    names = mdata["ephys"].obs_names
    mdata["ephys"].obs["jamie_from_rna_fitted"] = names.isin(both[:18])
    mdata["ephys"].obs["knn_from_rna_fitted"] = names.isin(both[5:20])
    ax = cvi.pl.imputation_comparison(mdata, **ROUTE, show=False)
    assert ax.get_title().startswith("ephys from rna, 10 cells, held out\n")
    held_out = mdata["ephys"][both[20:]]
    r = {k: cvi.metrics.pearson_per_feature(held_out.X, held_out.layers[f"{k}_from_rna"]) for k in ("knn", "jamie")}
    points = np.asarray(ax.collections[0].get_offsets())
    np.testing.assert_allclose(points, np.column_stack([r["knn"], r["jamie"]]), rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"baseline": "no"}, "layers\\['no_from_rna'\\]"), ({"cells": ["no"]}, "cells of 'ephys'")],
)
def test_bad_input(imputed, arguments, message):
    with pytest.raises(KeyError, match=message):
        cvi.pl.imputation_comparison(imputed, **ROUTE, **arguments)


def test_cells_over_which_features_vary_are_needed(imputed, both):
    with pytest.raises(ValueError, match="cells over which a measured feature varies, found 1 cells"):
        cvi.pl.imputation_comparison(imputed, **ROUTE, cells=both[:1])


def test_of_chromatin_it_is_told_which_cells_are_open(imputed, both):
    mdata = imputed.copy()
    x = mdata["ephys"].X
    x[:, :6] = x[:, :6] > np.quantile(x[:, :6], 0.6, axis=0)
    ax = cvi.pl.imputation_comparison(mdata, **ROUTE, show=False)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("knn, AUROC", "jamie, AUROC")
    ephys = mdata["ephys"][both]
    is_open, values = ephys.X[:, 2] > 0, ephys.layers["jamie_from_rna"][:, 2]
    better = (values[is_open][:, None] > values[~is_open]).mean()
    np.testing.assert_allclose(ax.collections[0].get_offsets()[2, 1], better, rtol=1e-6)


def test_points_fill_the_axes(imputed):
    ax = cvi.pl.imputation_comparison(imputed, **ROUTE, show=False)
    points = np.asarray(ax.collections[0].get_offsets())
    assert np.ptp(points) > 0.8 * np.ptp(ax.get_xlim()) or np.ptp(ax.get_xlim()) < 0.3
