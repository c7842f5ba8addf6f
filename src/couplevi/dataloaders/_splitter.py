from __future__ import annotations

from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import numpy as np
import torch
import torch.distributed
from scvi import settings
from torch.utils.data import DataLoader

from couplevi._validate import expected
from couplevi.dataloaders._sampler import UnitSampler

if TYPE_CHECKING:
    from couplevi._types import Batch, IntArray
    from couplevi.dataloaders._dataset import CoupledDataset


class CoupledDataSplitter(pl.LightningDataModule):
    """Splits units into training, validation and test sets, and loads the first two.

    A pair is one unit, so its halves never part; links between the sets are not seen by either.

    Parameters
    ----------
    dataset
        The prepared profiles and their links.
    train_size
        Share of the units trained on, in (0, 1].
    validation_size
        Share of the units validated on; None takes all that are left.
    batch_size
        Largest number of units in a batch.
    n_partners
        Largest number of further partners of a profile.
    mixup_alpha
        How strongly units are mixed in training: concentration, at least 0, of the Beta distribution of the shares; 1
        draws any share alike, small values mix little, 0 not at all.
    n_calibration, release_epoch
        Number of units of the training set, measured in several modalities, that are not drawn before that epoch; those
        that the dataset kept apart come first.
    shuffle_set_split
        Split at random; else the units are taken in the order of their values.
    distributed_sampler
        Divide the units among the processes of the running :mod:`torch.distributed` group.
    """

    def __init__(
        self,
        dataset: CoupledDataset,
        *,
        train_size: float = 1.0,
        validation_size: float | None = None,
        batch_size: int = 256,
        n_partners: int = 4,
        mixup_alpha: float = 0.0,
        n_calibration: int = 0,
        release_epoch: int = 0,
        shuffle_set_split: bool = True,
        distributed_sampler: bool = False,
    ) -> None:
        super().__init__()
        self.dataset = dataset
        self.batch_size = batch_size
        self.n_partners = n_partners
        self.mixup_alpha = mixup_alpha
        self.distributed = distributed_sampler
        self.release_epoch = release_epoch
        self.n_calibration = n_calibration
        self.shuffle_set_split = shuffle_set_split
        self._sizes = set_sizes(len(dataset), train_size, validation_size)
        self._split(int(torch.randint(2**31, ())))  # the seed of torch, or of scvi.settings, determines all draws

    def _split(self, seed: int) -> None:
        self.seed = seed
        n, (n_train, n_validation) = len(self.dataset), self._sizes
        order = np.random.default_rng(seed).permutation(n) if self.shuffle_set_split else np.arange(n)
        self.train_idx, self.val_idx, self.test_idx = np.split(order, [n_train, n_train + n_validation])
        is_pair = (self.dataset.units[self.train_idx] >= 0).sum(axis=1) > 1
        shuffled = np.random.default_rng((seed, 1)).permutation(self.train_idx[is_pair])
        apart_first = np.argsort(~np.isin(shuffled, self.dataset.kept_apart), kind="stable")
        self.calibration_idx = np.sort(shuffled[apart_first][: self.n_calibration])

    def setup(self, stage: str | None = None) -> None:
        """Let all processes draw with the seed of the first, so that each unit is drawn once."""
        if self.distributed:
            seed = torch.tensor(self.seed)
            torch.distributed.broadcast(seed, src=0)
            if seed != self.seed:
                self._split(int(seed))

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        # Lightning looks at every tensor of a batch that is where it should be
        return batch if device.type == "cpu" else super().transfer_batch_to_device(batch, device, dataloader_idx)

    def state_dict(self) -> dict[str, int]:
        """The seed, from which the same units are drawn again when training is resumed."""
        return {"seed": self.seed}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self._split(state_dict["seed"])

    @property
    def n_train(self) -> int:
        """Number of units trained on."""
        return len(self.train_idx)

    @property
    def n_val(self) -> int:
        """Number of units validated on."""
        return len(self.val_idx)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Minibatches of the training set."""
        return self._loader(self.train_idx, shuffle=True, held_back=self.calibration_idx)

    def val_dataloader(self) -> DataLoader[Batch] | list[DataLoader[Batch]]:
        """Minibatches of the validation set."""
        return self._loader(self.val_idx, shuffle=False) if self.n_val else []

    def _loader(self, units: IntArray, *, shuffle: bool, held_back: IntArray | None = None) -> DataLoader[Batch]:
        processes: dict[str, Any] = {}
        if self.distributed:
            processes = {"num_replicas": torch.distributed.get_world_size(), "rank": torch.distributed.get_rank()}
        sampler = UnitSampler(
            self.dataset,
            np.sort(units),
            batch_size=self.batch_size,
            n_partners=self.n_partners,
            mixup_alpha=self.mixup_alpha,
            held_back=held_back,
            release_epoch=self.release_epoch,
            shuffle=shuffle,
            seed=self.seed,
            **processes,
        )
        workers = settings.dl_num_workers
        return DataLoader(
            self.dataset,
            sampler=sampler,
            batch_size=None,
            num_workers=workers,
            persistent_workers=settings.dl_persistent_workers and workers > 0,
        )


def set_sizes(n: int, train_size: float, validation_size: float | None) -> tuple[int, int]:
    """Number of units to train and to validate on, of `n`."""
    if not 0 < train_size <= 1:
        raise ValueError(expected("`train_size` to be above 0 and at most 1", train_size))
    rest = 1 - train_size if validation_size is None else validation_size
    if not 0 <= rest <= 1 - train_size + 1e-9:
        raise ValueError(expected(f"`validation_size` to be between 0 and {1 - train_size:g}", validation_size))
    n_train = max(1, int(np.ceil(train_size * n)))
    return n_train, min(n - n_train, int(np.floor(rest * n + 1e-9)) if validation_size is not None else n - n_train)
