import anndata as ad
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from couplevi._streamed import StreamedMatrix
from couplevi.registry import stored, value_places
from couplevi.registry._places import column_names


@pytest.fixture
def adata():
    x = np.arange(12.0).reshape(4, 3) + 1
    adata = ad.AnnData(x, layers={"scaled": 2 * x}, obsm={"X_pca": x[:, :2]})
    adata.obsm["scores"] = pd.DataFrame(x[:, :2], index=adata.obs_names, columns=["a", 5])
    adata.var_names = ["g", "h", "i"]
    return adata


@pytest.mark.parametrize(
    ("layers", "use_rep", "expected"),
    [
        (None, None, ("X", None)),
        ({"rna": None}, None, ("X", None)),
        ({"rna": "scaled"}, None, ("layers", "scaled")),
        (None, {"rna": "X_pca"}, ("obsm", "X_pca")),
        ({"rna": None}, {"rna": "X_pca"}, ("obsm", "X_pca")),
    ],
)
def test_each_modality_has_one_place(adata, layers, use_rep, expected):
    places = value_places({"rna": adata, "b": adata}, ["b", "rna"], layers, use_rep)
    assert places == {"b": ("X", None), "rna": expected}
    assert list(places) == ["b", "rna"]


@pytest.mark.parametrize(
    ("layers", "use_rep", "error", "message"),
    [
        (
            "scaled",
            None,
            TypeError,
            r"`layers` to map modalities to keys, found 'scaled'. For example {'rna': 'scaled'}",
        ),
        (None, "X_pca", TypeError, "`use_rep` to map modalities to keys, found 'X_pca'"),
        ({"atac": "x"}, None, ValueError, r"`layers` for modalities \['rna'\], found also \['atac'\]"),
        (None, {"atac": "x"}, ValueError, r"`use_rep` for modalities \['rna'\], found also \['atac'\]"),
        ({"rna": "scaled"}, {"rna": "X_pca"}, ValueError, "a layer or a representation for modality 'rna', found both"),
        ({"rna": "raw"}, None, KeyError, r"In modality 'rna': Expected `layers\['raw'\]`, found keys \['scaled'\]"),
        (None, {"rna": "X"}, KeyError, r"In modality 'rna': Expected `obsm\['X'\]`, found keys \['X_pca', 'scores'\]"),
    ],
)
def test_places_that_do_not_exist_are_refused(adata, layers, use_rep, error, message):
    with pytest.raises(error, match=message):
        value_places({"rna": adata}, ["rna"], layers, use_rep)


def test_values_are_checked_where_they_are(adata):
    adata.layers["scaled"][1, 2] = np.inf
    value_places({"rna": adata}, ["rna"], None, None)
    with pytest.raises(ValueError, match=r"finite values in `layers\['scaled'\]` of modality 'rna', found 1"):
        value_places({"rna": adata}, ["rna"], {"rna": "scaled"}, None)
    with pytest.raises(ValueError, match="at least one feature in `X` of modality 'rna', found none"):
        value_places({"rna": adata[:, :0].copy()}, ["rna"], None, None)


def test_values_that_are_read_in_parts_are_not_read_to_be_checked(adata):
    adata.layers["lazy"] = da.from_array(np.full((4, 3), np.nan))
    assert value_places({"rna": adata}, ["rna"], {"rna": "lazy"}, None) == {"rna": ("layers", "lazy")}


@pytest.mark.parametrize(
    ("place", "names", "factor"),
    [
        (("X", None), ["g", "h", "i"], 1),
        (("layers", "scaled"), ["g", "h", "i"], 2),
        (("obsm", "X_pca"), ["X_pca_0", "X_pca_1"], 1),
        (("obsm", "scores"), ["a", "scores_5"], 1),
    ],
)
def test_what_is_stored_comes_with_the_names_of_its_columns(adata, place, names, factor):
    found, values = stored(adata, *place)
    assert list(found) == names
    np.testing.assert_array_equal(values, factor * adata.X[:, : len(names)])


def test_a_matrix_that_is_not_in_memory_becomes_a_stream(adata):
    adata.layers["lazy"] = da.from_array(adata.X)
    _, values = stored(adata, "layers", "lazy")
    assert isinstance(values, StreamedMatrix)
    np.testing.assert_array_equal(values[:2], adata.X[:2])
    adata.X = sp.csr_matrix(adata.X)
    assert stored(adata, "X", None)[1] is adata.X


def test_an_empty_x_is_told_to_name_a_layer(adata):
    adata.X = None
    with pytest.raises(ValueError, match="values in `X`, found none. Name a layer"):
        stored(adata, "X", None)


def test_numbered_columns_get_the_key_in_front():
    assert column_names("pca", [0, np.int64(1), "x", 2.5]) == ["pca_0", "pca_1", "x", "2.5"]
