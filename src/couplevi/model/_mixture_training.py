from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from itertools import combinations, product
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
import torch
from scvi.model.base import UnsupervisedTrainingMixin

from couplevi._streamed import StreamedMatrix, loaded
from couplevi._validate import check_count, check_counts, check_number, expected, stored_values
from couplevi.dataloaders import CoupledDataSplitter, set_sizes
from couplevi.model._dataset import cells_of_units, coupled_dataset, fit_modality
from couplevi.model._mixture_settings import MixtureSettings
from couplevi.model._mixture_start import MAX_PROFILES, check_cells, renumbered, starting_partitions
from couplevi.model._selection import Round, Votes, consensus, has_failed, history_of, select_round
from couplevi.module import COUNTS_PER_CELL
from couplevi.preparation import FeatureRows, prepared_rows
from couplevi.train import BestWeights, CoupledTrainRunner, HistoryLogger, Rounds, RoundsTrainingPlan

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from mudata import MuData

    from couplevi._types import BoolArray, FloatArray, IntArray, Matrix, MemoryMatrix, ModalityPair
    from couplevi.dataloaders import CoupledDataset, Rows
    from couplevi.model._reader import ModalityReader
    from couplevi.module import CplMixVAEModule

CHUNK = 4096
"""Profiles that are read at a time outside training."""
COMPLETE_SHARE = 0.1
"""Share of the units measured in all modalities from which on these alone make the starting partitions."""
MAX_JUDGED = 2_000
"""Profiles of a modality that decide which category costs least."""
MIN_CONSENSUS, MIN_CONSENSUS_BETWEEN = 0.95, 0.8
"""Consensus that a number of categories has to reach: of arms that see the same profiles, and of modalities."""
PROFILES_PER_CATEGORY = 5
LARGE_COUNT = 20
UNINFORMATIVE = 0.9
"""Share of its largest entropy above which the category says next to nothing."""


