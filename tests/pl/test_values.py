import mudata as md
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData

from couplevi.pl._values import auroc_of_open, check_columns, imputed_values, is_mostly_zero, shown_labels, written

CELLS = ["c0", "c1", "c2", "c3"]


@pytest.fixture
def planted():
    """Four cells of b, of which c1 has no profile in a; feature y was not imputed by the second method."""
    a = AnnData(np.zeros((4, 2), dtype=np.float32), obs=pd.DataFrame(index=["c0", "c2", "c3", "d"]))
    b = AnnData(sp.csr_matrix(np.arange(12, dtype=np.float32).reshape(4, 3)), obs=pd.DataFrame(index=CELLS))
    b.var_names = ["x", "y", "z"]
    b.layers["double"] = 2 * b.X
    b.layers["one_from_a"] = np.arange(12.0).reshape(4, 3) + 100
    b.layers["one_from_a"][1] = np.nan
    b.layers["two_from_a"] = b.layers["one_from_a"] + 100
    b.layers["two_from_a"][:, 1] = np.nan
    mdata = md.MuData({"a": a, "b": b})
    mdata.obs["type"] = pd.Series(["T", "unknown", "B", "T"], index=CELLS)
    return mdata


def test_measured_and_imputed_values_of_cells_that_have_both(planted):
    values = imputed_values(planted, "a", "b", ["one"], layer=None)
    assert list(values.cells) == ["c0", "c2", "c3"]
    assert list(values.features) == ["x", "y", "z"]
    np.testing.assert_array_equal(values.measured, [[0, 1, 2], [6, 7, 8], [9, 10, 11]])
    np.testing.assert_array_equal(values.imputed["one"], values.measured + 100)


def test_a_layer_takes_the_place_of_x(planted):
    values = imputed_values(planted, "a", "b", ["one"], layer="double")
    np.testing.assert_array_equal(values.measured, [[0, 2, 4], [12, 14, 16], [18, 20, 22]])


def test_features_are_those_that_all_imputations_know(planted):
    values = imputed_values(planted, "a", "b", ["one", "two"], layer=None)
    assert list(values.features) == ["x", "z"]
    np.testing.assert_array_equal(values.imputed["two"], values.measured + 200)
    with pytest.raises(ValueError, match="features that were imputed, found others among \\['y'\\]"):
        imputed_values(planted, "a", "b", ["one", "two"], layer=None, features=["y"])
    with pytest.raises(ValueError, match="found others among \\['y'\\]"):
        imputed_values(planted, "a", "b", ["two"], layer=None, features="y")


def test_a_feature_imputed_for_some_of_the_cells_is_left_out(planted):
    planted["b"].layers["one_from_a"][2, 1] = np.nan
    assert list(imputed_values(planted, "a", "b", ["one"], layer=None).features) == ["x", "z"]
    assert list(imputed_values(planted, "a", "b", ["one"], layer=None, cells=["c0", "c3"]).features) == ["x", "y", "z"]


def test_chosen_features_and_cells(planted):
    values = imputed_values(planted, "a", "b", ["one"], layer=None, features=["z", "x"], cells=["c3", "c0", "c1"])
    assert list(values.cells) == ["c0", "c3"]  # c1 has no imputed values
    assert list(values.features) == ["z", "x"]
    np.testing.assert_array_equal(values.measured, [[2, 0], [11, 9]])
    np.testing.assert_array_equal(values.imputed["one"], [[102, 100], [111, 109]])


@pytest.mark.parametrize(
    ("route", "keys", "options", "error", "message"),
    [
        (("a", "no"), ["one"], {}, KeyError, "`target` to be one of"),
        (("no", "b"), ["one"], {}, KeyError, "`source` to be one of"),
        (("a", "b"), [], {}, ValueError, "at least one imputation in `keys`"),
        (("a", "b"), ["one", "no"], {}, KeyError, "layers\\['no_from_a'\\].*Run `cvi.tl.impute"),
        (("a", "b"), ["one"], {"layer": "no"}, KeyError, "layers\\['no'\\].*Name the layer"),
        (("a", "b"), ["one"], {"features": ["no"]}, KeyError, "features of modality 'b'"),
        (("a", "b"), ["one"], {"cells": ["d"]}, KeyError, "cells of 'b'"),
        (("a", "b"), ["one"], {"cells": ["c1"]}, ValueError, "cells measured in 'a' and 'b', found none"),
    ],
)
def test_what_cannot_be_read_is_named(planted, route, keys, options, error, message):
    with pytest.raises(error, match=message):
        imputed_values(planted, *route, keys, **{"layer": None, **options})


