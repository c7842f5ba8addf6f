import mudata as md
import numpy as np
import pytest
import scipy.sparse as sp
from small import make_jamie

import couplevi as cvi
from couplevi.model._dataset import cells_of_units, chunks, coupled_dataset, links_without
from couplevi.preparation import FeatureRows, fit_preparation
from couplevi.registry import ModalityReader, Registered


def given(mdata, **links):
    readers = {m: ModalityReader(m, "X", None, tuple(mdata[m].var_names)) for m in ("ephys", "rna")}
    return Registered(mdata, readers, {"correspondence": {}, "match": {}, **links})


def test_profiles_are_sorted_by_their_values_and_links_with_them(mdata):
    """The order in which a file holds cells makes no difference."""
    dense = np.zeros((mdata["rna"].n_obs, mdata["ephys"].n_obs), dtype=np.float32)
    dense[[0, 3, 7], [5, 2, 9]] = [0.5, 1.0, 0.25]
    cvi.pp.link(mdata, modalities=("rna", "ephys"), pairs=dense)
    keys = {"correspondence": {("rna", "ephys"): "correspondence"}}
    dataset, order = coupled_dataset(given(mdata, **keys), lambda m, matrix, order: FeatureRows(matrix, order))
    for m in ("rna", "ephys"):
        assert sorted(order[m]) == list(range(mdata[m].n_obs))
        np.testing.assert_array_equal(dataset.rows[m][np.arange(mdata[m].n_obs)], mdata[m].X[order[m]])
    [(pair, links)] = dataset.links.items()
    assert pair == ("ephys", "rna")
    np.testing.assert_array_equal(links.matrix.toarray(), dense.T[order["ephys"]][:, order["rna"]])
    assert links.matrix.has_sorted_indices
    assert dataset.matches == {}

    shuffled = md.MuData({m: mdata[m][::-1].copy() for m in ("ephys", "rna")})
    cvi.pp.link(shuffled, modalities=("rna", "ephys"), pairs=dense[::-1, ::-1])
    other, _ = coupled_dataset(given(shuffled, **keys), lambda m, matrix, order: FeatureRows(matrix, order))
    for m in ("rna", "ephys"):
        rows = np.arange(mdata[m].n_obs)
        np.testing.assert_array_equal(other.rows[m][rows], dataset.rows[m][rows])
    assert (other.links[pair].matrix != links.matrix).nnz == 0


def test_matches_are_kept_apart_from_links(mdata):
    cvi.pp.link(mdata, modalities=("rna", "ephys"), hide=0.5, key_added="match")
    found, _ = coupled_dataset(
        given(mdata, match={("rna", "ephys"): "match"}), lambda m, matrix, order: FeatureRows(matrix, order)
    )
    assert found.links["ephys", "rna"].matrix.nnz == 30  # by name
    assert found.matches["ephys", "rna"].matrix.nnz == 15


def test_cells_of_units_are_rows_of_the_data(mdata):
    registered = given(mdata)
    dataset, order = coupled_dataset(registered, lambda m, matrix, order: FeatureRows(matrix, order))
    np.testing.assert_array_equal(
        cells_of_units(registered, dataset, order, np.arange(len(dataset))), np.arange(mdata.n_obs)
    )
    for unit in (0, 30, len(dataset) - 1):
        [cell] = cells_of_units(registered, dataset, order, np.array([unit]))  # of a pair, too
        for m, places in dataset.places(np.array([unit])).items():
            for row in order[m][places]:
                assert mdata[m].obs_names[row] == mdata.obs_names[cell]


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
def test_rows_are_read_in_parts_prepared_or_as_they_are(kind):
    x = np.random.default_rng(0).poisson(2.0, (11, 4)).astype(np.float64)
    record = fit_preparation(x, 2)
    for preparation, expected in ((None, x.astype(np.float32)), (record, record.transform(x))):
        parts = list(chunks(kind(x), preparation, 4))
        assert [(rows.start, rows.stop) for rows, _ in parts] == [(0, 4), (4, 8), (8, 11)]
        values = np.concatenate([values for _, values in parts])
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)


def test_constant_features_are_kept_and_named(mdata, quick):
    mdata["rna"].X[:, 3] = 0
    mdata["rna"].X[:, 4] = 7
    model = make_jamie(mdata)
    with pytest.warns(UserWarning, match=r"2 features of `X` of modality 'rna' are constant .*\['rna3', 'rna4'\]"):
        model.train(**quick)
    imputed = model.impute(source="ephys", target="rna").X
    np.testing.assert_allclose(imputed[:, 3:5], [[0, 7]] * len(imputed), atol=1e-5)
    assert np.isfinite(imputed).all()


def test_links_without_some_units(mdata):
    registered = given(mdata)
    dataset, order = coupled_dataset(registered, lambda m, x, order: np.zeros((len(order), 1), dtype=np.float32))
    (pair, whole), *_ = registered.links().items()
    assert (links_without(registered, dataset, order, np.array([], dtype=int))[pair] != whole).nnz == 0
    units = np.flatnonzero((dataset.units >= 0).all(axis=1))[:4]
    gone = dataset.places(units)
    rest = links_without(registered, dataset, order, units)[pair]
    assert (rest.nnz, rest.data.min()) == (whole.nnz - 4, 1)
    for axis, m in enumerate(pair):
        sums = rest.sum(axis=1 - axis)
        assert not sums[order[m][gone[m]]].any()
    assert links_without(registered, dataset, order, np.arange(len(dataset)))[pair].nnz == 0