class MixtureTrainingMixin(UnsupervisedTrainingMixin):
    """Trains a mixture in rounds, removes a category after each, and keeps the round that is worth it."""

    _data_splitter_cls = CoupledDataSplitter
    _training_plan_cls = RoundsTrainingPlan
    _train_runner_cls = CoupledTrainRunner

    # of the model
    module: CplMixVAEModule
    adata: AnnData | MuData
    settings_: MixtureSettings
    modalities_: list[str]
    n_components_: dict[str, int | None]
    categories_: IntArray
    pruning_: pd.DataFrame
    is_trained_: bool
    device: torch.device
    _readers: Callable[[], dict[str, ModalityReader]]
    _data: Callable[[Any], AnnData | MuData]
    _links: Callable[[AnnData | MuData], dict[ModalityPair, sp.csr_array]]
    predict: Callable[..., pd.Series]

    def train(
        self,
        max_epochs: int | None = None,
        max_epochs_prune: int | None = None,
        *,
        prune: bool = True,
        min_categories: int = 2,
        min_consensus: float | None = None,
        train_size: float = 0.8,
        batch_size: int | None = None,
        accelerator: str = "auto",
        devices: int | list[int] | str = "auto",
        datasplitter_kwargs: dict[str, Any] | None = None,
        plan_kwargs: dict[str, Any] | None = None,
        **trainer_kwargs: Any,
    ) -> None:
        """Train, remove the category that arms agree on least, train on, and so forth; keep the best number.

        Where they agree on all categories, and with a single arm, the one goes without which the evidence lower bound
        falls least.

        Among the rounds whose mean consensus on held-out cells is at least `min_consensus`, that one is kept which has
        the fewest categories while its held-out evidence lower bound is within one standard error of the best one's. A
        gradient that is cut in the same way by all arms keeps consensus high, so consensus alone does not tell. Pruning
        ends when 5 rounds in a row were worse than that. :attr:`pruning_history` has all rounds.

        Parameters
        ----------
        max_epochs, max_epochs_prune
            Passes through the data in the first round, and in each later one. None takes as many as make the settings'
            `n_steps` and `n_steps_prune`.
        prune
            Remove categories; else there is one round.
        min_categories
            Number of categories at which pruning ends, at least 2.
        min_consensus
            Consensus of the arms on held-out cells, in [0, 1], that a round has to reach. None is 0.95, or 0.8 where
            arms of different modalities have to agree.
        train_size
            Share of the cells that is trained on, in (0, 1); the rest decides on the number of categories. Scaling and
            principal components are those of all cells.
        batch_size
            Largest number of cells per step; None takes the settings'.
        accelerator, devices
            Hardware, see :class:`lightning.pytorch.Trainer`.
        datasplitter_kwargs, plan_kwargs
            Further arguments of :class:`~couplevi.dataloaders.CoupledDataSplitter` and
            :class:`~couplevi.train.RoundsTrainingPlan`.
        **trainer_kwargs
            Further arguments of :class:`scvi.train.Trainer`.

        Raises
        ------
        ValueError
            If the model has no data, a number is out of range, counts are not counts, or there are fewer cells than
            categories or none to validate on.
        RuntimeError
            If the loss or a weight is not finite before the end of the first round.
        TypeError
            For a setting of the model among the arguments.
        NotImplementedError
            For `checkpoint` and `early_stopping`.

        The model is as before if training fails or is interrupted.
        """
        settings = self.settings_
        check_count(min_categories, "min_categories", minimum=2)
        if min_consensus is None:
            min_consensus = MIN_CONSENSUS if len(self.modalities_) == 1 else MIN_CONSENSUS_BETWEEN
        check_number(min_consensus, "min_consensus", 0, 1)
        check_number(train_size, "train_size", 0, 1)
        batch_size = settings.batch_size if batch_size is None else batch_size
        check_count(batch_size, "batch_size")
        _check_trainer_arguments(trainer_kwargs)
        dataset, order = self._training_data()
        n_train, n_validation = set_sizes(len(dataset), train_size, None)
        if prune and not n_validation:
            remedy = "Train on more cells, lower `train_size`, or pass `prune=False`."
            raise ValueError(expected("cells to validate on", f"none of {len(dataset)}", remedy))
        self._warn_about_batches(min(batch_size, n_train))
        rounds = self._rounds(max_epochs, max_epochs_prune, math.ceil(n_train / batch_size), prune, min_categories)
        results: list[Round] = []

        def begin(train: IntArray) -> None:
            if not self.is_trained_:
                self._start(dataset, train)

        def judge(train: IntArray, validation: IntArray) -> bool:
            results.append(self._judge(dataset, train, validation if len(validation) else train))
            if not prune or len(results) == len(rounds) or has_failed(results, min_consensus):
                return False
            self.module.active[self._superfluous(dataset, train, results[-1], min_consensus)] = False
            return True

        best = BestWeights("train_loss")
        self.module.train()
        with self._restored_on_failure():
            super().train(
                max_epochs=sum(rounds),
                accelerator=accelerator,
                devices=devices,
                train_size=train_size,
                batch_size=batch_size,
                datasplitter_kwargs={**(datasplitter_kwargs or {}), "dataset": dataset},
                plan_kwargs={
                    "lr": settings.lr,
                    "temperature": settings.temperature,
                    **(plan_kwargs or {}),
                    "rounds": rounds,
                },
                **{
                    "logger": HistoryLogger(),
                    "log_every_n_steps": 1,
                    "gradient_clip_val": settings.gradient_clip,
                    "check_val_every_n_epoch": None,
                    "limit_val_batches": 0,
                    **trainer_kwargs,
                    "callbacks": [*trainer_kwargs.pop("callbacks", []), best, Rounds(rounds, begin, judge)],
                },
            )
            if not results and not best.failed:  # stopped from outside
                judge(self.train_indices, self.validation_indices)
            results = [r for r in results if np.isfinite(r.elbo).all()]
            if not results:
                remedy = "Look for extreme values in the data, or lower the learning rate: `CplMixVAE(..., lr=3e-4)`."
                raise RuntimeError(expected("a finite loss", "NaN or infinity in the first round of training", remedy))
            selected, agreed = select_round(results, min_consensus)
            self.module.load_state_dict(results[selected].weights)
        self.module.eval()
        self.pruning_ = history_of(results, selected, min_consensus)
        for name in ("train_indices", "validation_indices", "test_indices"):
            setattr(self, name, cells_of_units(self.adata, dataset, order, getattr(self, name)))
        self.categories_ = results[selected].categories
        largest = np.bincount(self.predict().cat.codes, minlength=len(self.categories_)).argsort(kind="stable")[::-1]
        self.categories_ = self.categories_[largest]
        self._warn_about_result(results, selected, agreed, min_consensus, failed=best.failed, pruned=prune)

    @contextmanager
    def _restored_on_failure(self) -> Iterator[None]:
        """Put the model back where it was if training does not come to its end, by an error or an interruption."""
        weights = copy.deepcopy(self.module.state_dict())
        before = {name: value for name, value in vars(self).items() if name not in ("module", "adata")}
        try:
            yield
        except BaseException:
            self.module.load_state_dict(weights)
            self.module.eval()
            self.__dict__.update(before)
            raise

    # data

    def _training_data(self) -> tuple[CoupledDataset, dict[str, IntArray]]:
        """Profiles and links of the model's data; the preparation is fitted before the first training."""
        data, readers = self._data(None), self._readers()
        matrices = {m: self._values(reader, data) for m, reader in readers.items()}
        for m, matrix in matrices.items():
            self._warn_about_counts(m, matrix)
        if not self.is_trained_:
            for m, matrix in matrices.items():
                transformed = self._transformed(m, matrix)
                record = fit_modality(transformed, readers[m], self.n_components_[m], self.settings_.feature_weights)
                self.module.preparation(m).fill(record)

        def rows_of(m: str, matrix: Matrix, order: IntArray) -> Rows:
            if self.module.reads_features(m):
                return FeatureRows(matrix, order)
            return prepared_rows(matrix, self.module.preparation(m).record(), order)

        return coupled_dataset(data, readers, rows_of, self._links(data), {})

    def _values(self, reader: ModalityReader, data: AnnData | MuData) -> Matrix:
        """Values of a modality; of counts, checked to be counts."""
        matrix = reader.read(data)
        if self.settings_.likelihood_of(reader.modality) != "gaussian":
            matrix = loaded(matrix)
            check_counts(matrix, reader.where)
        return matrix

    def _transformed(self, modality: str, matrix: Matrix) -> Matrix:
        """What the preparation is fitted on: counts per 10,000, logarithmic, or the values as they are."""
        if self.settings_.likelihood_of(modality) == "gaussian":
            return matrix
        return _log_normalised(loaded(matrix))

    def _batches(self, rows: Rows, places: IntArray) -> Iterator[tuple[slice, torch.Tensor]]:
        """Profiles as the module reads them, and where they lie in `places`."""
        self.module.eval()
        for start in range(0, len(places), CHUNK):
            part = slice(start, start + CHUNK)
            yield part, torch.from_numpy(np.asarray(rows[places[part]])).to(self.device)

    # rounds

    def _rounds(
        self, first: int | None, later: int | None, steps_per_epoch: int, prune: bool, min_categories: int
    ) -> list[int]:
        """Number of epochs of each round."""
        settings = self.settings_
        for name, epochs in (("max_epochs", first), ("max_epochs_prune", later)):
            if epochs is not None:
                check_count(epochs, name)
        first = math.ceil(settings.n_steps / steps_per_epoch) if first is None else first
        later = math.ceil(settings.n_steps_prune / steps_per_epoch) if later is None else later
        n_removed = max(0, int(self.module.active.sum()) - min_categories) if prune else 0
        return [first] + n_removed * [later]

    @torch.no_grad()
    def _start(self, dataset: CoupledDataset, train: IntArray) -> None:
        """Put the arms on k-means partitions: of the cells measured in all modalities, or else of each modality.

        In that case the numbers of a modality's categories are those that most linked profiles have in earlier ones.
        """
        units = dataset.units[train[torch.randperm(len(train)).numpy()]]
        columns = {m: units[:, i] for i, m in enumerate(dataset.modalities)}
        n_categories, n_arms = self.settings_.n_categories, self.settings_.n_arms
        complete = (units >= 0).all(axis=1)
        if complete.sum() >= max(n_categories, COMPLETE_SHARE * len(units)):
            places = {m: column[complete][:MAX_PROFILES] for m, column in columns.items()}
            profiles = {m: self._read(dataset.rows[m], places[m]) for m in self.modalities_}
            features = torch.cat([self.module.prepare(m, x) for m, x in profiles.items()], dim=1).cpu().numpy()
            partitions = dict.fromkeys(profiles, starting_partitions(features, n_categories, n_arms))
        else:
            places = {m: column[column >= 0][:MAX_PROFILES] for m, column in columns.items()}
            profiles = {m: self._read(dataset.rows[m], places[m]) for m in self.modalities_}
            partitions = {}
            for m, x in profiles.items():
                own = starting_partitions(self.module.prepare(m, x).cpu().numpy(), n_categories, n_arms)
                shared = np.zeros((n_categories, n_categories))
                for other, earlier in partitions.items():
                    link = (
                        dataset.links[other, m].matrix
                        if (other, m) in dataset.links
                        else dataset.links[m, other].matrix.T
                    )
                    block = link.tocsr()[places[other]][:, places[m]].tocoo()
                    np.add.at(shared, (own[0][block.coords[1]], earlier[0][block.coords[0]]), block.data)
                partitions[m] = renumbered(own, shared)
        for m, x in profiles.items():
            for arm, labels in enumerate(partitions[m]):
                self.module.start(m, arm, x, torch.from_numpy(labels).to(self.device))

    def _read(self, rows: Rows, places: IntArray) -> torch.Tensor:
        check_cells(len(places), self.settings_.n_categories)
        return torch.cat([x for _, x in self._batches(rows, places)])

    @torch.inference_mode()
    def _judge(self, dataset: CoupledDataset, train: IntArray, validation: IntArray) -> Round:
        active = self.module.active.nonzero()[:, 0].cpu().numpy()
        agreement, size, entropy = self._consensus_of(dataset, train)
        held_out, _, _ = self._consensus_of(dataset, validation)
        own = math.nan if held_out is None else float(np.nanmean(held_out.diagonal()[active]))
        return Round(
            categories=active,
            agreement=np.nan_to_num(size[active] if agreement is None else agreement.diagonal()[active]),
            consensus=own,
            n_used=int((size > 0).sum()),
            entropy=entropy,
            elbo=self._elbo_of_units(dataset, validation),
            weights={name: value.detach().cpu().clone() for name, value in self.module.state_dict().items()},
        )

    @torch.inference_mode()
    def _superfluous(self, dataset: CoupledDataset, train: IntArray, last: Round, min_consensus: float) -> int:
        """Category to remove: the one that arms agree on least or, if they agree on all, the one that costs least."""
        if last.agreement.min() < min_consensus and self._is_coupled(dataset):
            return int(last.categories[np.argmin(last.agreement)])
        costs = np.zeros(self.settings_.n_categories)
        for i, m in enumerate(dataset.modalities):
            places = dataset.units[train, i]
            x = torch.cat([x for _, x in self._batches(dataset.rows[m], places[places >= 0][:MAX_JUDGED])])
            for arm in range(self.settings_.n_arms):
                costs += self.module.removal_costs(m, arm, x).cpu().numpy()
        return int(np.argmin(costs))

    def _is_coupled(self, dataset: CoupledDataset) -> bool:
        return self.settings_.n_arms > 1 or any(table.matrix.nnz for table in dataset.links.values())

    def _consensus_of(self, dataset: CoupledDataset, units: IntArray) -> tuple[FloatArray | None, FloatArray, float]:
        """Consensus on these units, None without arms to compare; share of each category; mean relative entropy."""
        n_categories = self.settings_.n_categories
        entropies = []
        labels: dict[str, list[IntArray]] = {}
        inside = {}
        for i, m in enumerate(dataset.modalities):
            places = dataset.units[units, i]
            places = places[places >= 0]
            inside[m] = np.zeros(len(dataset.rows[m]), dtype=bool)
            inside[m][places] = True
            labels[m] = [np.zeros(len(dataset.rows[m]), dtype=np.int64) for _ in range(self.settings_.n_arms)]
            for part, x in self._batches(dataset.rows[m], places):
                for arm, own in enumerate(labels[m]):
                    log_q = self.module.log_probabilities(m, arm, x)
                    entropies.append(-(log_q.exp() * log_q).sum(dim=1))
                    own[places[part]] = log_q.argmax(dim=1).cpu().numpy()
        counts = np.bincount(
            np.concatenate([own[inside[m]] for m in labels for own in labels[m]]), minlength=n_categories
        )
        entropy = float(torch.cat(entropies).mean()) / math.log(int(self.module.active.sum()))
        links = {pair: table.matrix for pair, table in dataset.links.items()}
        votes = [*votes_within(labels, inside), *votes_between(labels, inside, links)]
        return consensus(votes, n_categories) if votes else None, counts / counts.sum(), entropy

    def _elbo_of_units(self, dataset: CoupledDataset, units: IntArray) -> FloatArray:
        """Evidence lower bound of each unit, mean over arms, sum over its modalities, shape ``(n_units,)``."""
        total = np.zeros(len(units))
        for i, m in enumerate(dataset.modalities):
            measured = np.flatnonzero(dataset.units[units, i] >= 0)
            places = dataset.units[units[measured], i]
            for part, x in self._batches(dataset.rows[m], places):
                bounds = [self.module.elbo(m, arm, x) for arm in range(self.settings_.n_arms)]
                total[measured[part]] += torch.stack(bounds).mean(dim=0).cpu().numpy()
        return total

    # warnings

    def _warn_about_batches(self, batch_size: int) -> None:
        needed = PROFILES_PER_CATEGORY * int(self.module.active.sum())
        if batch_size < needed:
            warnings.warn(
                f"Batches of {batch_size} cells are small for {int(self.module.active.sum())} categories: the coupling "
                f"wants at least {PROFILES_PER_CATEGORY} cells per category. Pass `batch_size={needed}` or more, lower "
                "`n_categories`, or train on more cells.",
                UserWarning,
                stacklevel=3,
            )

    def _warn_about_counts(self, modality: str, matrix: Matrix) -> None:
        gaussian = self.settings_.likelihood_of(modality) == "gaussian"
        if not gaussian or isinstance(matrix, StreamedMatrix):
            return
        values = stored_values(matrix)
        if values.size and values.min() >= 0 and values.max() > LARGE_COUNT and (values == np.floor(values)).all():
            warnings.warn(
                f"{self._readers()[modality].where} looks like raw counts, up to {values.max():g}, which the Gaussian "
                "likelihood does not suit. Name a layer of logarithmic values, or pass `likelihood='nb'`.",
                UserWarning,
                stacklevel=4,
            )

    def _warn_about_result(
        self, rounds: Sequence[Round], selected: int, agreed: bool, min_consensus: float, *, failed: bool, pruned: bool
    ) -> None:
        """Say what the numbers mean for the user: collapse, disagreement, too few categories to start from."""
        kept = rounds[selected]
        advice = []
        if failed:
            advice.append("The loss became NaN or infinite; the rounds before are kept. Lower `lr`.")
        if kept.n_used < 2 or kept.entropy > UNINFORMATIVE:
            advice.append(
                f"The categories have collapsed: {kept.n_used} of {len(kept.categories)} are used and their "
                f"probabilities have {kept.entropy:.0%} of the largest entropy. Lower `coupling_weight` or `dropout_rate`, "
                "train longer (`n_steps`), or check that the data are transformed and have structure."
            )
        if pruned and not agreed:
            advice.append(
                f"No number of categories reached a consensus of {min_consensus:g}: the highest, "
                f"{kept.consensus:.2f}, is kept. Lower `min_consensus` for more and less certain categories, or raise "
                "`coupling_weight`."
            )
        elif pruned and selected == 0 and len(rounds) > 1:
            advice.append(
                f"The number of categories at the start, {len(kept.categories)}, is the one kept: there may be more. "
                "Raise `n_categories`."
            )
        for text in advice:
            warnings.warn(text, UserWarning, stacklevel=3)


