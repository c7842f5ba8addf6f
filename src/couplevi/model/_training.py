from __future__ import annotations

import math
import os
import warnings
from functools import partial
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from scipy.stats import norm
from scvi.model.base import UnsupervisedTrainingMixin

from couplevi._arrays import dense
from couplevi._validate import check_count, check_option, expected
from couplevi.dataloaders import CoupledDataSplitter, set_sizes
from couplevi.model._dataset import (
    PAIR_SEPARATOR,
    cells_of_units,
    coupled_dataset,
    fit_modality,
    fitted_links,
    hashed,
)
from couplevi.preparation import prepared_rows
from couplevi.train import BestWeights, Calibration, CoupledTrainingPlan, CoupledTrainRunner, HistoryLogger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mudata import MuData
    from torch.distributions import Normal

    from couplevi._types import BoolArray, FloatArray, IntArray, ModalityPair
    from couplevi.dataloaders import CoupledDataset
    from couplevi.model._reader import ModalityReader

SPLITTER_SETTINGS = ("n_partners", "mixup_alpha")
PLAN_SETTINGS = ("lr", "weight_decay", "lr_schedule", "kl_warmup", "kl_schedule")

PATIENCE = 45
"""Epochs without a better validation loss at which training stops."""

CALIBRATION_END = 0.5
"""Share of the epochs in which the pairs for calibration are held back."""
MIN_CALIBRATION, MAX_CALIBRATION = 20, 2_000
LEVEL = 0.9
Z = float(norm.ppf((1 + LEVEL) / 2))
"""A Gaussian stays within so many standard deviations with that probability."""
N_SAMPLES = 16
"""Samples of the posterior that the variance of an imputation is taken over."""

REMEDY = "Look for extreme values in the data, or lower the learning rate: `plan_kwargs={'lr': 1e-4}`."


