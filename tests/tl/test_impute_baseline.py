import numpy as np
import pytest

import couplevi as cvi


@pytest.fixture
def data(fitted):
    model, mdata = fitted
    return model, mdata.copy()


def test_slots_are_named_after_the_method_or_as_asked(data):
    model, mdata = data
    cvi.tl.impute_baseline(mdata, model, source="ephys", target="rna", n_neighbors=3)
    cvi.tl.impute_baseline(mdata, model, source="ephys", target="rna", n_neighbors=3, key_added="mine")
    for slot in ("obsm", "layers"):
        place = mdata["ephys"].obsm if slot == "obsm" else mdata["rna"].layers
        names = ("knn_rna", "mine_rna") if slot == "obsm" else ("knn_from_ephys", "mine_from_ephys")
        np.testing.assert_array_equal(place[names[0]], place[names[1]])
    only_rna = ~mdata["rna"].obs_names.isin(mdata["ephys"].obs_names)
    assert np.isnan(mdata["rna"].layers["knn_from_ephys"][only_rna]).all()
    assert np.isfinite(mdata["ephys"].obsm["knn_rna"]).all()


def test_neighbours_are_those_of_the_method_that_has_some(data):
    model, mdata = data
    for n in (1, 30):
        cvi.tl.impute_baseline(mdata, model, source="rna", target="ephys", n_neighbors=n, key_added=f"knn{n}")
        cvi.tl.impute_baseline(
            mdata, model, source="rna", target="ephys", method="ridge", n_neighbors=n, key_added=f"ridge{n}"
        )
    imputed = mdata["rna"].obsm
    np.testing.assert_array_equal(imputed["ridge1_ephys"], imputed["ridge30_ephys"])
    # the mean of all that it learns from is the same for every cell, a single neighbour is not
    np.testing.assert_allclose(imputed["knn30_ephys"].std(axis=0), 0, atol=1e-3)
    assert imputed["knn1_ephys"].std(axis=0).min() > 0


@pytest.mark.parametrize("method", ["knn", "ridge"])
def test_baseline_is_the_one_that_evaluate_scores(data, method):
    model, mdata = data
    cvi.tl.impute_baseline(mdata, model, source="rna", target="ephys", method=method)
    both = mdata["rna"].obs_names.intersection(mdata["ephys"].obs_names)
    imputed = mdata["ephys"][both].layers[f"{method}_from_rna"]
    frame = cvi.tl.evaluate(mdata, model, baselines=[method], in_sample=True)
    score = frame.query(f"metric == 'pearson' and source == 'rna' and method == '{method}'")["value"].item()
    assert cvi.metrics.pearson_per_feature(mdata["ephys"][both].X, imputed).mean() == pytest.approx(score, abs=1e-5)
    assert mdata["rna"].obsm[f"{method}_ephys"].dtype == np.float32


def test_bad_input_of_a_baseline(data):
    model, mdata = data
    with pytest.raises(ValueError, match="`method` to be one of"):
        cvi.tl.impute_baseline(mdata, model, source="rna", target="ephys", method="magic")
    with pytest.raises(ValueError, match="`target` to differ"):
        cvi.tl.impute_baseline(mdata, model, source="rna", target="rna")
    with pytest.raises(ValueError, match="`n_neighbors` of at most 30, the linked cells, found 500"):
        cvi.tl.impute_baseline(mdata, model, source="rna", target="ephys", n_neighbors=500)
    with pytest.raises(KeyError, match="`source` to be one of"):
        cvi.tl.impute_baseline(mdata, model, source="x", target="rna")
