import numpy as np
import pytest
import scipy.sparse as sp

import couplevi as cvi
from couplevi.registry import links_between, links_by_name, rows_in_obs, written_links


def test_rows_in_obs_follow_the_names(mdata):
    for m in mdata.mod:
        assert mdata.obs_names[rows_in_obs(mdata, m)].equals(mdata[m].obs_names)


def test_links_by_name_join_equal_names(mdata):
    links = links_by_name(mdata, "rna", "ephys").tocoo()
    rows, cols = links.coords
    assert mdata["rna"].obs_names[rows].equals(mdata["ephys"].obs_names[cols])
    assert links.nnz == 30
    assert (links.data == 1).all()


def test_registered_links_are_those_that_were_written(mdata):
    dense = np.zeros((mdata["rna"].n_obs, mdata["ephys"].n_obs), dtype=np.float32)
    dense[np.arange(20), np.arange(20, 0, -1)] = 0.7
    cvi.pp.link(mdata, modalities=("rna", "ephys"), pairs=dense)
    np.testing.assert_array_equal(written_links(mdata, "correspondence", "rna", "ephys").toarray(), dense)


def test_missing_key_names_the_call(mdata):
    with pytest.raises(KeyError, match=r"cvi.pp.link\(mdata, modalities=\('rna', 'ephys'\)"):
        written_links(mdata, "correspondence", "rna", "ephys")


def test_wrong_orientation_is_refused(mdata):
    cvi.pp.link(mdata, modalities=("ephys", "rna"))
    with pytest.raises(ValueError, match=r"\['rna', 'ephys'\] \(rows, columns\), found \['ephys', 'rna'\]"):
        written_links(mdata, "correspondence", "rna", "ephys")


def test_entries_of_cells_without_the_modality_are_refused(mdata):
    only_ephys = mdata.obs_names.difference(mdata["rna"].obs_names)[0]
    i = mdata.obs_names.get_loc(only_ephys)
    mdata.obsp["p"] = sp.csr_matrix(([1.0], ([i], [i])), shape=(60, 60))
    with pytest.raises(ValueError, match=f"rows of .*'p'.* measured in 'rna', found entries for .*{only_ephys}"):
        written_links(mdata, "p", "rna", "ephys")


@pytest.mark.filterwarnings("ignore:Changing the sparsity structure")
def test_update_after_linking_is_noticed(mdata):
    """mudata fills new rows of obsp with -1, or NaN from 0.4 on."""
    cvi.pp.link(mdata, modalities=("rna", "ephys"))
    more = mdata["rna"][:3].copy()
    more.obs_names = ["new0", "new1", "new2"]
    more.var_names = [f"new{j}" for j in range(more.n_vars)]
    mdata.mod["more"] = more
    mdata.update()
    with pytest.raises(ValueError, match=r"`mdata.update\(\)` writes -1 or NaN for cells that were added"):
        written_links(mdata, "correspondence", "rna", "ephys")


@pytest.mark.parametrize("kept", [("a", "b"), ("b", "a")])
def test_rows_of_links_between_two_modalities_are_profiles_of_the_first(kept):
    matrix = sp.csr_array(np.array([[0.5, 0.0, 0.0], [0.0, 0.0, 1.0]]))
    found = links_between({kept: matrix}, *kept[::-1])
    np.testing.assert_array_equal(found.toarray(), matrix.toarray().T)
    assert found.format == "csr"
    assert links_between({kept: matrix}, *kept) is matrix
