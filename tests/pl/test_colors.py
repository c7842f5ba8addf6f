"""What cells are coloured by."""

import anndata as ad
import mudata as md
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from couplevi.pl._colors import category_colors, colored_by, ordered_labels
from couplevi.pl._figure import palette

CELLS = ["c0", "c1", "c2", "c3"]
pytestmark = pytest.mark.filterwarnings("ignore:[Vv]ar(iable|_)? ?names are not unique")


@pytest.fixture
def mdata():
    """Cells c0 to c2 in a (sparse), c2 and c3 in b; both have a feature x."""
    a = ad.AnnData(sp.csr_matrix(np.arange(6.0).reshape(3, 2)), obs=pd.DataFrame(index=CELLS[:3]))
    b = ad.AnnData(np.arange(4.0).reshape(2, 2) + 10, obs=pd.DataFrame(index=CELLS[2:]))
    a.var_names, b.var_names = ["x", "y"], ["x", "z"]
    a.layers["double"] = 2 * a.X
    return md.MuData({"a": a, "b": b})


def values(mdata, name, modalities=("a", "b"), **layers):
    found = colored_by(mdata, name, modalities, layers)
    return [None if pd.isna(value) else value for value in found.values[CELLS]]


def test_features_are_found_in_any_modality(mdata):
    assert values(mdata, "y") == [1, 3, 5, None]
    assert values(mdata, "y", a="double") == [2, 6, 10, None]
    assert values(mdata, "z") == [None, None, 11, 13]
    assert values(mdata, "z", modalities=["a"]) == [None, None, 11, 13]
    assert colored_by(mdata, "z", ["a"], {}).colors is None


def test_a_feature_of_several_modalities_is_asked_for(mdata):
    with pytest.raises(
        ValueError, match=r"one modality with feature 'x', found \['a', 'b'\]. Say which: 'a:x' or 'b:x'"
    ):
        values(mdata, "x")
    assert values(mdata, "b:x") == [None, None, 10, 12]
    assert values(mdata, "x", modalities=["a"]) == [0, 2, 4, None]  # those shown come first


def test_columns_come_before_features(mdata):
    mdata["a"].obs["z"] = ["u", "v", "u"]
    found = colored_by(mdata, "z", ["a", "b"], {})
    assert found.values[CELLS].tolist()[:3] == ["u", "v", "u"]
    assert list(found.colors) == ["u", "v"]


@pytest.mark.parametrize(
    ("name", "change", "error", "message"),
    [
        ("no", {}, KeyError, r"`mdata.obs\['no'\]`, or 'no' among the columns and the features"),
        ("y", {"layers": {"a": "no"}}, KeyError, r"mdata\['a'\].layers\['no'\].*found layers \['double'\]"),
        ("twice", {}, ValueError, r"each feature of mdata\['a'\] once, found \['twice'\]"),
    ],
)
def test_what_cannot_be_found_is_named(mdata, name, change, error, message):
    if name == "twice":
        mdata["a"].var_names = ["twice", "twice"]
    with pytest.raises(error, match=message):
        colored_by(mdata, name, ["a"], change.get("layers", {}))


def test_a_modality_without_x_needs_a_layer(mdata):
    mdata["b"].X = None
    mdata["b"].layers["rate"] = np.ones((2, 2))
    with pytest.raises(KeyError, match=r"values in `mdata\['b'\].X`, found none. Name a layer of \['rate'\]"):
        values(mdata, "z")
    assert values(mdata, "z", b="rate") == [None, None, 1, 1]


def test_data_on_disk_are_read(mdata, tmp_path):
    mdata["a"].write(tmp_path / "a.h5ad")
    backed = ad.read_h5ad(tmp_path / "a.h5ad", backed="r")
    assert values(md.MuData({"a": backed, "b": mdata["b"]}), "y") == [1, 3, 5, None]
    backed.file.close()


@pytest.mark.parametrize(
    ("column", "categories"),
    [
        (pd.Categorical(["b", None, "a", "b"], categories=["b", "z", "a"]), ["b", "a"]),
        (np.array(["b", None, "a", "b"], dtype=object), ["a", "b"]),
        (np.array([10, None, 2, 2], dtype=object), ["2", "10"]),
        (pd.array([True, None, False, True], dtype="boolean"), ["False", "True"]),
        (pd.Categorical([10, None, 2, 2]), ["2", "10"]),
        (["unknown", None, "a", "a"], ["a", "unknown"]),
    ],
)
def test_categories_come_in_their_order(mdata, column, categories):
    mdata.obs["kind"] = pd.Series(column, CELLS)
    found = colored_by(mdata, "kind", ["a"], {})
    assert list(found.colors) == categories
    assert set(found.values.dropna()) == set(categories)
    assert found.values[CELLS].isna().tolist() == [False, True, False, False]
    labels = ordered_labels(mdata, "kind", pd.Index(CELLS))
    assert list(labels.cat.categories) == [c for c in categories if c != "unknown"]


def test_colours_are_kept_if_they_fit(mdata):
    mdata.obs["kind"] = pd.Categorical(["b", "a", "a", "b"], categories=["b", "z", "a"])
    for colors in (["#000000", "red"], ["#000000", "red", "no colour"]):
        mdata.uns["kind_colors"] = colors
        found, chosen = category_colors(mdata, "kind", ["b", "a"]), palette(["b", "a"])
        assert all(np.array_equal(found[c], chosen[c]) for c in "ba")
    mdata.uns["kind_colors"] = np.array(["#000000", "red", "blue"])
    assert category_colors(mdata, "kind", ["b", "a"]) == {"b": "#000000", "a": "blue"}


def test_colours_of_a_modality_serve_its_column(mdata):
    mdata["a"].obs["kind"] = pd.Categorical(["b", "a", "a"])
    mdata["b"].obs["kind"] = pd.Categorical(["b", "c"])
    mdata["a"].uns["kind_colors"] = ["red", "blue"]
    mdata["b"].uns["kind_colors"] = ["green", "black"]
    found = colored_by(mdata, "kind", ["a", "b"], {})
    assert found.values[CELLS].tolist() == ["b", "a", "a", "c"]
    assert found.colors == {"a": "red", "b": "blue", "c": "black"}  # where two disagree, the first counts
