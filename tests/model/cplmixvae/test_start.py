import anndata as ad
import mudata as md
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from sklearn.metrics import adjusted_rand_score
from small import FEW, QUICK, planted, two_modalities

from couplevi.dataloaders import CoupledDataset, Links
from couplevi.model import CplMixVAE
from couplevi.model.cplmixvae.start import batches, renumbered, start_arms, tied


class Arms(torch.nn.Module):
    """Notes where arms are put."""

    device = torch.device("cpu")

    def __init__(self, n_categories=3, n_arms=2, n_labels=0):
        super().__init__()
        self.n_categories, self.n_arms, self.n_labels, self.started = n_categories, n_arms, n_labels, {}
        self.active = torch.ones(n_categories, dtype=torch.bool)

    def prepare(self, modality, x):
        return x

    def split(self, modality, x):
        return x, None, torch.full((len(x),), -1)

    def start(self, modality, arm, x, labels):
        self.started[modality, arm] = x.numpy(), labels.numpy()


def coupled(n, pairs, names=("a", "b")):
    """Cells of three types far apart, seen in two modalities whose centres have nothing in common."""
    rng = np.random.default_rng(0)
    kind = rng.integers(3, size=n)
    centers = {"a": np.array([[0, 0], [20, 0], [0, 20]]), "b": np.array([[9, 9, 9], [-9, 9, 0], [0, -9, 9]])}
    rows = {m: (centers[m][kind] + rng.normal(size=(n, centers[m].shape[1]))).astype(np.float32) for m in names}
    ones = np.ones(len(pairs), dtype=np.float32)
    links = Links(sp.csr_array((ones, (pairs, pairs)), shape=(n, n)))
    return CoupledDataset(rows, {names: links}), kind


def types_of(module, arm, rows, kind):
    """Type that most profiles of each category have, by modality."""
    found = {}
    for m, values in rows.items():
        x, labels = module.started[m, arm]
        row = {value.tobytes(): i for i, value in enumerate(values)}
        own = kind[[row[value.tobytes()] for value in x]]
        found[m] = [np.bincount(own[labels == k], minlength=3).argmax() for k in range(3)]
        assert (np.array(found[m])[labels] == own).mean() > 0.99
    return found


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_modalities_start_with_the_same_numbers_if_only_links_tell(names):
    """6 % of the cells are linked: too few to be partitioned by themselves."""
    dataset, kind = coupled(200, np.arange(0, 180, 15), names)
    module = Arms()
    start_arms(module, dataset, np.arange(len(dataset)), 3, 0.03)
    for arm in range(2):
        found = types_of(module, arm, dataset.rows, kind)
        assert found["a"] == found["b"]
        assert sorted(found["a"]) == [0, 1, 2]
    assert len(module.started["a", 0][0]) == 200


def test_cells_measured_in_all_modalities_are_partitioned_by_both_of_them():
    dataset, kind = coupled(200, np.arange(60))
    module = Arms()
    start_arms(module, dataset, np.arange(len(dataset)), 3, 0.03)
    (x, a), (_, b) = module.started["a", 0], module.started["b", 0]
    assert len(x) == 60  # the others are left out
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(a, module.started["a", 1][1])  # of all arms
    types_of(module, 0, dataset.rows, kind)


def test_only_cells_trained_on_start_the_arms():
    dataset, _ = coupled(100, np.arange(100))
    module = Arms()
    start_arms(module, dataset, np.arange(0, 100, 2), 3, 0.03)
    assert {row.tobytes() for row in module.started["a", 0][0]} == {row.tobytes() for row in dataset.rows["a"][::2]}


@pytest.mark.parametrize("pairs", [np.arange(200), np.arange(0, 180, 15)])
def test_categories_that_are_not_needed_are_not_active(pairs):
    """Three types, started at seven categories; the second modality has as many as the first one."""
    dataset, kind = coupled(200, pairs)
    module = Arms(n_categories=7)
    start_arms(module, dataset, np.arange(len(dataset)), 2, 0.03)
    assert module.active.tolist() == 3 * [True] + 4 * [False]
    types_of(module, 0, dataset.rows, kind)


