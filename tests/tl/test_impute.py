import mudata as md
import numpy as np
import pytest

import couplevi as cvi


@pytest.fixture
def data(fitted):
    model, mdata = fitted
    return model, mdata.copy()


def test_every_cell_of_the_source_is_imputed(data):
    model, mdata = data
    cvi.tl.impute(mdata, model, source="rna", target="ephys")
    imputed = model.impute(source="rna", target="ephys")
    np.testing.assert_array_equal(mdata["rna"].obsm["jamie_ephys"], imputed.X)
    assert mdata.uns["jamie"]["var_names"]["ephys"] == list(imputed.var_names)


def test_layer_lies_beside_the_measured_values(data):
    model, mdata = data
    cvi.tl.impute(mdata, model, source="rna", target="ephys")
    layer = mdata["ephys"].layers["jamie_from_rna"]
    assert layer.shape == mdata["ephys"].shape
    imputed = mdata["rna"].obsm["jamie_ephys"]
    for i, name in enumerate(mdata["ephys"].obs_names):
        row = mdata["rna"].obs_names.get_indexer([name])[0]
        if row < 0:
            assert np.isnan(layer[i]).all()
        else:
            np.testing.assert_array_equal(layer[i], imputed[row])


def test_what_was_learned_from_is_written_beside_the_layer(hidden, tmp_path):
    model, mdata, known = hidden
    mdata = mdata.copy()
    cvi.tl.impute(mdata, model, source="rna", target="ephys")
    cvi.tl.impute_baseline(mdata, model, source="rna", target="ephys", method="ridge")
    for column in ("jamie_from_rna_fitted", "ridge_from_rna_fitted"):
        fitted = mdata["ephys"].obs[column]
        assert fitted.dtype == bool
        np.testing.assert_array_equal(fitted[mdata.obs_names], known)
    mdata.write(tmp_path / "x.h5mu")
    again = md.read_h5mu(tmp_path / "x.h5mu")
    np.testing.assert_array_equal(
        again["ephys"].obs["jamie_from_rna_fitted"], mdata["ephys"].obs["jamie_from_rna_fitted"]
    )
    alone = md.MuData({"rna": mdata["rna"].copy()})
    cvi.tl.impute(alone, model, source="rna", target="ephys")
    assert "jamie_from_ephys_fitted" not in alone["rna"].obs


def test_features_in_another_order_stay_with_their_names(data):
    model, mdata = data
    flipped = md.MuData({"rna": mdata["rna"].copy(), "ephys": mdata["ephys"][:, ::-1].copy()})
    cvi.tl.impute(mdata, model, source="rna", target="ephys")
    cvi.tl.impute(flipped, model, source="rna", target="ephys")
    np.testing.assert_allclose(
        flipped["ephys"].layers["jamie_from_rna"][:, ::-1], mdata["ephys"].layers["jamie_from_rna"], rtol=1e-4
    )


def test_new_data_with_the_source_alone(data):
    model, mdata = data
    new = md.MuData({"rna": mdata["rna"][:7].copy(), "other": mdata["ephys"][:4].copy()})
    cvi.tl.impute(new, model, source="rna", target="ephys", key_added="j")
    assert new["rna"].obsm["j_ephys"].shape == (7, 8)
    assert "j" in new.uns


def test_representation_as_target_has_no_layer(mdata, quick):
    mdata["ephys"].obsm["X_pca"] = mdata["ephys"].X[:, :3].copy()
    model = cvi.tl.jamie(mdata, modalities=("rna", "ephys"), use_rep={"ephys": "X_pca"}, train_kwargs=quick)
    cvi.tl.impute(mdata, model, source="rna", target="ephys")
    assert mdata["rna"].obsm["jamie_ephys"].shape == (45, 3)
    assert not mdata["ephys"].layers


def test_imputed_modality_and_links_survive(data):
    model, mdata = data
    cvi.pp.link(mdata, modalities=("rna", "ephys"))
    before = mdata.obsp["correspondence"].copy()
    for _ in range(2):  # a second time replaces it
        cvi.tl.impute(mdata, model, source="rna", target="ephys", as_modality=True)
    added = mdata["ephys_from_rna"]
    assert added.obs_names.equals(mdata["rna"].obs_names)
    assert added.var_names.equals(mdata["ephys"].var_names)
    np.testing.assert_array_equal(added.X, mdata["rna"].obsm["jamie_ephys"])
    assert (mdata.obsp["correspondence"] != before).nnz == 0
    assert mdata.n_obs == 60
    added.X[0, 0] = 1e9
    assert mdata["rna"].obsm["jamie_ephys"][0, 0] != 1e9


def test_measured_modality_of_that_name_is_not_replaced(data):
    model, mdata = data
    other = mdata["rna"][:, :2].copy()
    other.var_names = ["other0", "other1"]
    taken = md.MuData({**mdata.mod, "ephys_from_rna": other})
    with pytest.raises(ValueError, match="no modality 'ephys_from_rna' but an imputed one, found a measured one"):
        cvi.tl.impute(taken, model, source="rna", target="ephys", as_modality=True)
    assert "jamie_ephys" not in taken["rna"].obsm


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"source": "atac", "target": "rna"}, KeyError, "`source` to be one of"),
        ({"source": "rna", "target": "atac"}, ValueError, "`target` to be one of"),
        ({"source": "rna", "target": "rna"}, ValueError, "`target` to differ"),
    ],
)
def test_bad_requests_write_nothing(data, arguments, error, message):
    model, mdata = data
    before = set(mdata["rna"].obsm)
    with pytest.raises(error, match=message):
        cvi.tl.impute(mdata, model, **arguments)
    assert set(mdata["rna"].obsm) == before
    with pytest.raises(TypeError, match="a MuData"):
        cvi.tl.impute(mdata["rna"], model, source="rna", target="ephys")
