from contextlib import nullcontext

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from couplevi.registry import ModalityReader, Seen, registered_readers


@pytest.fixture
def adata(mdata):
    return mdata["rna"].copy()


def reader_of(adata, attribute="X", key=None):
    return ModalityReader("rna", attribute, key, tuple(adata.var_names))


def test_reads_layers_and_x(adata, mdata):
    np.testing.assert_array_equal(reader_of(adata).read(adata), adata.X)
    np.testing.assert_array_equal(reader_of(adata, "layers", "log1p").read(mdata), adata.layers["log1p"])


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix, sp.csc_matrix])
def test_features_are_found_by_name_and_put_in_order(adata, kind):
    other = adata[:, ::-1].copy()
    extra = np.hstack([other.X, np.ones((other.n_obs, 1), dtype=np.float32)])
    wide = ad.AnnData(kind(extra), obs=other.obs)
    wide.var_names = [*other.var_names, "further"]
    values = reader_of(adata).read(wide)
    np.testing.assert_array_equal(values.toarray() if sp.issparse(values) else values, adata.X)


def test_missing_features_are_listed(adata):
    with pytest.raises(ValueError, match=r"all 30 features .* found 2 missing: \['rna0', 'rna1'\]"):
        reader_of(adata).read(adata[:, 2:])


def test_missing_layer_names_those_there(adata):
    with pytest.raises(KeyError, match=r"layers\['raw'\].*found keys \['log1p'\]"):
        reader_of(adata, "layers", "raw").read(adata)


def test_representation_has_a_number_of_columns(adata):
    adata.obsm["X_pca"] = adata.X[:, :4]
    reader = ModalityReader("rna", "obsm", "X_pca", tuple(f"X_pca_{j}" for j in range(4)))
    assert reader.var_names == ("X_pca_0", "X_pca_1", "X_pca_2", "X_pca_3")
    np.testing.assert_array_equal(reader.read(adata), adata.X[:, :4])
    adata.obsm["X_pca"] = adata.X[:, :3]
    with pytest.raises(ValueError, match=r"all 4 features .* found 1 missing: \['X_pca_3'\]"):
        reader.read(adata)


def test_representation_as_a_frame_keeps_its_names(adata):
    adata.obsm["scores"] = pd.DataFrame(adata.X[:, :2], index=adata.obs_names, columns=["a", "b"])
    reader = ModalityReader("rna", "obsm", "scores", ("a", "b"))
    assert reader.var_names == ("a", "b")
    np.testing.assert_array_equal(reader.read(adata), adata.X[:, :2])


def test_new_values_must_be_finite(adata):
    adata.X[0, 0] = np.nan
    with pytest.raises(ValueError, match="finite values in `X` of modality 'rna'"):
        reader_of(adata).read(adata)


def test_mudata_without_the_modality(adata, mdata):
    reader = ModalityReader("protein", "X", None, ("a",))
    with pytest.raises(KeyError, match=r"one of \['rna', 'ephys'\], found 'protein'"):
        reader.read(mdata)


def test_columns_of_a_data_frame_are_found_by_name(adata):
    adata.obsm["scores"] = pd.DataFrame(adata.X[:, :3], index=adata.obs_names, columns=["a", "b", "c"])
    reader = ModalityReader("rna", "obsm", "scores", ("a", "b", "c"))
    before = reader.read(adata)
    adata.obsm["scores"] = adata.obsm["scores"][["c", "a", "b"]]
    np.testing.assert_array_equal(reader.read(adata), before)
    adata.obsm["scores"] = adata.obsm["scores"].rename(columns={"c": "d"})
    with pytest.raises(ValueError, match=r"1 missing: \['c'\]"):
        reader.read(adata)


def test_duplicate_features_are_refused(adata):
    with pytest.warns(UserWarning, match="Variable names are not unique"):
        double = adata[:, [*range(adata.n_vars), 0]].copy()
    with pytest.raises(
        ValueError, match=r"each feature of `X` of modality 'rna' once, found \['rna0'\] more than once"
    ):
        reader_of(adata).read(double)