class CoupledTrainingMixin(UnsupervisedTrainingMixin):
    """Trains a model on units of linked profiles, and remembers which links it has seen."""

    _data_splitter_cls = CoupledDataSplitter
    _training_plan_cls = CoupledTrainingPlan
    _train_runner_cls = CoupledTrainRunner

    # of the model
    module: Any
    settings_: Any
    n_components_: dict[str, int | None]
    fitted_links_: dict[str, IntArray]
    _data: Callable[..., MuData]
    _readers: Callable[[], dict[str, ModalityReader]]
    _check_if_trained: Callable[..., None]
    is_trained_: bool
    device: torch.device
    _links: Callable[[MuData, str], dict[ModalityPair, sp.csr_array]]

    def train(
        self,
        max_epochs: int | None = None,
        accelerator: str = "auto",
        devices: int | list[int] | str = "auto",
        train_size: float = 1.0,
        validation_size: float | None = None,
        shuffle_set_split: bool = True,
        batch_size: int | None = None,
        early_stopping: bool | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        datasplitter_kwargs: dict[str, Any] | None = None,
        plan_kwargs: dict[str, Any] | None = None,
        **trainer_kwargs: Any,
    ) -> None:
        """Train the model; a second call goes on from where the first ended, with a schedule of its own.

        Parameters
        ----------
        max_epochs
            Passes through the data. None takes the settings': for ``"default"`` as many as make `n_steps` steps.
        accelerator, devices
            Hardware, see :class:`lightning.pytorch.Trainer`.
        train_size
            Share of the units, pairs or single profiles, that is trained on, in (0, 1].
        validation_size
            Share of the units that is validated on; None takes all that are not trained on.
        shuffle_set_split
            Split at random.
        batch_size
            Largest number of units per step; None takes the settings'.
        early_stopping
            Stop when the validation loss, taken with final weights, has not improved for
            `early_stopping_patience` (45) epochs after the warm-up, and return to the best weights. None: if there
            are validation units.
        checkpoint
            File that the state of training is written to every 30 seconds. If it is there, as after an interruption,
            training resumes from it: the same data, settings and arguments give the result of a training that was
            not interrupted. It is removed when training is complete.
        datasplitter_kwargs, plan_kwargs
            Further arguments of :class:`~couplevi.dataloaders.CoupledDataSplitter` and
            :class:`~couplevi.train.CoupledTrainingPlan`.
        **trainer_kwargs
            Further arguments of :class:`scvi.train.Trainer`.

        Raises
        ------
        ValueError
            If the model has no data, a share is out of range, or early stopping lacks validation units.
        RuntimeError
            If the loss or a weight is not finite from the first epoch on; the weights are then those from before. If
            that happens later, training stops with a warning and the best weights so far.
        """
        settings = self.settings_
        dataset, order = self._training_data()
        batch_size = settings.batch_size if batch_size is None else batch_size
        check_count(batch_size, "batch_size")
        n_train, n_validation = set_sizes(len(dataset), train_size, validation_size)
        if max_epochs is None:
            max_epochs = settings.max_epochs or math.ceil((settings.n_steps or 1) / math.ceil(n_train / batch_size))
        has_validation = n_validation > 0
        if early_stopping and not has_validation:
            raise ValueError(expected("validation units for early stopping", "none", "Pass `train_size=0.9`."))
        stops_early = has_validation if early_stopping is None else early_stopping
        release_epoch = math.floor(CALIBRATION_END * max_epochs)
        trainer, best = self._trainer_arguments(max_epochs, has_validation, stops_early, release_epoch)
        n_calibration = 0 if self.is_trained_ else self._n_calibration(dataset, release_epoch)
        calibration = Calibration(partial(self._calibrate, dataset, order))
        callbacks = [*trainer_kwargs.pop("callbacks", []), best, calibration]
        if checkpoint is not None:
            trainer["checkpoint"] = _checkpoint_path(checkpoint)
        was_trained = self.is_trained_
        super().train(
            max_epochs=max_epochs,
            accelerator=accelerator,
            devices=devices,
            train_size=train_size,
            validation_size=validation_size,
            shuffle_set_split=shuffle_set_split,
            batch_size=batch_size,
            datasplitter_kwargs={
                **_chosen(settings, SPLITTER_SETTINGS),
                "n_calibration": n_calibration,
                "release_epoch": release_epoch,
                **(datasplitter_kwargs or {}),
                "dataset": dataset,
            },
            plan_kwargs={**_chosen(settings, PLAN_SETTINGS), **(plan_kwargs or {})},
            **{**trainer, **trainer_kwargs, "callbacks": callbacks},
        )
        if best.failed and not math.isfinite(best.best):
            self.is_trained_ = was_trained
            raise RuntimeError(expected("a finite loss", "NaN or infinity in the first epoch of training", REMEDY))
        for pair, ends in fitted_links(self.adata, dataset, order, self.train_indices).items():
            before = self.fitted_links_.get(pair, ends[:0])
            self.fitted_links_[pair] = np.unique(np.concatenate([before, ends]), axis=0)
        for name in ("train_indices", "validation_indices", "test_indices"):
            setattr(self, name, cells_of_units(self.adata, dataset, order, getattr(self, name)))
        if best.failed:
            message = (
                "The loss or a weight became NaN or infinite. Training stopped; the model has its best weights so far."
            )
            warnings.warn(f"{message} {REMEDY}", UserWarning, stacklevel=2)

    def fitted_links(self, a: str, b: str) -> sp.csr_array:
        """Links between two modalities that the model was trained on, as far as its data hold them.

        Parameters
        ----------
        a, b
            Two modalities of the model.

        Returns
        -------
        Confidences, shape ``(n_a, n_b)``: rows and columns in the order of the modalities' ``obs_names``.

        Raises
        ------
        RuntimeError
            If the model is not trained.
        ValueError
            If the model has no data, or a modality is not one of its own.
        """
        ends = self._fitted_ends(a, b).T
        mdata = self._data(None)
        links = self._links(mdata, "correspondence")
        known = links[a, b] if (a, b) in links else links[b, a].T.tocsr()
        row, column = (
            pd.Index(hashed(mdata[m].obs_names)).get_indexer(names) for m, names in zip((a, b), ends, strict=True)
        )
        here = (row >= 0) & (column >= 0)
        fitted = sp.coo_array((np.ones(here.sum(), dtype=np.float32), (row[here], column[here])), shape=known.shape)
        return sp.csr_array(known.multiply(fitted))

    def is_fitted(self, obs_names: pd.Index, a: str, b: str) -> BoolArray:
        """Whether a cell's own profiles in two modalities were linked in training, shape ``(n_cells,)``.

        Parameters
        ----------
        obs_names
            Names of cells, of the training data or not.
        a, b
            Two modalities of the model.
        """
        links = self._fitted_ends(a, b)
        return np.isin(hashed(obs_names), links[links[:, 0] == links[:, 1], 0])

    def _training_data(self) -> tuple[CoupledDataset, dict[str, IntArray]]:
        """Profiles and links of the model's data, prepared; the preparation is fitted before the first training."""
        mdata, readers = self._data(None), self._readers()
        if not self.is_trained_:
            for m, reader in readers.items():
                record = fit_modality(reader.read(mdata), reader, self.n_components_[m], self.settings_.feature_weights)
                self.module.preparation(m).fill(record)
        self.module.train()
        preparations = {m: self.module.preparation(m).record() for m in readers}
        rows_of = lambda m, matrix, order: prepared_rows(matrix, preparations[m], order)
        links, matches = self._links(mdata, "correspondence"), self._links(mdata, "match")
        return coupled_dataset(mdata, readers, rows_of, links, matches)

    def _n_calibration(self, dataset: CoupledDataset, release_epoch: int) -> int:
        """Number of pairs to hold back; 0 where these would be too few, or there is no epoch before or after."""
        n_pairs = int(((dataset.units >= 0).sum(axis=1) > 1).sum())
        if not self.settings_.calibration_size or not release_epoch or n_pairs < 4 * MIN_CALIBRATION:
            return 0
        return min(max(round(self.settings_.calibration_size * n_pairs), MIN_CALIBRATION), MAX_CALIBRATION)

    @torch.inference_mode()
    def _calibrate(
        self, dataset: CoupledDataset, order: Mapping[str, IntArray], held_back: IntArray, trained_on: IntArray
    ) -> None:
        """Residual variance of each modality predicted from each other.

        The residuals of the pairs trained on, of which there are many, give each feature's share; those of the pairs
        held back, by how much all are too small. Both are measured by what 90 % of the absolute residuals stay below,
        so that outliers do not widen the intervals of all.
        """
        self.module.eval()
        some = np.random.default_rng(0).permutation(trained_on)[:MAX_CALIBRATION]
        for source, target in permutations(dataset.modalities, 2):
            fitted, unseen = (self._residuals(dataset, order, units, source, target) for units in (some, held_back))
            if len(unseen) < MIN_CALIBRATION or len(fitted) < MIN_CALIBRATION:
                continue
            scale = np.quantile(fitted, LEVEL, axis=0) / Z
            varies = scale > 0
            inflation = np.quantile(unseen[:, varies] / scale[varies], LEVEL) / Z if varies.any() else 1.0
            variance = torch.from_numpy(np.square(scale * inflation))
            self.module.residual_variance(source, target).copy_(variance)

    def _residuals(
        self, dataset: CoupledDataset, order: Mapping[str, IntArray], units: IntArray, source: str, target: str
    ) -> FloatArray:
        """Absolute errors in the units of the target, for the units measured in both modalities."""
        table = dict(zip(dataset.modalities, dataset.units[units].T, strict=True))
        both = (table[source] >= 0) & (table[target] >= 0)
        h = torch.from_numpy(np.asarray(dataset.rows[source][table[source][both]]))
        imputed = self._decoded(target, self.module.encode(source, h.to(self.device)).loc)
        profiles = self._data(None)[target][order[target][table[target][both]]]
        measured = dense(self._readers()[target].read(profiles))
        return np.abs(measured - imputed)

    def _decoded(self, target: str, z: torch.Tensor) -> FloatArray:
        """Features decoded from latents, in the units of the target."""
        return self.module.preparation(target).record().inverse(self.module.decode(target, z).mean.cpu().numpy())

    def _posterior_variance(self, target: str, q: Normal, mean: FloatArray) -> FloatArray:
        """Variance over the posterior of the decoded features, around those decoded from its mean."""
        squares = np.zeros_like(mean)
        for z in self.module.latent_samples(q, N_SAMPLES):
            squares += np.square(self._decoded(target, z) - mean)
        return squares / N_SAMPLES

    def _trainer_arguments(
        self, max_epochs: int, has_validation: bool, stops_early: bool, release_epoch: int
    ) -> tuple[dict[str, Any], BestWeights]:
        """Defaults of the trainer, and the callback that keeps the best weights."""
        arguments: dict[str, Any] = {
            "logger": HistoryLogger(),
            "log_every_n_steps": 1,  # nothing is logged by step; more would warn about short epochs
            "gradient_clip_val": self.settings_.gradient_clip,
            "check_val_every_n_epoch": 1 if has_validation else None,
            "limit_val_batches": None if has_validation else 0,
        }
        patience = PATIENCE if stops_early else self.settings_.patience
        if patience is None:
            return arguments, BestWeights("train_loss")
        warmup = max(math.ceil(self.settings_.kl_warmup * max_epochs), release_epoch if stops_early else 0)
        monitor = "validation_loss" if stops_early else "train_loss"
        arguments |= {
            "early_stopping": True,
            "early_stopping_monitor": monitor,
            "early_stopping_patience": patience,
            "early_stopping_warmup_epochs": warmup,
        }
        return arguments, BestWeights(monitor, warmup_epochs=warmup, restore=True)

    def _fitted_ends(self, a: str, b: str) -> IntArray:
        self._check_if_trained(warn=False)
        for m in (a, b):
            check_option(m, list(self.n_components_), "modality")
        first, second = sorted((a, b))
        links = self.fitted_links_[PAIR_SEPARATOR.join((first, second))]
        return links if first == a else links[:, ::-1]


def _checkpoint_path(checkpoint: str | os.PathLike[str]) -> Path:
    path = Path(checkpoint)
    if not path.parent.is_dir():
        raise FileNotFoundError(expected(f"a folder {str(path.parent)!r} to write to", "none", "Create it first."))
    if path.is_dir():
        raise ValueError(expected("`checkpoint` to be a file", f"a folder {str(path)!r}"))
    return path


def _chosen(settings: object, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in names}
