import mudata as md
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import couplevi as cvi

BOTH = ("rna", "ephys")


def matrix(mdata):
    return mdata.obsp["correspondence"].toarray()


def test_by_name_links_the_cells_measured_in_both(mdata):
    cvi.pp.link(mdata, modalities=BOTH)
    both = mdata.obs_names.isin(mdata["rna"].obs_names) & mdata.obs_names.isin(mdata["ephys"].obs_names)
    np.testing.assert_array_equal(matrix(mdata), np.diag(both.astype(float)))
    assert mdata.uns["correspondence"] == {"modalities": ["rna", "ephys"]}
    assert isinstance(mdata.obsp["correspondence"], sp.csr_matrix)
    assert mdata.obsp["correspondence"].dtype == np.float32


def test_table_gives_rows_of_the_first_and_columns_of_the_second(mdata):
    rna, ephys = mdata["rna"].obs_names, mdata["ephys"].obs_names
    table = pd.DataFrame({"ephys": ephys[[3, 4]], "rna": rna[[0, 0]], "confidence": [0.5, 0.25], "note": "x"})
    cvi.pp.link(mdata, modalities=BOTH, pairs=table, key_added="mine")
    expected = np.zeros((60, 60))
    row = mdata.obs_names.get_loc(rna[0])
    expected[row, mdata.obs_names.get_indexer(ephys[[3, 4]])] = 0.5, 0.25
    np.testing.assert_array_equal(mdata.obsp["mine"].toarray(), expected)


def test_table_without_confidence_is_certain(mdata):
    table = pd.DataFrame({"rna": mdata["rna"].obs_names[:3], "ephys": mdata["ephys"].obs_names[:3]})
    cvi.pp.link(mdata, modalities=BOTH, pairs=table)
    assert matrix(mdata).sum() == 3


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix, sp.coo_array, sp.csc_matrix])
def test_matrix_of_profiles_lands_on_their_cells(mdata, kind):
    dense = np.zeros((mdata["rna"].n_obs, mdata["ephys"].n_obs))
    dense[2, 5], dense[7, 1] = 1, 0.3
    cvi.pp.link(mdata, modalities=BOTH, pairs=kind(dense))
    for i, j in ((2, 5), (7, 1)):
        cell = (
            mdata.obs_names.get_loc(mdata["rna"].obs_names[i]),
            mdata.obs_names.get_loc(mdata["ephys"].obs_names[j]),
        )
        assert matrix(mdata)[cell] == pytest.approx(dense[i, j])
    assert matrix(mdata).sum() == pytest.approx(1.3)


def test_matrix_of_cells_is_taken_as_it_is_and_not_changed(paired):
    given = sp.random_array((40, 40), density=0.1, rng=np.random.default_rng(0), format="csr")
    before = given.copy()
    cvi.pp.link(paired, modalities=BOTH, pairs=given)
    np.testing.assert_allclose(matrix(paired), before.toarray(), rtol=1e-6)
    assert (given != before).nnz == 0


def test_hiding_is_reproducible_for_any_order_of_cells(paired):
    cvi.pp.link(paired, modalities=BOTH, hide=0.25, seed=3)
    known = set(paired.obs_names[matrix(paired).diagonal() > 0])
    assert len(known) == 30
    other = paired[paired.obs_names[::-1]].copy()
    cvi.pp.link(other, modalities=BOTH, hide=0.25, seed=3)
    assert set(other.obs_names[matrix(other).diagonal() > 0]) == known
    cvi.pp.link(paired, modalities=BOTH, hide=0.25, seed=4)
    assert set(paired.obs_names[matrix(paired).diagonal() > 0]) != known


def test_links_survive_the_file(paired, tmp_path):
    import mudata

    cvi.pp.link(paired, modalities=BOTH, hide=0.5)
    paired.write(tmp_path / "x.h5mu")
    again = mudata.read_h5mu(tmp_path / "x.h5mu")
    np.testing.assert_array_equal(matrix(again), matrix(paired))
    cvi.model.JAMIE.setup_mudata(again, modalities=BOTH, correspondence_key="correspondence")


@pytest.mark.parametrize(
    ("pairs", "error", "message"),
    [
        (lambda m: pd.DataFrame({"rna": ["cell1"]}), KeyError, "columns .*'rna', 'ephys'"),
        (
            lambda m: pd.DataFrame({"rna": ["nobody"], "ephys": m["ephys"].obs_names[:1]}),
            ValueError,
            "1 unknown.*nobody",
        ),
        (
            lambda m: pd.DataFrame({"rna": m["rna"].obs_names[[0, 0]], "ephys": m["ephys"].obs_names[[0, 0]]}),
            ValueError,
            "each link once",
        ),
        (
            lambda m: pd.DataFrame(
                {"rna": m["rna"].obs_names[:1], "ephys": m["ephys"].obs_names[:1], "confidence": [2]}
            ),
            ValueError,
            "a number between 0 and 1 in each row of column 'confidence', found 2 in 1 of 1 rows",
        ),
        (lambda m: np.zeros((3, 3)), ValueError, "`pairs` of shape"),
        (lambda m: np.zeros(3), ValueError, "to be a matrix"),
        (lambda m: np.full((60, 60), np.nan), ValueError, "found NaN"),
        (lambda m: np.full((60, 60), -0.5), ValueError, "values from -0.5"),
        (lambda m: np.full((60, 60), -1.0), ValueError, "mdata.update"),
        (lambda m: np.ones((60, 60)), ValueError, "rows of `pairs` to be cells measured in 'rna'"),
        (lambda m: np.full((60, 60), "x"), TypeError, "numbers in `pairs`"),
        (lambda m: np.broadcast_to(0.0, (10_001, 10_001)), ValueError, "sparse above 10000 cells"),
    ],
)
def test_bad_links_are_refused_and_nothing_is_written(mdata, pairs, error, message):
    given = pairs(mdata)
    with pytest.raises(error, match=message):
        cvi.pp.link(mdata, modalities=BOTH, pairs=given)
    assert "correspondence" not in mdata.obsp
    assert "correspondence" not in mdata.uns


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"modalities": ("rna", "ephys"), "hide": 1.0}, ValueError, "`hide` to be at least 0 and below 1"),
        ({"modalities": ("rna", "ephys", "rna")}, ValueError, "to be different"),
        ({"modalities": ("rna", "protein")}, KeyError, "one of \\['rna', 'ephys'\\]"),
        ({"modalities": "rna"}, TypeError, "a sequence of names"),
    ],
)
def test_bad_arguments(mdata, arguments, error, message):
    with pytest.raises(error, match=message):
        cvi.pp.link(mdata, **arguments)


def test_three_modalities_are_linked_two_by_two(three_modalities):
    with pytest.raises(ValueError, match="Call it once for each pair"):
        cvi.pp.link(three_modalities, modalities=("rna", "ephys", "morph"))


def test_anndata_is_told_how_to_become_a_mudata(mdata):
    with pytest.raises(TypeError, match=r"a MuData, found anndata.*mudata\.MuData"):
        cvi.pp.link(mdata["rna"], modalities=BOTH)


def test_matrix_that_could_follow_either_order_is_refused(paired):
    """As many cells as profiles, in another order: its rows could be meant either way."""
    turned = md.MuData({"rna": paired["rna"].copy(), "ephys": paired["ephys"][::-1].copy()})
    with pytest.raises(ValueError, match="cells of modality 'ephys' in the order of `mdata.obs_names`"):
        cvi.pp.link(turned, modalities=BOTH, pairs=np.eye(40))
    assert "correspondence" not in turned.obsp