def _check_trainer_arguments(given: Mapping[str, Any]) -> None:
    """Raise for what other models take in ``train`` and this one does not."""
    for name in ("checkpoint", "early_stopping"):
        if given.get(name):
            raise NotImplementedError(f"`{name}`: CplMixVAE does not support it. Leave it out; pruning ends by itself.")
    for name in given:
        if name in {field.name for field in fields(MixtureSettings)}:
            remedy = f"Build the model with it: `CplMixVAE(adata, n_categories=..., {name}=...)`."
            raise TypeError(expected("an argument of training", f"`{name}`", remedy))


def votes_within(labels: Mapping[str, Sequence[IntArray]], inside: Mapping[str, BoolArray]) -> Iterator[Votes]:
    """What each pair of arms of a modality says of its profiles `inside`."""
    for m, arms in labels.items():
        weight = np.ones(int(inside[m].sum()))
        for a, b in combinations(arms, 2):
            yield Votes(a[inside[m]], b[inside[m]], weight)


def votes_between(
    labels: Mapping[str, Sequence[IntArray]],
    inside: Mapping[str, BoolArray],
    links: Mapping[ModalityPair, sp.csr_array],
) -> Iterator[Votes]:
    """What each arm of a modality and each one of another say of the ends of the links `inside`."""
    for (m, other), matrix in links.items():
        row, column = matrix.tocoo().coords
        keep = inside[m][row] & inside[other][column]
        if keep.any():
            for a, b in product(labels[m], labels[other]):
                yield Votes(a[row[keep]], b[column[keep]], matrix.tocoo().data[keep])


def _log_normalised(counts: MemoryMatrix) -> MemoryMatrix:
    """Logarithm of 1 plus counts per 10,000; a sparse matrix stays sparse."""
    total = np.maximum(np.asarray(counts.sum(axis=1), dtype=np.float64).ravel(), 1.0)
    gain = (COUNTS_PER_CELL / total).astype(np.float32)
    if sp.issparse(counts):
        return sp.csr_array(sp.diags_array(gain) @ sp.csr_array(counts)).log1p()
    return np.log1p(np.asarray(counts, dtype=np.float32) * gain[:, None])