def test_cells_that_no_model_was_trained_on_come_first(planted):
    assert imputed_values(planted, "a", "b", ["one"], layer=None).told == "3 cells, perhaps trained on"
    planted["b"].obs["one_from_a_fitted"] = [True, False, False, False]
    planted["b"].obs["two_from_a_fitted"] = [False, False, False, False]
    values = imputed_values(planted, "a", "b", ["one"], layer=None)
    assert list(values.cells) == ["c0", "c2", "c3"]  # two are too few for a correlation
    assert values.fitted.tolist() == [True, False, False]
    assert values.told == "3 cells, 1 trained on"
    part = values.of(np.array([False, True, True]))
    assert (list(part.cells), part.told) == (["c2", "c3"], "2 cells, held out")
    np.testing.assert_array_equal(part.measured, [[6, 7, 8], [9, 10, 11]])
    np.testing.assert_array_equal(part.imputed["one"], part.measured + 100)
    assert imputed_values(planted, "a", "b", ["two"], layer=None).told == "3 cells, held out"
    assert imputed_values(planted, "a", "b", ["one", "two"], layer=None).told == "3 cells, 1 trained on"
    del planted["b"].obs["two_from_a_fitted"]
    assert imputed_values(planted, "a", "b", ["one", "two"], layer=None).told == "3 cells, perhaps trained on"


def test_a_modality_changed_after_the_mudata_was_made_is_refused(planted):
    planted.mod["a"] = AnnData(np.zeros((1, 2)), obs=pd.DataFrame(index=["new"]))
    with pytest.raises(ValueError, match="call `mdata.update\\(\\)` first"):
        imputed_values(planted, "a", "b", ["one"], layer=None)


def test_labels_of_cells_with_missing_ones_as_nan(planted):
    labels = shown_labels(planted, "type", pd.Index(["c2", "c1", "c0"]))
    assert labels.tolist()[::2] == ["B", "T"]
    assert labels.isna().tolist() == [False, True, False]
    with pytest.raises(ValueError, match="cells with a label in `mdata.obs\\['type'\\]`, found none"):
        shown_labels(planted, "type", pd.Index(["c1"]))
    with pytest.raises(KeyError, match="mdata.obs\\['no'\\]"):
        shown_labels(planted, "no", pd.Index(["c1"]))


def test_slots_of_a_mixture_are_read_or_named(planted):
    planted.uns["mine"] = {"consensus": np.eye(2)}
    np.testing.assert_array_equal(written(planted, "mine", "consensus"), np.eye(2))
    with pytest.raises(
        KeyError, match="`uns\\['mine'\\]\\['pruning'\\]`, found keys \\['consensus'\\].*key_added='mine'"
    ):
        written(planted, "mine", "pruning")
    with pytest.raises(KeyError, match="found keys \\['mine'\\].*two arms or more"):
        written(planted, "other", "consensus")


def test_columns_of_a_table_are_all_there_or_named():
    frame = pd.DataFrame({"a": [1], "b": [2], "c": [3]})
    check_columns(frame, ("c", "a"), "")
    with pytest.raises(KeyError, match="columns \\['a', 'd'\\], found \\['a', 'b', 'c'\\]. Do this."):
        check_columns(frame, ("a", "d"), "Do this.")


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([0, 1, 1, 1], True),  # open in most cells
        ([0, 0, 3, 3], True),
        ([0, 0, 0, 2.5], True),
        ([0, 0, 0, 0, 0, 0, 1, 2], True),  # three quarters are 0
        ([0, 0, 0, 0, 0, 4, 1, 2], False),
        ([1, 1, 1, 1], False),
        ([0, 0, 0, -1], False),
        ([1, 2, 2, 2], False),
    ],
)
def test_chromatin_is_told_by_its_values(values, found):
    assert is_mostly_zero(np.array(values, dtype=float)[:, None]).tolist() == [found]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_open_cells_are_told_from_closed_ones_however_many_there_are(share):
    rng = np.random.default_rng(0)
    measured = np.where(np.arange(200) < 200 * share, rng.integers(1, 4, 200), 0).astype(float)[:, None]
    imputed = rng.normal(measured > 0, 1.0)
    is_open = measured[:, 0] > 0
    better = (imputed[is_open] > imputed[~is_open].T).mean()
    np.testing.assert_allclose(auroc_of_open(measured, imputed), [better])
    assert 0.7 < better < 0.85
    assert np.isnan(auroc_of_open(np.ones((5, 1)), imputed[:5])).all()
    assert np.isnan(auroc_of_open(np.zeros((5, 1)), imputed[:5])).all()
