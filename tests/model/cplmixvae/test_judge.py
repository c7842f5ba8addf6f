import warnings

import mudata as md
import numpy as np
import pytest
import scipy.sparse as sp
import torch
from small import QUICK, planted
from torch.nn.functional import one_hot

import couplevi as cvi
from couplevi.dataloaders import CoupledDataset, Links
from couplevi.model.cplmixvae.judge import Judge, votes_between, votes_within
from couplevi.model.cplmixvae.selection import Round

CERTAIN = 50.0


class Mixture(torch.nn.Module):
    """Profiles say themselves which category each arm puts them into, and what their bound is."""

    device = torch.device("cpu")

    def __init__(self, n_arms=2, costs=None, certainty=CERTAIN):
        super().__init__()
        self.n_arms, self.n_categories, self.costs, self.certainty = n_arms, 3, costs, certainty
        self.n_labels = 0
        self.register_buffer("active", torch.ones(3, dtype=torch.bool))

    def log_probabilities(self, modality, arm, x):
        logits = self.certainty * one_hot(x[:, arm].long(), 3)
        return logits.masked_fill(~self.active, -1e9).log_softmax(dim=1)

    def elbo(self, modality, arm, x):
        return x[:, -1] + arm

    def removal_costs(self, modality, arm, x):
        return torch.tensor(self.costs[modality][arm]) * len(x)


def profiles(*columns):
    """The categories by each arm, and the bound."""
    return np.stack(columns, axis=1).astype(np.float32)


def links(*entries, shape):
    row, column, confidence = zip(*entries, strict=True)
    return Links(sp.csr_array((np.array(confidence, dtype=np.float32), (row, column)), shape=shape))


@pytest.fixture
def eight():
    """8 profiles: the arms agree on category 0; half of what one puts into 1 the other puts into 2."""
    return CoupledDataset({"a": profiles([0, 0, 1, 1, 1, 1, 2, 2], [0, 0, 1, 1, 2, 2, 2, 2], np.arange(8))}, {})


def test_a_round_says_how_far_arms_agree_on_the_cells_of_either_set(eight):
    found = Judge(Mixture(), eight).round(np.arange(8), np.array([3, 0, 5]))
    assert found.categories.tolist() == [0, 1, 2]
    np.testing.assert_allclose(found.agreement, [1, 2 / 4, 2 / 4])
    assert found.consensus == pytest.approx((1 + 1 / 2 + 0) / 3)  # of two cells in 1 by the first arm, one is
    assert found.elbo.tolist() == [3.5, 0.5, 5.5]  # in the order of the units, mean over arms
    assert found.n_used == 3
    assert found.entropy == pytest.approx(0, abs=1e-6)


def test_a_category_without_validation_cells_has_no_part_in_their_consensus(eight):
    found = Judge(Mixture(), eight).round(np.arange(8), np.array([0, 2]))
    assert found.consensus == 1  # nobody puts one of them into 2


def test_a_round_leaves_out_what_was_removed(eight):
    module = Mixture(certainty=0.0)
    module.active[1] = False
    found = Judge(module, eight).round(np.arange(8), np.arange(8))
    assert found.categories.tolist() == [0, 2]
    assert len(found.agreement) == 2
    assert found.entropy == pytest.approx(1)  # two categories are left, equally probable


def test_a_round_holds_the_weights_of_its_time(eight):
    module = Mixture()
    found = Judge(module, eight).round(np.arange(8), np.arange(8))
    module.active[0] = False
    assert found.weights["active"].all()


def test_a_single_arm_agrees_with_nobody_and_shares_count_instead(eight):
    found = Judge(Mixture(n_arms=1), eight).round(np.arange(8), np.arange(8))
    assert np.isnan(found.consensus)
    np.testing.assert_allclose(found.agreement, [2 / 8, 4 / 8, 2 / 8])


def test_the_bound_of_a_unit_is_the_sum_over_its_modalities():
    rows = {"a": profiles([0, 0, 0], [1, 2, 4]), "b": profiles([0, 0], [10, 20])}
    pair = links((2, 0, 1.0), shape=(3, 2))  # the third of a and the first of b are one cell
    dataset = CoupledDataset(rows, {("a", "b"): pair})
    found = Judge(Mixture(n_arms=1), dataset).round(np.arange(4), np.arange(4))
    assert sorted(found.elbo.tolist()) == [1, 2, 14, 20]


