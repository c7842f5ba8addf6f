"""Data that are larger than memory: the same result as in memory, read in parts."""

import warnings

import anndata as ad
import dask.array as da
import mudata as md
import numpy as np
import pytest
import scipy.sparse as sp
import zarr

import couplevi as cvi
from couplevi._arrays import dense
from couplevi._streamed import StreamedMatrix, in_memory, loaded

MODALITIES = ("rna", "ephys")


@pytest.fixture(params=["csr", "dense"])
def data(request):
    """Values in ``X``, where a backed file keeps them on disk."""
    mdata = cvi.data.branching_manifold(
        n_obs=90, n_features={"rna": 120, "ephys": 12}, paired=0.6, sparse=request.param == "csr", seed=1
    )
    mdata["rna"].X = mdata["rna"].layers.pop("log1p")
    return mdata


@pytest.fixture
def streams(data, tmp_path):
    """The same data behind every kind of store."""
    data.write(tmp_path / "x.h5mu")
    backed = md.read_h5mu(tmp_path / "x.h5mu", backed="r")
    stores = {}
    for kind in ("zarr", "dask"):
        modalities = {}
        for m in MODALITIES:
            x = data[m].X
            if kind == "dask":
                chunk = lambda block: sp.csr_matrix(block) if sp.issparse(x) else block  # noqa: B023
                values = da.from_array(x.toarray() if sp.issparse(x) else x, chunks=(20, -1)).map_blocks(chunk)
            elif sp.issparse(x):
                group = zarr.open_group(tmp_path / f"{m}.zarr")
                with warnings.catch_warnings():
                    warnings.filterwarnings("ignore", message="zarr v3 autosharding")  # of anndata, about itself
                    ad.io.write_elem(group, "x", x)
                values = ad.io.sparse_dataset(group["x"])
            else:
                values = zarr.create_array(tmp_path / f"{m}.zarr", data=x)
            modalities[m] = ad.AnnData(values, obs=data[m].obs.copy(), var=data[m].var.copy())
        stores[kind] = md.MuData(modalities)
    yield {"h5mu": backed, **stores}
    backed.file.close()


def fit(mdata, quick, **kwargs):
    return cvi.tl.jamie(mdata, modalities=MODALITIES, seed=0, train_kwargs=quick, **kwargs)


@pytest.mark.parametrize("n_pcs", [10, None])
def test_every_store_gives_the_result_of_memory(data, streams, quick, n_pcs):
    model = fit(data, quick, n_pcs={"rna": n_pcs})
    cvi.tl.impute(data, model, source="rna", target="ephys")
    for kind, mdata in streams.items():
        assert isinstance(model.reader("rna").read(mdata), StreamedMatrix), kind
        other = fit(mdata, quick, n_pcs={"rna": n_pcs})
        cvi.tl.impute(mdata, other, source="rna", target="ephys")
        for slot in ("X_jamie", "jamie_ephys"):
            np.testing.assert_allclose(
                mdata["rna"].obsm[slot], data["rna"].obsm[slot], rtol=1e-4, atol=1e-4, err_msg=f"{kind}, {slot}"
            )
        np.testing.assert_allclose(mdata.obsm["X_jamie"], data.obsm["X_jamie"], rtol=1e-4, atol=1e-4)
        assert isinstance(other.reader("rna").read(mdata), StreamedMatrix), kind


def test_other_tools_take_a_backed_file(data, streams, quick):
    model = fit(data, quick)
    backed = streams["h5mu"]
    frames = [
        cvi.tl.evaluate(mdata, model, labels=None, baselines=("knn", "ridge"), in_sample=True)
        for mdata in (data, backed)
    ]
    np.testing.assert_allclose(frames[0]["value"], frames[1]["value"], rtol=1e-4)
    route = {"source": "rna", "target": "ephys"}
    some = data["rna"].obs_names[:3]
    values = [cvi.tl.explain(mdata, model, **route, cells=some).values for mdata in (data, backed)]
    np.testing.assert_allclose(values[0], values[1], atol=1e-5)
    frames = [cvi.tl.ablate(mdata, model, **route, targets=["ephys1"]) for mdata in (data, backed)]
    np.testing.assert_allclose(frames[0]["ablated"], frames[1]["ablated"], atol=1e-5)
    for mdata in (data, backed):
        cvi.tl.match(mdata, modalities=MODALITIES, known="by_name")
    np.testing.assert_allclose(data.obsp["match"].toarray(), backed.obsp["match"].toarray(), atol=1e-5)


def test_a_model_is_loaded_with_a_backed_file(data, streams, quick, tmp_path):
    model = fit(data, quick)
    model.save(tmp_path / "model")
    again = cvi.model.JAMIE.load(tmp_path / "model", adata=streams["h5mu"])
    np.testing.assert_allclose(again.get_latent_representation(), model.get_latent_representation(), atol=1e-5)


