import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from couplevi.registry import ModalityReader, registered_readers


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