def test_empty_data_are_refused(adata):
    reader = reader_of(adata)
    adata.X = None
    with pytest.raises(ValueError, match="values in `X`, found none"):
        reader.read(adata)


def test_columns_of_a_representation_that_are_numbers_get_its_key_in_front():
    def registry(key, columns):
        place = {"attr_name": "obsm", "attr_key": key, "mod_key": "rna"}
        return {"field_registries": {"X_rna": {"data_registry": place, "state_registry": {"column_names": columns}}}}

    [numbered] = registered_readers(registry("X_pca", np.arange(2)), ["rna"]).values()
    assert numbered.var_names == ("X_pca_0", "X_pca_1")
    [named] = registered_readers(registry("scores", ["a", "b"]), ["rna"]).values()
    assert named.var_names == ("a", "b")


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix, sp.csc_matrix])
def test_features_that_are_missing_get_what_stands_in_for_them(adata, kind):
    """The first, one in the middle and the last; those that are there keep their places."""
    gone = [0, 7, 29]
    there = np.delete(np.arange(30), gone)
    fewer = ad.AnnData(kind(adata.X[:, there[::-1]]), obs=adata.obs)
    fewer.var_names = adata.var_names[there[::-1]]
    stand_in = np.arange(30, dtype=np.float64) + 100
    reader = reader_of(adata).of_model(adata.var_names, None, stand_in)
    with pytest.warns(UserWarning, match=r"3 of the 30 features of .* missing, .*\['rna0', 'rna7', 'rna29'\]"):
        values = reader.read(fewer)
    values = values.toarray() if sp.issparse(values) else values
    np.testing.assert_array_equal(values[:, there], adata.X[:, there])
    np.testing.assert_array_equal(values[:, gone], np.tile(stand_in[gone], (adata.n_obs, 1)))
    with pytest.raises(ValueError, match="3 missing"):
        reader.measured(fewer)


SEEN = Seen(low=-1.0, high=3.0, whole=False, empty=False)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[-5.0, 2.5], [0.5, 7.0]], None),  # as far beyond as what was seen is wide
        ([[-1.0, 2.5], [0.5, 7.1]], "in training from -1 to 3: these cells may be scaled"),
        ([[-5.1, 2.5], [0.5, 3.0]], "in training from -1 to 3: these cells may be scaled"),
        ([[0.0, 2.0], [6.0, 1.0]], "whole numbers, like raw counts, and those in training were not"),
    ],
)
def test_values_far_from_those_seen_are_noticed(values, message):
    adata = ad.AnnData(np.array(values))
    reader = ModalityReader("rna", "X", None, tuple(adata.var_names), seen=SEEN)
    with nullcontext() if message is None else pytest.warns(UserWarning, match=message):
        np.testing.assert_array_equal(reader.read(adata), values)


def test_fractions_are_noticed_where_counts_were_seen():
    adata = ad.AnnData(np.array([[0.5, 2.0]]))
    seen = Seen(0.0, 30.0, whole=True, empty=False)
    with pytest.warns(UserWarning, match="numbers with fractions, like transformed ones, and those in training were"):
        ModalityReader("rna", "X", None, tuple(adata.var_names), seen=seen).read(adata)


def test_what_is_seen_is_the_range_and_the_kind():
    assert Seen.of(np.array([[2.5, 7.0, 1, 1, 1]])) == (0.0, 7.0, False, False)
    assert Seen.of(sp.csr_matrix(np.array([[0.0, 7.0, 1, 0, 0], [0, 0, 0, 0, 0]]))) == (0.0, 7.0, True, True)
    assert Seen.of(np.array([[-2.0, 3.0]])) == (-2.0, 3.0, False, True)  # zeros of two features mean nothing