def test_features_are_found_by_name_in_a_stream(data, quick, tmp_path):
    model = fit(data, quick)
    flipped = md.MuData({m: data[m][:, ::-1].copy() for m in MODALITIES})
    flipped.write(tmp_path / "flipped.h5mu")
    backed = md.read_h5mu(tmp_path / "flipped.h5mu", backed="r")
    z = model.get_latent_representation(backed)
    np.testing.assert_allclose(z, model.get_latent_representation(), atol=1e-4)


@pytest.mark.parametrize("data", ["csr"], indirect=True)
def test_rows_come_in_the_order_asked_for(streams, data):
    x = data["rna"].X.toarray()
    rows = np.array([7, 3, 3, 60, 0])
    for kind, mdata in streams.items():
        stream = StreamedMatrix(mdata["rna"].X, "x", np.array([5, 2]))
        assert stream.shape == (len(x), 2)
        np.testing.assert_array_equal(dense(stream[rows]), x[rows][:, [5, 2]], err_msg=kind)
        np.testing.assert_array_equal(np.asarray(stream), x[:, [5, 2]])


def test_values_that_are_not_finite_are_found_when_they_are_read(data, quick, tmp_path):
    values = data["rna"].X
    (values.data if sp.issparse(values) else values)[0] = np.nan
    data.write(tmp_path / "nan.h5mu")
    backed = md.read_h5mu(tmp_path / "nan.h5mu", backed="r")
    with pytest.raises(ValueError, match="finite values in `X`"):
        fit(backed, quick)
    assert "X_jamie" not in backed.obsm


@pytest.mark.parametrize("data", ["csr"], indirect=True)
def test_values_stored_by_columns_are_refused(data, quick, tmp_path):
    data["rna"].X = data["rna"].X.tocsc()
    data.write(tmp_path / "csc.h5mu")
    backed = md.read_h5mu(tmp_path / "csc.h5mu", backed="r")
    with pytest.raises(ValueError, match="In modality 'rna': Expected `X` to be stored by rows .* found csc. Write it"):
        fit(backed, quick)


def test_memory_does_not_hold_the_matrix(quick, tmp_path, monkeypatch):
    """No more than a chunk is ever read at once."""
    mdata = cvi.data.branching_manifold(n_obs=200, n_features={"rna": 150, "ephys": 8}, seed=1)
    mdata.write(tmp_path / "x.h5mu")
    backed = md.read_h5mu(tmp_path / "x.h5mu", backed="r")
    monkeypatch.setattr("couplevi.preparation._rows.CHUNK_VALUES", 150 * 16)
    monkeypatch.setattr("couplevi.model.jamie.inference.CHUNK", 16)
    largest = []
    read = StreamedMatrix._read

    def counted(self, rows):
        values = read(self, rows)
        largest.append(values.shape[0] if values.shape[1] == 150 else 0)
        return values

    monkeypatch.setattr(StreamedMatrix, "_read", counted)
    model = fit(backed, quick)
    model.impute(source="rna", target="ephys")
    assert max(largest) == 16


def test_a_stream_is_a_matrix_of_its_shape_and_columns():
    x = np.arange(12.0).reshape(4, 3)
    stream = StreamedMatrix(da.from_array(x, chunks=(2, -1)), "x")
    assert (stream.shape, stream.ndim, len(stream)) == ((4, 3), 2, 4)
    some = stream.of_columns(np.array([2, 0]))
    assert some.shape == (4, 2)
    np.testing.assert_array_equal(some[1:3], x[1:3][:, [2, 0]])
    np.testing.assert_array_equal(np.asarray(some, dtype=np.float32), x[:, [2, 0]])


def test_only_rows_that_are_read_are_checked():
    x = np.ones((4, 2))
    x[3, 1] = np.inf
    stream = StreamedMatrix(da.from_array(x), "`X`")
    np.testing.assert_array_equal(stream[np.array([2, 0, 2])], 1)
    assert stream.of_columns(np.array([0]))[:].sum() == 4
    with pytest.raises(ValueError, match="finite values in `X`, found 1 that are NaN or infinite"):
        stream[np.array([3])]


def test_what_is_in_memory_is_not_read_again():
    x = sp.csr_matrix(np.eye(3))
    assert loaded(x) is x
    assert in_memory(x)
    assert in_memory(np.eye(3))
    lazy = da.from_array(np.eye(3))
    assert not in_memory(lazy)
    np.testing.assert_array_equal(loaded(StreamedMatrix(lazy, "x")), np.eye(3))
