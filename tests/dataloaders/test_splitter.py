import numpy as np
import pytest
import scipy.sparse as sp
import torch

from couplevi.dataloaders import CoupledDataset, CoupledDataSplitter, Links, set_sizes


@pytest.fixture
def dataset():
    rows = {m: np.arange(20, dtype=np.float32)[:, None] for m in "ab"}
    matrix = np.diag((np.arange(20) < 10).astype(np.float32))
    matrix[3, 15] = 0.5  # a link that may straddle the split
    return CoupledDataset(rows, {("a", "b"): Links(sp.csr_array(matrix))})


def test_sets_are_disjoint_and_complete(dataset):
    splitter = CoupledDataSplitter(dataset, train_size=0.6, validation_size=0.2)
    assert (splitter.n_train, splitter.n_val, len(splitter.test_idx)) == (18, 6, 6)
    everything = np.concatenate([splitter.train_idx, splitter.val_idx, splitter.test_idx])
    np.testing.assert_array_equal(np.sort(everything), np.arange(30))


def test_rounding_leaves_each_unit_in_one_set():
    assert set_sizes(100, 0.07, 0.93) == (8, 92)  # 0.07 * 100 is a little above 7


def test_training_draws_as_told_and_validation_the_same_each_time(dataset):
    splitter = CoupledDataSplitter(
        dataset, train_size=0.8, n_partners=2, mixup_alpha=0.5, n_calibration=3, release_epoch=2
    )
    train, validation = splitter.train_dataloader().sampler, splitter.val_dataloader().sampler
    assert (train.n_partners, train.mixup_alpha, train.release_epoch) == (2, 0.5, 2)
    assert len(splitter.calibration_idx) == 3
    np.testing.assert_array_equal(train.held_back, splitter.calibration_idx)
    assert train.shuffle
    assert not validation.shuffle
    assert not len(validation.held_back)


def test_all_units_are_trained_on_by_default(dataset):
    splitter = CoupledDataSplitter(dataset)
    assert (splitter.n_train, splitter.n_val) == (30, 0)
    assert splitter.val_dataloader() == []


def test_no_profile_of_the_other_set_is_seen(dataset):
    splitter = CoupledDataSplitter(dataset, train_size=0.5, batch_size=5)
    for loader, units in (
        (splitter.train_dataloader(), splitter.train_idx),
        (splitter.val_dataloader(), splitter.val_idx),
    ):
        allowed = dataset.units[units]
        for batch in loader:
            for i, m in enumerate("ab"):
                assert set(batch["profiles"][m].h.ravel().int().tolist()) <= set(allowed[:, i].tolist())


def test_split_follows_the_seed_of_torch(dataset):
    def split(seed):
        torch.manual_seed(seed)
        return CoupledDataSplitter(dataset, train_size=0.5).train_idx.tolist()

    assert split(0) == split(0)
    assert split(0) != split(1)


def test_split_in_order(dataset):
    splitter = CoupledDataSplitter(dataset, train_size=0.5, shuffle_set_split=False)
    np.testing.assert_array_equal(splitter.train_idx, np.arange(15))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"train_size": 0.0}, "`train_size` to be above 0"),
        ({"train_size": 1.1}, "`train_size` to be above 0"),
        ({"train_size": 0.8, "validation_size": 0.3}, "`validation_size` to be between 0 and 0.2"),
        ({"train_size": 0.8, "validation_size": -0.1}, "`validation_size` to be between 0 and 0.2"),
    ],
)
def test_impossible_shares_are_refused(dataset, sizes, message):
    with pytest.raises(ValueError, match=message):
        CoupledDataSplitter(dataset, **sizes)


def test_workers_read_the_same_batches(dataset, monkeypatch):
    def batches(workers):
        monkeypatch.setattr("scvi.settings.dl_num_workers", workers)
        torch.manual_seed(0)
        return list(CoupledDataSplitter(dataset, batch_size=7).train_dataloader())

    for here, there in zip(batches(0), batches(2), strict=True):
        for m in "ab":
            assert here["profiles"][m].h.equal(there["profiles"][m].h)
        assert here["links"]["a", "b"].row.equal(there["links"]["a", "b"].row)


def test_units_kept_apart_are_held_back_first(dataset):
    pairs = np.flatnonzero((dataset.units >= 0).all(axis=1))
    dataset.kept_apart = np.append(pairs[-2:], np.setdiff1d(np.arange(30), pairs)[:1])  # the last is no pair
    for n_calibration in (1, 2, 4):
        held_back = CoupledDataSplitter(dataset, n_calibration=n_calibration, release_epoch=2).calibration_idx
        assert len(held_back) == n_calibration
        assert np.isin(held_back, pairs).all()
        assert np.isin(held_back, pairs[-2:]).sum() == min(n_calibration, 2)