def test_as_many_as_asked_for_are_active_where_none_is_to_be_merged():
    dataset, _ = coupled(200, np.arange(200))
    module = Arms(n_categories=7)
    start_arms(module, dataset, np.arange(len(dataset)), 7, 0.03)
    assert module.active.all()
    assert len(np.unique(module.started["a", 0][1])) == 7


def test_communities_are_of_the_label_that_most_of_their_labelled_cells_have():
    communities = {"a": np.array([0, 0, 0, 0, 1, 1, 2, 2, 2, 3]), "b": np.array([0, 1, 2, 3])}
    known = {"a": np.array([1, 1, 0, -1, 0, 1, -1, 0, -1, -1]), "b": np.array([-1, -1, -1, 1])}
    found = tied(communities, known, 2, 7)  # 1 and 3 are free in a, 0, 1 and 2 in b
    assert found["a"].tolist() == [1, 1, 0, 1, 0, 1, 0, 0, 0, 5]
    assert found["b"].tolist() == [2, 3, 4, 1]
    assert tied(communities, known, 2, 4)["a"].tolist() == [1, 1, 0, 1, 0, 1, 0, 0, 0, 3]  # there is no other


def test_communities_of_the_same_cells_have_the_label_that_either_modality_knows():
    own = np.array([0, 0, 1, 1, 2, 2])
    known = {"a": np.array([1, -1, -1, -1, -1, -1]), "b": np.array([-1, -1, 0, -1, -1, -1])}
    found = tied({"a": own, "b": own}, known, 2, 7, same_cells=True)
    assert found["a"].tolist() == found["b"].tolist() == [1, 1, 0, 0, 2, 2]
    found = tied({"a": own, "b": own}, known, 2, 7)
    assert found["b"].tolist() == [2, 2, 0, 0, 4, 4]  # of other cells that are numbered alike


@pytest.mark.parametrize("known_by", ["a", "b"])
def test_labels_of_cells_measured_in_one_modality_count(known_by):
    """The communities are those of the cells measured in both, of which none has a label."""
    mdata = two_modalities(300, share=0.5)
    alone = mdata.obs_names.isin(mdata[known_by].obs_names) & ~mdata.obs_names.isin(
        mdata["b" if known_by == "a" else "a"].obs_names
    )
    mdata.obs["known"] = mdata.obs["type"].map({"0": "Sst", "1": "Vip", "2": "Pvalb"}).where(alone)
    CplMixVAE.setup_mudata(mdata, modalities=("a", "b"), labels_key="known")
    torch.manual_seed(0)
    model = CplMixVAE(mdata, 6, batch_size=128)
    model.train(**{**FEW, "max_epochs": 20, "max_epochs_prune": 2})
    found = model.predict().map({"Sst": "0", "Vip": "1", "Pvalb": "2"})
    assert (found == mdata.obs["type"]).mean() > 0.95
    assert model.pruning_history["n_categories"].iloc[0] == 3  # both modalities start at the labels


def test_a_labelled_type_of_one_modality_alone_takes_no_community_of_others():
    """Eight cells of it have a label; the type nearest to it is in all communities, without labels."""
    mdata = two_modalities(400, share=1.0)
    a, b = mdata["a"].copy(), mdata["b"].copy()
    kind = mdata.obs["type"].to_numpy()
    mdata = md.MuData({"a": a, "b": b[kind != "2"].copy()})
    mdata.obs["known"] = pd.Series("new", a.obs_names[kind == "2"][:8]).reindex(mdata.obs_names)
    CplMixVAE.setup_mudata(mdata, modalities=("a", "b"), labels_key="known")
    torch.manual_seed(0)
    model = CplMixVAE(mdata, 6, batch_size=128)
    model.train(**{**FEW, "max_epochs": 40, "max_epochs_prune": 2})
    found = model.predict()[a.obs_names] == "new"
    assert (found == (kind == "2")).mean() > 0.95


def test_a_label_has_a_category_though_its_cells_are_not_among_those_of_the_communities(monkeypatch):
    adata = planted(300)
    adata.obs["known"] = np.where(np.arange(300) < 3, "rare", None)
    CplMixVAE.setup_anndata(adata, labels_key="known")
    torch.manual_seed(0)
    model = CplMixVAE(adata, 6, batch_size=128)
    monkeypatch.setattr("couplevi.model.cplmixvae.start.MAX_PROFILES", 60)
    monkeypatch.setattr("torch.randperm", lambda n: torch.arange(n))  # in the order of the split
    model.train(**QUICK)
    assert "rare" in model.predict_probabilities()


