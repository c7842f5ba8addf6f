import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from couplevi.dataloaders import CoupledDataset, Links, UnitSampler


def dataset_of(matrix, matches=None):
    matrix = sp.csr_array(np.asarray(matrix, dtype=np.float32))
    n_a, n_b = matrix.shape
    rows = {"a": np.arange(n_a, dtype=np.float32)[:, None], "b": np.arange(n_b, dtype=np.float32)[:, None]}
    tables = {} if matches is None else {("a", "b"): Links(sp.csr_array(np.asarray(matches, dtype=np.float32)))}
    return CoupledDataset(rows, {("a", "b"): Links(matrix)}, tables)


def drawn(draw, modality):
    return draw[modality].position[draw[modality].drawn].tolist()


def partners(draw, modality):
    return draw[modality].position[~draw[modality].drawn].tolist()


@given(n=st.integers(1, 40), batch_size=st.integers(1, 12), n_pairs=st.integers(0, 40), epoch=st.integers(0, 3))
def test_every_profile_is_drawn_once_per_epoch(n, batch_size, n_pairs, epoch):
    matrix = np.diag((np.arange(n) < n_pairs).astype(float))
    dataset = dataset_of(matrix)
    sampler = UnitSampler(dataset, np.arange(len(dataset)), batch_size=batch_size, seed=1)
    sampler.set_epoch(epoch)
    draws = list(sampler)
    assert len(draws) == len(sampler)
    for m in "ab":
        assert sorted(sum((drawn(d, m) for d in draws), [])) == list(range(n))
    sizes = [len(set(drawn(d, "a")) | {n + j for j in drawn(d, "b") if j >= n_pairs}) for d in draws]
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1


def test_halves_of_a_pair_come_together():
    dataset = dataset_of(np.eye(20)[:, np.random.default_rng(0).permutation(20)])
    partner = dict(dataset.units.tolist())
    for draw in UnitSampler(dataset, np.arange(20), batch_size=6):
        assert [partner[a] for a in drawn(draw, "a")] == drawn(draw, "b")
        assert not partners(draw, "a")


def test_draws_depend_on_seed_and_epoch_alone():
    dataset = dataset_of(np.random.default_rng(0).random((30, 30)) < 0.1)

    def draws(seed, epoch, shuffle=True):
        sampler = UnitSampler(dataset, np.arange(len(dataset)), batch_size=7, seed=seed, shuffle=shuffle)
        sampler.set_epoch(epoch)
        return [d["a"][0].tolist() for d in sampler]

    assert draws(0, 0) == draws(0, 0)
    assert draws(0, 0) != draws(0, 1)
    assert draws(0, 0) != draws(1, 0)
    assert draws(0, 0, shuffle=False) == draws(0, 5, shuffle=False)


def test_units_meet_others_in_every_epoch():
    sampler = UnitSampler(dataset_of(np.eye(40)), np.arange(40), batch_size=8)
    batches = []
    for epoch in range(2):
        sampler.set_epoch(epoch)
        batches.append(sorted(sorted(drawn(draw, "a")) for draw in sampler))
    assert batches[0] != batches[1]
    assert [*range(8)] not in batches[0]


def test_partners_are_linked_limited_and_distinct():
    matrix = np.full((1, 10), 0.5)
    dataset = dataset_of(matrix)
    unit = [i for i, u in enumerate(dataset.units.tolist()) if u[0] == 0]
    [draw] = UnitSampler(dataset, np.arange(11), batch_size=11)
    assert not partners(draw, "b")  # all are drawn themselves
    sampler = UnitSampler(dataset, np.arange(11), batch_size=1, n_partners=3)
    counts = [len(partners(d, "b")) for d in sampler if drawn(d, "a")]
    assert counts == [3]
    lonely = UnitSampler(dataset, np.array(unit), batch_size=1, n_partners=3)
    assert all(not partners(d, "b") for d in lonely)  # the other side is not in this part of the data


def test_partners_are_drawn_by_weight():
    matrix = np.array([[0.9, 0.1, 0.0]])
    dataset = dataset_of(matrix)
    sampler = UnitSampler(dataset, np.arange(4), batch_size=1, n_partners=1)
    count = np.zeros(3)
    for epoch in range(400):
        sampler.set_epoch(epoch)
        for draw in sampler:
            if drawn(draw, "a"):
                count[partners(draw, "b")] += 1
    assert count[2] == 0
    assert count[0] / 400 == pytest.approx(0.9, abs=0.06)


def test_columns_bring_their_rows_and_matches_count():
    dataset = dataset_of(np.zeros((2, 2)), matches=[[0, 1], [0, 0]])
    seen = {(tuple(drawn(d, "b")), tuple(partners(d, "a"))) for d in UnitSampler(dataset, np.arange(4), batch_size=1)}
    assert ((1,), (0,)) in seen


