import mudata as md
import numpy as np
import pytest

import couplevi as cvi
from couplevi._mudata import without_pulling
from couplevi.registry import Registered, registered_keys, registered_readers


@pytest.fixture
def linked(mdata):
    """60 cells, 30 measured twice; 20 of these pairs are given, with modalities in the order (rna, ephys)."""
    both = mdata["rna"].obs_names.intersection(mdata["ephys"].obs_names)[:20]
    mdata.obs["both"] = mdata.obs_names.isin(both)
    cvi.pp.link(mdata, modalities=("rna", "ephys"), hide=1 / 3)
    return mdata


def registered(mdata, data=None, **keys):
    cvi.model.JAMIE.setup_mudata(mdata, modalities=("rna", "ephys"), layers={"rna": "log1p"}, **keys)
    model = cvi.model.JAMIE(mdata)
    readers = registered_readers(model.registry_, ["ephys", "rna"])
    kinds = {kind: registered_keys(model.registry_, kind) for kind in ("correspondence", "match")}
    return Registered(mdata if data is None else data, readers, kinds)


def test_values_rows_and_profiles_are_those_of_the_modality(mdata):
    data = registered(mdata)
    np.testing.assert_array_equal(data.values("rna"), mdata["rna"].layers["log1p"])
    np.testing.assert_array_equal(data.values("ephys"), mdata["ephys"].X)
    assert data.profiles("rna") is mdata["rna"]
    assert list(mdata.obs_names[data.rows("ephys")]) == list(mdata["ephys"].obs_names)
    assert data.present == ["ephys", "rna"]


def test_nothing_is_asked_of_modalities_that_the_data_lack_or_have_no_cells_of(mdata):
    with without_pulling():
        alone = md.MuData({"rna": mdata["rna"].copy()})
        empty = md.MuData({"rna": mdata["rna"].copy(), "ephys": mdata["ephys"][:0].copy()})
    for data in (alone, empty):
        assert list(registered(mdata, data).of_present().readers) == ["rna"]
    assert list(registered(mdata).of_present().readers) == ["ephys", "rna"]


def test_links_come_in_the_order_of_the_alphabet_whichever_way_they_were_written(linked):
    links = registered(linked, correspondence_key="correspondence").links()
    assert list(links) == [("ephys", "rna")]
    row, column = links["ephys", "rna"].tocoo().coords
    assert list(linked["ephys"].obs_names[row]) == list(linked["rna"].obs_names[column])
    assert links["ephys", "rna"].shape == (linked["ephys"].n_obs, linked["rna"].n_obs)
    assert len(row) == 20


def test_without_a_key_links_are_by_name_and_there_are_no_matches(linked):
    with pytest.warns(UserWarning, match="exists but is not used"):
        data = registered(linked)
    assert data.links()["ephys", "rna"].nnz == 30
    assert data.links("match") == {}


def test_data_without_the_registered_matrix_are_linked_by_name(linked):
    other = md.MuData({m: linked[m].copy() for m in ("rna", "ephys")})
    data = registered(linked, other, correspondence_key="correspondence", match_key="correspondence")
    assert data.links()["ephys", "rna"].nnz == 30
    assert data.links("match") == {}


def test_a_matrix_is_checked_whenever_it_is_read(linked):
    data = registered(linked, correspondence_key="correspondence")
    linked.obsp["correspondence"].data[0] = 2
    with pytest.raises(ValueError, match="confidences between 0 and 1"):
        data.links()


def test_an_anndata_may_be_any_modality_and_has_no_links(mdata):
    data = registered(mdata, mdata["rna"][:5].copy())
    assert data.present == ["ephys", "rna"]
    assert data.links() == {}
    np.testing.assert_array_equal(data.rows("rna"), np.arange(5))


def test_a_mudata_may_lack_modalities(mdata):
    data = registered(mdata, md.MuData({"rna": mdata["rna"].copy()}))
    assert data.present == ["rna"]
    assert data.links() == {}
    with pytest.raises(KeyError, match="`modality` to be one of"):
        data.values("ephys")


@pytest.mark.parametrize(("data", "found"), [(None, "a model without data"), ("cells.h5mu", "str")])
def test_data_are_an_anndata_or_a_mudata(data, found):
    with pytest.raises(ValueError, match=f"an AnnData or a MuData, found {found}. Pass `adata=`"):
        Registered(data, {}, {})