def test_without_labels_communities_are_the_categories():
    communities = {"a": np.array([2, 0, 1, 1])}
    assert tied(communities, {"a": np.full(4, -1)}, 0, 3)["a"].tolist() == [2, 0, 1, 1]


def test_labels_are_renumbered_to_the_planted_ones():
    reference = np.random.default_rng(0).integers(5, size=200)
    order = np.array([3, 0, 4, 1, 2])
    own = order[reference]
    shared = np.zeros((5, 5))
    np.add.at(shared, (own, reference), 1)
    np.testing.assert_array_equal(renumbered(own, shared), reference)


def test_profiles_are_read_in_parts_and_in_order(monkeypatch):
    monkeypatch.setattr("couplevi.model._dataset.CHUNK", 3)
    rows, places, module = np.arange(20, dtype=np.float32)[:, None], np.array([7, 1, 4, 4, 9, 0, 2]), Arms().train()
    parts = list(batches(module, rows, places))
    assert [len(x) for _, x in parts] == [3, 3, 1]
    assert torch.cat([x for _, x in parts])[:, 0].tolist() == places.tolist()
    for part, x in parts:
        assert x[:, 0].tolist() == places[part].tolist()
    assert not module.training


def test_more_categories_than_cells():
    few = planted(20)
    CplMixVAE.setup_anndata(few)
    with pytest.raises(ValueError, match="at least 30 cells to find as many categories, found 16"), pytest.warns():
        CplMixVAE(few, 30).train(**QUICK)


def linked(share, confidence=1.0, n=400):
    """Two modalities of the same cells under names of their own; a share of the pairs is linked."""
    mdata = two_modalities(n, share=1.0)
    a, b = (mdata[m].copy() for m in ("a", "b"))
    names = np.array([f"b_{name}" for name in b.obs_names])
    pairs = pd.DataFrame({"a": a.obs_names, "b": names, "confidence": confidence})
    b.obs_names = names
    result = md.MuData({"a": a, "b": b})
    result.obs["type"] = np.concatenate([mdata.obs["type"]] * 2)
    keep = pairs.sample(frac=share, random_state=0)
    matrix = sp.lil_matrix((result.n_obs, result.n_obs), dtype=np.float32)
    row, column = (result.obs_names.get_indexer(keep[m]) for m in ("a", "b"))
    matrix[row, column] = confidence
    result.obsp["links"] = matrix.tocsr()
    result.uns["links"] = {"modalities": ["a", "b"]}
    return result


@pytest.mark.parametrize(("share", "confidence"), [(0.06, 1.0), (1.0, 0.5)])
def test_few_or_uncertain_links_number_the_types_of_both_modalities_alike(share, confidence):
    torch.manual_seed(0)
    mdata = linked(share, confidence)
    CplMixVAE.setup_mudata(mdata, modalities=("a", "b"), correspondence_key="links")
    model = CplMixVAE(mdata, 3, batch_size=128)
    model.train(**{**QUICK, "max_epochs": 30})
    assert adjusted_rand_score(mdata.obs["type"], model.predict()) > 0.9


def test_three_modalities_linked_in_a_chain():
    torch.manual_seed(0)
    mdata = two_modalities(240, share=1.0)
    a, b = mdata["a"].copy(), mdata["b"].copy()
    c = ad.AnnData(b.X @ np.random.default_rng(0).normal(size=(12, 9)).astype(np.float32))
    c.obs_names, c.var_names = b.obs_names, [f"c{j}" for j in range(9)]
    three = md.MuData({"a": a[:160].copy(), "b": b, "c": c[80:].copy()})
    CplMixVAE.setup_mudata(three, modalities=("a", "b", "c"))
    model = CplMixVAE(three, 3, batch_size=128)
    model.train(**{**QUICK, "max_epochs": 30})
    assert adjusted_rand_score(mdata.obs["type"].loc[three.obs_names], model.predict()) > 0.9
