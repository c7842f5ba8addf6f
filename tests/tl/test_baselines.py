import anndata as ad
import mudata as md
import numpy as np
import pytest
import scipy.sparse as sp

import couplevi as cvi
from couplevi import metrics
from couplevi.registry import ModalityReader
from couplevi.tl._baselines import baseline_imputation

BOTH = ("rna", "ephys")


class Linked:
    """As little of a model as a baseline needs: its data, and the links that it was trained on."""

    def __init__(self, x, y, links):
        modalities = {"a": ad.AnnData(x), "b": ad.AnnData(y)}
        for name, adata in modalities.items():
            adata.obs_names = [f"cell{i} of {name}" for i in range(adata.n_obs)]
            adata.var_names = [f"{name}{j}" for j in range(adata.n_vars)]
        self.adata = md.MuData(modalities)
        self.links = links

    def reader(self, modality):
        return ModalityReader(modality, "X", None, tuple(self.adata[modality].var_names))

    def fitted_links(self, source, target):
        return self.links if (source, target) == ("a", "b") else sp.csr_array(self.links.T)


def linked(links, n=(6, 5)):
    rng = np.random.default_rng(0)
    x, y = rng.normal(3, 2, (n[0], 4)).astype(np.float32), rng.normal(-5, 3, (n[1], 2)).astype(np.float32)
    matrix = np.zeros(n, dtype=np.float32)
    for (row, column), confidence in links.items():
        matrix[row, column] = confidence
    return Linked(x, y, sp.csr_array(matrix)), x, y


def test_nearest_neighbour_of_a_linked_profile_is_what_it_is_linked_to():
    model, x, y = linked({(0, 4): 1.0, (2, 1): 1.0, (5, 3): 0.5})
    found = baseline_imputation(
        model, "a", "b", model.adata["a"][[5, 0, 2]], metrics.knn_imputation, {"n_neighbors": 1}
    )
    np.testing.assert_allclose(found, y[[3, 4, 1]], rtol=1e-5)  # in the units of the target
    back = baseline_imputation(model, "b", "a", model.adata["b"][[1, 4]], metrics.knn_imputation, {"n_neighbors": 1})
    np.testing.assert_allclose(back, x[[2, 0]], rtol=1e-5)


def test_a_profile_with_several_links_learns_from_their_mean_by_confidence():
    model, x, y = linked({(0, 4): 0.75, (0, 1): 0.25, (3, 0): 1.0})
    found = baseline_imputation(model, "a", "b", model.adata["a"][[0]], metrics.knn_imputation, {"n_neighbors": 1})
    np.testing.assert_allclose(found, [0.75 * y[4] + 0.25 * y[1]], rtol=1e-5)


def test_profiles_count_by_their_confidence_up_to_one():
    given = {}

    def method(x, y, query, confidence):
        given.update(x=x, y=y, query=query, confidence=confidence)
        return y[: len(query)]

    model, x, y = linked({(0, 4): 0.5, (3, 0): 1.0, (3, 2): 1.0})
    baseline_imputation(model, "a", "b", model.adata["a"][:2], method, {})
    np.testing.assert_allclose(given["confidence"], [0.5, 1.0])
    np.testing.assert_allclose(given["x"].mean(axis=0), 0, atol=1e-5)  # standardised on what it learns from
    np.testing.assert_allclose(given["y"].std(axis=0), 1, rtol=1e-4)
    np.testing.assert_allclose(given["query"][0], given["x"][0], atol=1e-5)


def test_two_linked_cells_are_needed_and_as_many_as_neighbours():
    model, _, _ = linked({(0, 4): 1.0})
    with pytest.raises(ValueError, match="for a baseline, found 1 linked cells. Load it with the data"):
        baseline_imputation(model, "a", "b", model.adata["a"], metrics.ridge_imputation, {})
    model, _, _ = linked({(0, 4): 1.0, (1, 2): 1.0})
    with pytest.raises(ValueError, match="`n_neighbors` of at most 2, the linked cells, found 3"):
        baseline_imputation(model, "a", "b", model.adata["a"], metrics.knn_imputation, {"n_neighbors": 3})
    assert baseline_imputation(model, "a", "b", model.adata["a"], metrics.knn_imputation, {"n_neighbors": 2}).shape == (
        6,
        2,
    )


def test_baseline_of_many_features_reads_components(quick, monkeypatch):
    monkeypatch.setattr("couplevi.tl._baselines.MAX_BASELINE_FEATURES", 10)
    mdata = cvi.data.branching_manifold(60, n_features={"rna": 30, "ephys": 8}, sparse=True)
    model = cvi.tl.jamie(mdata, modalities=BOTH, train_kwargs={**quick, "train_size": 0.8})
    frame = cvi.tl.evaluate(mdata, model, baselines=("ridge",))
    row = frame.query("metric == 'pearson' and method == 'ridge' and source == 'rna'")
    assert row["value"].item() > 0.5


def test_weak_links_do_not_drown_the_baseline(quick):
    """Each cell has its own pair and many links of 0.01 to others."""
    mdata = cvi.data.branching_manifold(80, n_features={"rna": 30, "ephys": 8}, noise=0.2, seed=1)
    sure = sp.diags(np.r_[np.ones(60), np.zeros(20)]).tolil()
    scores = []
    for n_weak in (0, 300):
        weak = np.random.default_rng(0).integers(0, 60, (2, n_weak))
        links = sure.copy()
        links[weak[0], weak[1]] = 0.01
        links.setdiag(sure.diagonal())
        cvi.pp.link(mdata, modalities=BOTH, pairs=links.tocsr())
        model = cvi.tl.jamie(mdata, modalities=BOTH, correspondence_key="correspondence", train_kwargs=quick)
        frame = cvi.tl.evaluate(mdata, model, baselines=("knn", "ridge"))
        rows = frame.query("metric == 'pearson' and source == 'rna'").set_index("method")["value"]
        scores.append([rows[m] for m in ("knn", "ridge")])
    np.testing.assert_allclose(scores[0], scores[1], atol=0.02)


def test_baselines_need_the_links_of_the_training(hidden, tmp_path):
    model, mdata, known = hidden
    model.save(tmp_path / "m")
    others = cvi.data.branching_manifold(80, n_features={"rna": 30, "ephys": 8}, seed=5)
    others = md.MuData({m: a.copy() for m, a in others.mod.items()})
    for adata in others.mod.values():
        adata.obs_names = "new" + adata.obs_names
    others.update()
    elsewhere = cvi.model.JAMIE.load(tmp_path / "m", adata=others)
    for baselines in ("knn", "ridge"):
        with pytest.raises(ValueError, match="hold the links it was trained on, for a baseline, found 0 linked cells"):
            cvi.tl.evaluate(others, elsewhere, baselines=baselines)
