import anndata as ad
import numpy as np
import pandas as pd
import pytest

import couplevi as cvi
from couplevi.model._store import imputation_store

OBS, VAR = pd.DataFrame({"kind": list("xyz")}, index=["a", "b", "c"]), pd.DataFrame(index=["g", "h"])


def test_a_store_is_there_once_all_of_it_is_written(tmp_path):
    path = tmp_path / "x.zarr"
    with imputation_store(path, OBS, VAR, 2, False) as (values, _):
        values[slice(0, 2)] = np.array([[1, 2], [3, 4]], dtype=np.float32)
        values[slice(2, 3)] = np.array([[5, 6]], dtype=np.float32)
        assert values.chunks == (2, 2)
        assert not path.exists()
    stored = ad.read_zarr(path)
    assert stored.X.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert stored.obs["kind"].tolist() == ["x", "y", "z"]
    assert list(stored.var_names) == ["g", "h"]
    assert not stored.layers


def test_deviations_are_a_layer_of_their_own(tmp_path):
    with imputation_store(tmp_path / "x.zarr", OBS, VAR, 100, True) as (values, deviations):
        values[:], deviations[:] = 1.0, 2.0
        assert values.chunks == (3, 2)  # of no more rows than there are
    stored = ad.read_zarr(tmp_path / "x.zarr")
    assert (stored.X == 1).all()
    assert (stored.layers["sd"] == 2).all()


def test_nothing_is_left_if_it_is_not_written_to_the_end_and_another_try_succeeds(tmp_path):
    path = tmp_path / "x.zarr"
    with pytest.raises(KeyboardInterrupt), imputation_store(path, OBS, VAR, 2, False):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    with imputation_store(path, OBS, VAR, 2, False) as (values, _):
        values[:] = 0.0
    with (
        pytest.raises(FileExistsError, match="Expected nothing at .*found a file or folder. Choose another name"),
        imputation_store(path, OBS, VAR, 2, False),
    ):
        pass
    assert (ad.read_zarr(path).X == 0).all()


@pytest.mark.parametrize("return_sd", [False, True])
def test_a_store_holds_what_impute_returns(quick, tmp_path, return_sd):
    mdata = cvi.data.branching_manifold(n_obs=120, n_features={"rna": 30, "ephys": 8}, paired=0.9, seed=1)
    model = cvi.tl.jamie(mdata, modalities=("rna", "ephys"), seed=0, train_kwargs=quick)
    options = {"source": "rna", "target": "ephys", "return_sd": return_sd}
    model.impute_to_store(tmp_path / "x.zarr", **options, batch_size=50)
    expected, stored = model.impute(**options), ad.read_zarr(tmp_path / "x.zarr")
    np.testing.assert_array_equal(stored.X, expected.X)
    assert stored.obs_names.equals(expected.obs_names)
    assert stored.var_names.equals(expected.var_names)
    assert list(stored.layers) == list(expected.layers)
    for layer in expected.layers:
        np.testing.assert_array_equal(stored.layers[layer], expected.layers[layer])
    assert [p.name for p in tmp_path.iterdir()] == ["x.zarr"]
    with pytest.raises(FileExistsError, match="nothing at .*x.zarr', found a file or folder"):
        model.impute_to_store(tmp_path / "x.zarr", **options)


def test_no_store_is_left_by_a_failure(quick, tmp_path):
    mdata = cvi.data.branching_manifold(n_obs=60, n_features={"rna": 30, "ephys": 8}, seed=1)
    model = cvi.tl.jamie(mdata, modalities=("rna", "ephys"), seed=0, train_kwargs=quick)
    mdata["rna"].X[40, 3] = np.nan
    with pytest.raises(ValueError, match="finite values"):
        model.impute_to_store(tmp_path / "x.zarr", source="rna", target="ephys", batch_size=10)
    assert list(tmp_path.iterdir()) == []
