import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from couplevi.model._reader import ModalityReader


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
    import anndata as ad

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
    reader = ModalityReader.registered("rna", "obsm", "X_pca", np.arange(4))
    assert reader.var_names == ("X_pca_0", "X_pca_1", "X_pca_2", "X_pca_3")
    np.testing.assert_array_equal(reader.read(adata), adata.X[:, :4])
    adata.obsm["X_pca"] = adata.X[:, :3]
    with pytest.raises(ValueError, match="4 columns in .*X_pca.*, found 3 columns"):
        reader.read(adata)


def test_representation_as_a_frame_keeps_its_names(adata):
    adata.obsm["scores"] = pd.DataFrame(adata.X[:, :2], index=adata.obs_names, columns=["a", "b"])
    reader = ModalityReader.registered("rna", "obsm", "scores", ["a", "b"])
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