def test_own_partner_is_not_a_further_partner():
    matrix = np.array([[1, 0.5], [0, 0]])
    dataset = dataset_of(matrix)
    for draw in UnitSampler(dataset, np.arange(len(dataset)), batch_size=1):
        for m in "ab":
            assert not set(partners(draw, m)) & set(drawn(draw, m))
        if drawn(draw, "a") == [0]:
            assert drawn(draw, "b") == [0]
            assert partners(draw, "b") == [1]


@pytest.mark.parametrize("n", [12, 13])
def test_processes_share_the_units(n):
    dataset = dataset_of(np.eye(n))
    parts = []
    for rank in range(2):
        sampler = UnitSampler(dataset, np.arange(n), batch_size=4, num_replicas=2, rank=rank)
        parts.append([d["a"][0] for d in sampler])
        assert len(parts[-1]) == len(sampler)
    assert len(parts[0]) == len(parts[1])
    assert set(np.concatenate([*parts[0], *parts[1]])) == set(range(n))


def test_units_are_mixed_with_their_like_and_pairs_as_pairs():
    """Pairs 0 to 9, profiles 10 to 19 alone, the last two of each modality half linked across."""
    matrix = np.diag(np.r_[np.ones(10), np.zeros(10)])
    matrix[18, 19] = matrix[19, 18] = 0.5
    dataset = dataset_of(matrix)
    sampler = UnitSampler(dataset, np.arange(len(dataset)), batch_size=32, mixup_alpha=1.0)
    (draw,) = sampler
    mixed_with = {m: draw[m].position[draw[m].other] for m in "ab"}
    share = {m: dict(zip(draw[m].position, draw[m].share, strict=True)) for m in "ab"}
    other = {m: dict(zip(draw[m].position, mixed_with[m], strict=True)) for m in "ab"}
    for i in range(10):
        assert share["a"][i] == share["b"][i]
        assert other["a"][i] == other["b"][i] < 10
    for m in "ab":
        assert all(other[m][i] in range(10, 18) for i in range(10, 18))
        assert any(share[m][i] < 1 for i in range(10, 18))
        assert [share[m][i] for i in (18, 19)] == [1, 1]
        assert draw[m].share.min() >= 0.5
    assert len({round(float(s), 6) for s in share["a"].values()}) > 10


@pytest.mark.parametrize("arguments", [{"mixup_alpha": 0.0}, {"mixup_alpha": 1.0, "shuffle": False}])
def test_nothing_is_mixed_without_alpha_or_in_validation(arguments):
    dataset = dataset_of(np.eye(8))
    for draw in UnitSampler(dataset, np.arange(8), batch_size=4, **arguments):
        assert (draw["a"].share == 1).all()
        assert (draw["a"].other == np.arange(4)).all()


def test_units_held_back_are_drawn_from_their_epoch_on():
    dataset = dataset_of(np.eye(20))
    sampler = UnitSampler(dataset, np.arange(20), batch_size=6, held_back=np.array([3, 7]), release_epoch=2)
    for epoch, missing in ((0, {3, 7}), (1, {3, 7}), (2, set())):
        sampler.set_epoch(epoch)
        draws = list(sampler)
        assert len(draws) == len(sampler)
        assert set(range(20)) - {i for d in draws for i in drawn(d, "a")} == missing


def test_units_are_mixed_within_their_batch():
    n, rng = 60, np.random.default_rng(0)
    batch = rng.integers(0, 3, n)
    dataset = dataset_of(np.eye(n))
    covariates = {m: np.eye(3, dtype=np.float32)[batch] for m in "ab"}
    dataset = CoupledDataset(dataset.rows, dataset.links, None, covariates, 3)
    assert set(dataset.batches(np.arange(n)).ravel()) == {0, 1, 2}
    sampler = UnitSampler(dataset, np.arange(n), batch_size=30, mixup_alpha=1.0)
    for draw in sampler:
        for m in "ab":
            part = draw[m]
            assert (batch[part.position] == batch[part.position[part.other]]).all()
            assert (part.other != np.arange(len(part.other))).mean() > 0.5
        read = dataset[draw]["profiles"]["a"]
        np.testing.assert_array_equal(read.covariates.argmax(dim=1), batch[draw["a"].position])
        assert ((read.covariates == 0) | (read.covariates == 1)).all()


def test_without_batches_units_tell_only_what_they_have():
    dataset = dataset_of([[1, 0, 0], [0, 0, 0]])
    assert sorted(dataset.batches(np.arange(len(dataset))).tolist()) == [[-1, 0], [-1, 0], [0, -1], [0, 0]]