def last(categories, agreement):
    return Round(
        np.array(categories), np.array(agreement), consensus=0.0, n_used=0, entropy=0.0, elbo=np.zeros(1), weights={}
    )


COSTS = {"a": [[3.0, 0.0, 9.0], [0.0, 4.0, 9.0]]}


def test_the_category_that_arms_agree_on_least_goes(eight):
    judge = Judge(Mixture(costs=COSTS), eight)
    assert judge.superfluous(np.arange(8), last([0, 2], [0.9, 0.3]), 0.5) == 2


def test_where_arms_agree_the_category_goes_that_costs_least_over_all_of_them(eight):
    judge = Judge(Mixture(costs=COSTS), eight)
    assert judge.superfluous(np.arange(8), last([0, 1, 2], [0.9, 0.5, 0.8]), 0.5) == 0


def test_categories_of_labels_stay(eight):
    module = Mixture(costs=COSTS)
    module.n_labels = 1
    judge = Judge(module, eight)
    assert judge.superfluous(np.arange(8), last([0, 1, 2], [0.1, 0.5, 0.3]), 0.5) == 2  # not 0, agreed on least
    assert judge.superfluous(np.arange(8), last([0, 1, 2], [0.9, 0.5, 0.8]), 0.5) == 1  # not 0, which costs least


@pytest.mark.parametrize(("linked", "expected"), [(False, 1), (True, 2)])
def test_agreement_counts_where_there_is_someone_to_agree_with(linked, expected):
    """One arm in each modality: only links make them comparable."""
    rows = {"a": profiles([0, 1], [0, 0]), "b": profiles([0, 1], [0, 0])}
    table = {("a", "b"): links((0, 0, 0.5), shape=(2, 2))} if linked else {}
    costs = {"a": [[2.0, 0.0, 9.0]], "b": [[1.0, 2.0, 9.0]]}
    judge = Judge(Mixture(n_arms=1, costs=costs), CoupledDataset(rows, table))
    assert judge.superfluous(np.arange(4), last([0, 1, 2], [0.5, 0.5, 0.1]), 0.9) == expected


def test_each_pair_of_arms_votes_on_the_profiles_inside():
    arms = [np.array([0, 1, 2]), np.array([0, 0, 2]), np.array([1, 1, 1])]
    found = list(votes_within({"a": arms}, {"a": np.array([True, False, True])}))
    assert [(v.a.tolist(), v.b.tolist()) for v in found] == [([0, 2], [0, 2]), ([0, 2], [1, 1]), ([0, 2], [1, 1])]
    assert all(v.weight.tolist() == [1, 1] for v in found)


def test_arms_of_two_modalities_vote_on_the_ends_of_links_inside_by_confidence():
    table = links((0, 1, 0.5), (1, 0, 1.0), (2, 2, 0.25), shape=(3, 3))
    labels = {"a": [np.array([0, 1, 2]), np.array([2, 2, 2])], "b": [np.array([0, 1, 1])]}
    inside = {"a": np.array([True, True, False]), "b": np.ones(3, dtype=bool)}
    first, second = votes_between(labels, inside, {("a", "b"): table.matrix})
    assert (first.a.tolist(), first.b.tolist(), first.weight.tolist()) == ([0, 1], [1, 0], [0.5, 1.0])
    assert second.a.tolist() == [2, 2]
    inside["b"][:2] = False
    assert not list(votes_between(labels, inside, {("a", "b"): table.matrix}))


def test_unlinked_modalities_of_one_arm_have_no_consensus():
    a, b = planted(80), planted(80, n_features=12)
    b.obs_names, b.var_names = [f"other{i}" for i in range(80)], [f"b{j}" for j in range(12)]
    mdata = md.MuData({"a": a, "b": b})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="No profile of")
        model = cvi.tl.cplmixvae(mdata, n_categories=3, modalities=("a", "b"), n_arms=1, train_kwargs=QUICK)
    assert model.pruning_history["consensus"].isna().all()
    assert "consensus" not in mdata.uns["cplmixvae"]
