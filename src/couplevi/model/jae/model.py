from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Self

import numpy as np
import pandas as pd
import torch
from mudata import MuData
from scipy import stats
from scvi.model._utils import use_distributed_sampler

from couplevi._constants import UNKNOWN
from couplevi._docs import fill_docs
from couplevi._labels import check_classes, holders, label_texts
from couplevi._validate import (
    check_mudata,
    check_number,
    check_option,
    check_rows,
    expected,
    warn,
)
from couplevi.dataloaders import CoupledDataSplitter
from couplevi.model._base import Model
from couplevi.model._dataset import cells_of_units, is_counted
from couplevi.model._length import Length, epochs_of
from couplevi.model._mapping import check_added, design_of, mapped_model, only_added
from couplevi.model.jae.inference import cells
from couplevi.model.jae.mapping import frozen_in_mapping, mapped_weights
from couplevi.model.jae.module import BLOCKS, TERMS, JAEModule
from couplevi.model.jae.settings import JAESettings, make_jae_settings
from couplevi.model.jae.training import JAETrainingPlan, fit_latent, fit_new_batches, training_data
from couplevi.registry import column_values, coupled_manager, registered_column, registered_readers
from couplevi.train import TrainingRun, check_arguments

if TYPE_CHECKING:
    from collections.abc import Callable

    from anndata import AnnData

    from couplevi._types import BoolArray, FloatArray, IntArray
    from couplevi.dataloaders import CellDataset
    from couplevi.registry import Registered

PLAN_SETTINGS = ("lr", "weight_decay", "lr_schedule", "guess_start")
CYCLE = ("s_score", "g2m_score")
"""Roles of the columns of the cell cycle."""
GROUPS = {"all": BLOCKS, "biology": ("labels", "cell_cycle"), "free": ("free",)}
"""Blocks by what a user may ask for."""
INDICES = ("train_indices", "validation_indices", "test_indices")


@fill_docs
class JAE(Model):
    """Joint autoencoder: one embedding of all modalities of a cell, that uses labels where there are some.

    Parts of the latent are trained to be what is known of a cell: its label, where it has one, and its place in the cell
    cycle. The rest is free. The decoder reads the batch, so that the latent need not hold it. Cells without a label
    learn from the labels that the model predicts for them, once it is sure.

    Parameters
    ----------
    mdata
        MuData set up with :meth:`setup_mudata`.
    %(jae_preset)s
    %(registry)s
    **overrides
        Fields of :class:`~couplevi.model.JAESettings` that replace those of the preset, such as `n_free` (20).

    Raises
    ------
    ValueError
        If the data are not set up, or a setting is out of range.
    TypeError
        If `mdata` is not a MuData, or for an unknown setting.

    References
    ----------
    Lance et al., Multimodal single cell data integration challenge: results and lessons learned, PMLR 2022 (the joint
    autoencoder of Liu, Zeng and Xu, first in joint embedding). Lee, Pseudo-label, ICML workshop 2013. Sohn et al.,
    FixMatch, NeurIPS 2020.

    Examples
    --------
    >>> import couplevi as cvi
    >>> mdata = cvi.data.count_clusters(n_obs=200)
    >>> mdata.obs["known"] = mdata.obs["cell_type"].astype(str).where(mdata.obs_names.isin(mdata.obs_names[:100]))
    >>> cvi.model.JAE.setup_mudata(mdata, modalities=("rna", "atac"), labels_key="known")
    >>> model = cvi.model.JAE(mdata)
    >>> model.train(max_epochs=5, enable_progress_bar=False)
    >>> model.get_latent_representation().shape, model.get_latent_representation(blocks="free").shape
    ((200, 25), (200, 20))
    >>> model.predict_labels().head(2).shape
    (2,)
    """

    saved = (*Model.saved, "labels_", "counted_", "cycle_", "mapped_")
    settings_class = JAESettings
    module: JAEModule
    settings_: JAESettings

    def __init__(
        self,
        mdata: MuData | None = None,
        preset: Literal["default", "paper"] | JAESettings = "default",
        *,
        registry: dict[str, Any] | None = None,
        **overrides: Any,
    ) -> None:
        settings = make_jae_settings(preset, overrides)
        if registry is None and self._get_most_recent_anndata_manager(check_mudata(mdata)) is None:
            remedy = "Call `JAE.setup_mudata(mdata, modalities=...)` first."
            raise ValueError(expected("a MuData that is set up", "one that is not", remedy))
        if mdata is None:
            raise ValueError(expected("data", "none", "Labels are those of the data: pass `mdata`, or call `load`."))
        super().__init__(mdata, registry, settings, strict="n_pcs" in overrides)
        self.mapped_ = False
        self.labels_: list[str] = self._labels_to_learn(mdata)
        self.counted_ = {m: is_counted(self.reader(m), mdata) for m in self.modalities_}
        self.cycle_: tuple[tuple[float, float], ...] = self._moments_of_cycle(mdata)
        self.module = self._build_module()

    @classmethod
    @fill_docs
    def setup_mudata(
        cls,
        mdata: MuData,
        *,
        modalities: Sequence[str],
        layers: Mapping[str, str | None] | None = None,
        use_rep: Mapping[str, str] | None = None,
        labels_key: str | None = None,
        batch_key: str | None = None,
        cell_cycle_keys: Sequence[str] | None = None,
        categorical_covariate_keys: Sequence[str] | None = None,
        continuous_covariate_keys: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Register modalities and what is known of cells. Only scvi-tools' two identifiers are written, to ``mdata.uns``.

        Parameters
        ----------
        mdata
            MuData whose rows of the same name are the same cell; cells may lack modalities.
        %(labelled_values)s
        %(setup_kwargs)s

        Raises
        ------
        TypeError
            If `mdata` is not a MuData, or scores or a continuous covariate hold no numbers.
        KeyError
            If a modality, layer, representation or column is missing.
        ValueError
            If names are not unique, values are not finite, a cell has no value of a covariate, labels are
            measurements, or there are not two columns of scores.

        Examples
        --------
        >>> import couplevi as cvi
        >>> mdata = cvi.data.count_clusters(n_obs=100)
        >>> cvi.model.JAE.setup_mudata(mdata, modalities=("rna", "atac"), labels_key="cell_type")
        """
        setup_method_args = cls._get_setup_method_args(**locals())
        names = [] if cell_cycle_keys is None or isinstance(cell_cycle_keys, str) else list(cell_cycle_keys)
        if cell_cycle_keys is not None and (len(names) != len(CYCLE) or None in names):
            remedy = "For example ('S_score', 'G2M_score')."
            raise ValueError(expected("two columns as `cell_cycle_keys`", repr(cell_cycle_keys), remedy))
        scores = dict(zip(CYCLE, names or (None, None), strict=True))
        if "source_registry" not in kwargs:
            check_mudata(mdata)
            if labels_key is not None:
                check_classes(column_values(mdata, labels_key), labels_key)
            for key in filter(None, scores.values()):
                if not pd.api.types.is_numeric_dtype(values := column_values(mdata, key)):
                    raise TypeError(expected(f"numbers in column {key!r}", f"dtype {values.dtype}"))
        manager = coupled_manager(
            mdata,
            setup_method_args,
            modalities=modalities,
            layers=layers,
            use_rep=use_rep,
            correspondence_key=None,
            batch_key=batch_key,
            categorical_covariate_keys=categorical_covariate_keys,
            continuous_covariate_keys=continuous_covariate_keys,
            columns={"labels": labels_key, **scores},
            fewest=1,
            **kwargs,
        )
        cls.register_manager(manager)

    @classmethod
    def setup_anndata(cls, adata: AnnData, *args: Any, **kwargs: Any) -> NoReturn:
        """Not available: put the AnnData into a MuData, see :meth:`setup_mudata`.

        Examples
        --------
        >>> import couplevi as cvi
        >>> from mudata import MuData
        >>> adata = cvi.data.count_clusters(n_obs=100)["rna"]
        >>> cvi.model.JAE.setup_mudata(MuData({"rna": adata}), modalities=("rna",))
        """
        check_mudata(adata)
        raise TypeError(expected("`setup_mudata` for a MuData", "`setup_anndata`"))

    def __repr__(self) -> str:
        state = "trained" if self.is_trained_ else "not trained"
        sizes = [f"{m}: {len(self.var_names_[m])} features" for m in self.modalities_]
        return f"JAE model, {state}, {len(self.labels_)} labels, n_free: {self.settings_.n_free}, {', '.join(sizes)}"

    def _stand_in(self, modality: str) -> FloatArray | None:
        mean = self.module.observation(modality).preparation.mean.cpu().numpy()
        return np.zeros_like(mean) if self.counted_[modality] else mean  # of counts, the preparation takes them out

    def _column(self, role: str) -> str | None:
        return registered_column(self.registry_, role)

    def _labels_to_learn(self, mdata: MuData) -> list[str]:
        key = self._column("labels")
        if key is None:
            return []
        registered = self._registered(mdata)
        measured = np.unique(np.concatenate([registered.rows(m) for m in self.modalities_]))
        found = sorted(set(pd.Series(label_texts(column_values(mdata, key))[measured]).dropna()))
        if len(found) < 2:
            warn(f"Column {key!r} has {len(found)} labels, from which nothing can be told apart: it is not used.")
            return []
        return found

    def _moments_of_cycle(self, mdata: MuData) -> tuple[tuple[float, float], ...]:
        keys = [self._column(role) for role in CYCLE]
        if None in keys:
            return ()
        columns = [column_values(mdata, str(key)).to_numpy(dtype=np.float64, na_value=np.nan) for key in keys]
        columns = [values[np.isfinite(values)] for values in columns]
        if short := [key for key, values in zip(keys, columns, strict=True) if len(values) < 2]:
            raise ValueError(expected(f"scores of at least two cells in column {short[0]!r}", "fewer"))
        return tuple((float(values.mean()), float(values.std()) if np.ptp(values) else 1.0) for values in columns)

    def _build_module(self) -> JAEModule:
        s = self.settings_
        design = registered_readers(self.registry_, self.modalities_)[self.modalities_[0]].design
        n_batches, uniform = len(design.batches), s.batch == "uniform"
        n_trained = len(design.trained_batches)
        blocks = {
            "labels": len(self.labels_),
            "batch": n_trained if uniform and n_trained > 1 else 0,
            "cell_cycle": len(self.cycle_),
            "free": s.n_free,
        }
        return JAEModule(
            {m: (len(self.var_names_[m]), self.n_components_[m]) for m in self.modalities_},
            blocks,
            n_batches=n_batches,
            n_covariates=design.width - (n_batches if uniform else 0),
            widths=s.encoder_widths,
            dropout_rate=s.dropout_rate,
            input_dropout_rate=s.input_dropout_rate,
            modality_dropout_rate=s.modality_dropout_rate,
            weights={name: getattr(s, f"{name}_weight") for name in TERMS},
            label_smoothing=s.label_smoothing,
            guess_threshold=s.guess_threshold,
            balanced=s.embedding == "balanced",
        )

    @classmethod
    @fill_docs
    def load_query_data(
        cls,
        mdata: MuData,
        reference_model: JAE | str | os.PathLike[str],
        accelerator: str = "auto",
        device: int | str = "auto",
    ) -> Self:
        """A model for data that the reference was not trained on, such as another donor.

        Cells are placed, and their labels predicted, as by the reference. :meth:`train` fits what belongs to batches that
        were not known, and nothing else: how the decoder reads them, and what sets their cells apart from others with
        the same label. :meth:`finetune` adapts all of the model.

        Parameters
        ----------
        mdata
            MuData with one or more of the modalities of the reference and its covariates. Up to a fifth of the features
            of a modality may be missing; they have their mean in the reference, and are named in a warning.
        reference_model
            Trained model, which is not changed, or the folder that one was saved in.
        %(device)s

        Returns
        -------
        The model, which can be used as it is.

        Raises
        ------
        TypeError
            If `mdata` is not a MuData, or the reference is no JAE model.
        RuntimeError
            If the reference is not trained.
        KeyError
            If the data have none of its modalities, or lack a layer, representation or column.
        ValueError
            If more than a fifth of the features of a modality are missing, a cell has no value of a covariate, or this
            machine lacks the hardware.
        FileNotFoundError
            If there is no model in the folder.

        Examples
        --------
        >>> import couplevi as cvi
        >>> mdata = cvi.data.count_clusters(n_obs=200)
        >>> reference, query = mdata[:150].copy(), mdata[150:].copy()
        >>> quick = {"max_epochs": 2, "enable_progress_bar": False}
        >>> model = cvi.tl.jae(reference, modalities=("rna", "atac"), labels_key="cell_type", train_kwargs=quick)
        >>> mapped = cvi.model.JAE.load_query_data(query, model)
        >>> mapped.predict_labels().shape
        (50,)
        """
        return mapped_model(cls, mdata, reference_model, accelerator, device, mapped_weights)

    # training

    @fill_docs
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
            Passes through the data. None takes the settings': for ``"default"`` as many as make `n_steps` steps, and at
            least 20 up to 10,000 steps.
        %(hardware)s
        train_size
            Share of the cells that is trained on, in (0, 1].
        validation_size
            Share of the cells that is validated on; None takes all that are not trained on.
        shuffle_set_split
            Split at random.
        batch_size
            Largest number of cells per step; None takes the settings'.
        early_stopping
            Stop when the validation loss has not improved for `early_stopping_patience` (45) epochs, and return to the
            best weights. None: if there are validation cells. The authors validated on a tenth, with a patience of 5:
            ``preset="paper"`` and ``train_size=0.9``.
        %(checkpoint)s
        %(step_kwargs)s
        %(trainer_kwargs)s

        Raises
        ------
        ValueError
            If the model has no data, a number is out of range, early stopping lacks validation cells, this machine
            lacks the hardware, the checkpoint is that of another model, or a mapped model has nothing to fit.
        TypeError
            If an argument is of another kind, or unknown.
        FileNotFoundError
            If the folder of the checkpoint does not exist.
        RuntimeError
            If the loss or a weight is not finite from the first epoch on; the weights are then those from before. If
            that happens later, training stops with a warning and the best weights so far.

        Examples
        --------
        >>> import couplevi as cvi
        >>> mdata = cvi.data.count_clusters(n_obs=200)
        >>> cvi.model.JAE.setup_mudata(mdata, modalities=("rna", "atac"), labels_key="cell_type")
        >>> model = cvi.model.JAE(mdata)
        >>> model.train(max_epochs=2, train_size=0.9, enable_progress_bar=False)
        >>> len(model.train_indices), len(model.validation_indices), len(model.history["validation_loss"])
        (180, 20, 2)
        """
        settings = self.settings_
        check_arguments(
            self,
            {
                "max_epochs": max_epochs,
                "accelerator": accelerator,
                "devices": devices,
                "train_size": train_size,
                "validation_size": validation_size,
                "shuffle_set_split": shuffle_set_split,
                "batch_size": batch_size,
                "early_stopping": early_stopping,
                "checkpoint": checkpoint,
            },
            splitter=datasplitter_kwargs,
            splitter_takes=(),
            plan=plan_kwargs,
            plan_takes=(*PLAN_SETTINGS, "compile", "compile_kwargs"),
            trainer=trainer_kwargs,
        )
        weights, added, frozen = self.module.covariate_weights(), self._added(), None
        scheduled: dict[str, Any] = {name: getattr(settings, name) for name in PLAN_SETTINGS}
        if self.mapped_:
            check_added(added, design_of(self))
            frozen = frozen_in_mapping(self.module)
            scheduled["weight_decay"] = 0.0  # which would move weights that have no gradient
            scheduled["adapt_statistics"] = False  # so that what is fitted is fitted to the places of the reference
        if settings.guess_threshold == 1 or not self.labels_:
            scheduled["guess_start"] = 1.0
        with (
            only_added(self.module, weights, added) if self.mapped_ else nullcontext(),
            TrainingRun(self, frozen=frozen) as run,
        ):
            registered = self._registered().of_present() if self.mapped_ else self._registered()
            dataset, order = self._training_data(registered, fit=not self.is_trained_)
            length = Length.of(
                settings,
                len(dataset),
                max_epochs=max_epochs or epochs_of(settings, len(dataset), train_size, batch_size),
                batch_size=batch_size,
                train_size=train_size,
                validation_size=validation_size,
                early_stopping=early_stopping,
            )
            splitter = CoupledDataSplitter(
                dataset,
                train_size=train_size,
                validation_size=validation_size,
                batch_size=length.batch_size,
                shuffle_set_split=shuffle_set_split,
                distributed_sampler=use_distributed_sampler(trainer_kwargs.get("strategy")),
            )
            plan = JAETrainingPlan(self.module, **scheduled | (plan_kwargs or {}))
            best = length.best_weights()
            patience = {"early_stopping_patience": settings.patience} if settings.patience else {}
            run.fit(
                splitter,
                plan,
                max_epochs=length.max_epochs,
                accelerator=accelerator,
                devices=devices,
                checkpoint=checkpoint,
                callbacks=[*(trainer_kwargs.pop("callbacks", None) or []), best],
                **{"gradient_clip_val": settings.gradient_clip, **length.trainer_arguments()}
                | patience
                | trainer_kwargs,
            )
            best.check()
            if self.mapped_:
                fit_new_batches(self.module, dataset, design_of(self).added)
            else:
                fit_latent(self.module, dataset)
            for name in INDICES:
                setattr(self, name, cells_of_units(registered, dataset, order, getattr(self, name)))
        best.warn()

    @fill_docs
    def finetune(
        self,
        mdata: MuData | None = None,
        *,
        max_epochs: int = 2,
        lr: float = 2e-5,
        adapt_statistics: bool = True,
        batch_size: int | None = None,
        accelerator: str = "auto",
        devices: int | list[int] | str = "auto",
        **trainer_kwargs: Any,
    ) -> None:
        """Adapt the trained model to other data: all its weights, by their reconstruction alone, at a low rate.

        Cells that were placed before have to be placed again. What the blocks of the latent stand for, and how they are
        weighted, is kept.

        Parameters
        ----------
        mdata
            Data with the modalities of the model, of batches that it knows; for others call :meth:`load_query_data`
            first. None takes the data of the model.
        max_epochs
            Passes through the data.
        lr
            Learning rate.
        adapt_statistics
            Whether the statistics of batch normalisation follow the data, too.
        batch_size
            Largest number of cells per step; None takes the settings'.
        %(hardware)s
        %(trainer_kwargs)s

        Raises
        ------
        RuntimeError
            If the model is not trained, or the loss is not finite.
        ValueError
            If a number is out of range, a batch is unknown, or more than a fifth of the features are missing.
        TypeError
            If an argument is of another kind, or unknown.

        References
        ----------
        The submission of the JAE authors trained on for one or two epochs on the unlabelled cells.

        Examples
        --------
        >>> import couplevi as cvi
        >>> mdata = cvi.data.count_clusters(n_obs=200)
        >>> reference, query = mdata[:150].copy(), mdata[150:].copy()
        >>> quick = {"max_epochs": 2, "enable_progress_bar": False}
        >>> model = cvi.tl.jae(reference, modalities=("rna", "atac"), labels_key="cell_type", train_kwargs=quick)
        >>> before = model.get_reconstruction_error(query)
        >>> model.finetune(query, max_epochs=2, lr=1e-3, enable_progress_bar=False)
        >>> after = model.get_reconstruction_error(query)
        >>> {m: after[m] < before[m] for m in after}
        {'atac': True, 'rna': True}
        """
        self._check_if_trained(warn=False)
        given = {"max_epochs": max_epochs, "accelerator": accelerator, "devices": devices, "batch_size": batch_size}
        plan: dict[str, Any] = {"lr": lr, "adapt_statistics": adapt_statistics}
        check_arguments(
            self, given, splitter=None, splitter_takes=(), plan=plan, plan_takes=tuple(plan), trainer=trainer_kwargs
        )
        with TrainingRun(self) as run:
            registered = self._registered(mdata).of_present()
            dataset, _ = self._training_data(registered, fit=False)
            indices = {name: getattr(self, name) for name in INDICES}
            splitter = CoupledDataSplitter(dataset, batch_size=batch_size or self.settings_.batch_size)
            run.fit(
                splitter,
                JAETrainingPlan(self.module, **plan, told=False),
                max_epochs=max_epochs,
                accelerator=accelerator,
                devices=devices,
                **{"gradient_clip_val": self.settings_.gradient_clip, "limit_val_batches": 0} | trainer_kwargs,
            )
            for name, value in indices.items():
                setattr(self, name, value)
            if not all(p.isfinite().all() for p in self.module.parameters()):
                raise RuntimeError(expected("finite weights", "NaN or infinity", "Lower `lr`."))

    def _added(self) -> BoolArray:
        """Which of the columns of covariates that the decoder reads came with data that were mapped."""
        added = design_of(self).added
        return added[len(added) - self.module.n_covariates :]

    def _training_data(self, registered: Registered, *, fit: bool) -> tuple[CellDataset, dict[str, IntArray]]:
        """Cells with what is known of them, and the rows of their profiles."""
        return training_data(
            self.module, registered, self.counted_, self.n_components_ if fit else None, self._known(registered)
        )

    def _known(self, registered: Registered) -> tuple[IntArray, FloatArray]:
        """Position of the label of each cell, -1 for none, and its standardised scores, NaN for none."""
        mdata, key = check_mudata(registered.data), self._column("labels")
        label = np.full(mdata.n_obs, -1)
        if self.labels_ and key is not None and holders(mdata, key):
            label = pd.Index(self.labels_).get_indexer(pd.Index(label_texts(column_values(mdata, key)), dtype=object))
        scores = np.full((mdata.n_obs, len(self.cycle_)), np.nan, dtype=np.float32)
        for i, (role, (mean, sd)) in enumerate(zip(CYCLE, self.cycle_, strict=False)):
            column = str(self._column(role))
            if holders(mdata, column):
                scores[:, i] = (column_values(mdata, column).to_numpy(np.float64, na_value=np.nan) - mean) / sd
        return label, scores

    # inference

    @fill_docs
    def get_latent_representation(
        self,
        adata: AnnData | MuData | None = None,
        *,
        modality: str | None = None,
        blocks: Literal["all", "biology", "free"] = "all",
        indices: Sequence[int] | None = None,
        batch_size: int | None = None,
    ) -> FloatArray:
        """Place cells.

        Parameters
        ----------
        %(placed)s
        blocks
            ``"biology"``: probabilities of the labels, in the order of :attr:`labels_`, then the two scores of the cell
            cycle. ``"free"``: what else is needed to explain the cell, without what sets cells with a label apart from
            others in other batches. ``"all"``: both, and of ``preset="paper"`` the
            block of the batch behind the labels. Each of the two parts has a total variance of 1 over the cells that
            the model was trained on; of ``preset="paper"`` they are the latent as it is.
        indices
            Rows to place, of the modality or of ``mdata.obs``; None places all.
        %(chunk)s

        Returns
        -------
        Shape ``(n_obs, n_dimensions)``, in the order of ``obs_names`` of the data, or of the modality; float32. NaN for
        cells with none of the modalities.

        Raises
        ------
        RuntimeError
            If the model is not trained.
        KeyError
            If the modality, its layer or representation is missing.
        ValueError
            If more than a fifth of the features are missing, or an AnnData comes without `modality`.
        TypeError, IndexError
            If `indices` are not positions, or beyond the last one.

        Examples
        --------
        >>> import couplevi as cvi
        >>> mdata = cvi.data.count_clusters(n_obs=200)
        >>> quick = {"max_epochs": 2, "enable_progress_bar": False}
        >>> model = cvi.tl.jae(mdata, modalities=("rna", "atac"), labels_key="cell_type", train_kwargs=quick)
        >>> z = model.get_latent_representation(mdata["rna"][:10], modality="rna")
        >>> z.shape, model.get_latent_representation(blocks="biology").shape
        ((10, 25), (200, 5))
        """
        self._check_if_trained(warn=False)
        check_option(blocks, list(GROUPS), "blocks")
        z = self._of_cells(adata, modality, batch_size, self.module.place, covariates=True)
        columns = np.concatenate([np.arange(z.shape[1])[self.module.blocks[name]] for name in GROUPS[blocks]])
        z = z[:, columns]
        return z if indices is None else z[check_rows(indices, len(z), "cells")]

    @fill_docs
    def predict_labels(
        self,
        adata: AnnData | MuData | None = None,
        *,
        soft: bool = False,
        modality: str | None = None,
        unknown_below: float = 0.0,
        batch_size: int | None = None,
    ) -> pd.Series | pd.DataFrame:
        """Label of each cell, predicted, also of those whose label is known.

        Parameters
        ----------
        %(placed)s
        soft
            Whether to return the probability of each label.
        unknown_below
            Typicality, in [0, 1], below which a label is ``"unknown"``, see :meth:`get_typicality`.
        %(chunk)s

        Returns
        -------
        Categorical of strings, missing for cells with none of the modalities; or with `soft` probabilities, a row for
        each cell and a column for each of :attr:`labels_`, NaN where the former is missing.

        Raises
        ------
        RuntimeError
            If the model is not trained.
        ValueError
            If it was set up without labels, or `unknown_below` is out of range.

        Examples
        --------
        >>> import couplevi as cvi
        >>> mdata = cvi.data.count_clusters(n_obs=200)
        >>> quick = {"max_epochs": 2, "enable_progress_bar": False}
        >>> model = cvi.tl.jae(mdata, modalities=("rna", "atac"), labels_key="cell_type", train_kwargs=quick)
        >>> model.predict_labels(unknown_below=0.01).cat.categories.tolist()
        ['type0', 'type1', 'type2', 'type3', 'type4', 'unknown']
        >>> model.predict_labels(mdata["rna"][:10], modality="rna", soft=True).shape
        (10, 5)
        """
        self._check_labels()
        check_number(unknown_below, "unknown_below", 0, 1)
        names = self._names(adata, modality)
        p = pd.DataFrame(self._of_cells(adata, modality, batch_size, self._probabilities), names, self.labels_)
        if soft:
            return p
        best = np.where(p.isna().any(axis=1), -1, p.fillna(0).to_numpy().argmax(axis=1))
        if unknown_below:
            typicality = self.get_typicality(adata, modality=modality, batch_size=batch_size)
            best = np.where(typicality < unknown_below, len(self.labels_), best)
        categories = pd.Index([*self.labels_, UNKNOWN] if unknown_below else self.labels_)
        return pd.Series(pd.Categorical.from_codes(best.tolist(), categories), names, name="label")

    @fill_docs
    def get_typicality(
        self, adata: AnnData | MuData | None = None, *, modality: str | None = None, batch_size: int | None = None
    ) -> pd.Series:
        """How typical each cell is of the labels: near 0 for a type that none of them stands for.

        The Mahalanobis distance of the latent from the nearest label, with the covariance within labels, as the share of
        cells with a label that are further from their own: by the gamma distribution with the mean and variance of their
        squared distances. Cells of another batch are less typical than those that were learned from.

        Parameters
        ----------
        %(placed)s
        %(chunk)s

        Returns
        -------
        In [0, 1], NaN for cells with none of the modalities.

        Raises
        ------
        RuntimeError
            If the model is not trained.
        ValueError
            If it was set up without labels.

        References
        ----------
        Lee et al., A simple unified framework for detecting out-of-distribution samples and adversarial attacks,
        NeurIPS 2018.

        Examples
        --------
        >>> import couplevi as cvi
        >>> mdata = cvi.data.count_clusters(n_obs=200)
        >>> seen = mdata[mdata.obs["cell_type"] != "type0"].copy()
        >>> quick = {"max_epochs": 20, "enable_progress_bar": False}
        >>> model = cvi.tl.jae(seen, modalities=("rna", "atac"), labels_key="cell_type", seed=0, train_kwargs=quick)
        >>> typicality = model.get_typicality(mdata)
        >>> typicality.groupby(mdata.obs["cell_type"], observed=True).median().idxmin()
        'type0'
        """
        self._check_labels()
        distance2 = self._of_cells(adata, modality, batch_size, lambda z: self.module.distance2(z)[:, None])[:, 0]
        mean, variance = self.module.distance_moments.cpu().numpy().astype(np.float64)
        shares = stats.gamma.sf(distance2, mean**2 / variance, scale=variance / mean)
        return pd.Series(shares, self._names(adata, modality), name="typicality")

    def _check_labels(self) -> None:
        self._check_if_trained(warn=False)
        if not self.labels_:
            remedy = "Set the data up with `labels_key`."
            raise ValueError(expected("a model that was trained with two or more labels", "none", remedy))

    def _names(self, adata: AnnData | MuData | None, modality: str | None) -> pd.Index:
        """Names of the cells that are placed."""
        registered = self._registered(adata)
        return registered.obs_names if modality is None else registered.profiles(modality).obs_names

    def _probabilities(self, z: torch.Tensor) -> torch.Tensor:
        return self.module.block(z, "labels").softmax(dim=1)

    @fill_docs
    def get_reconstruction_error(
        self, adata: MuData | None = None, *, batch_size: int | None = None
    ) -> dict[str, float]:
        """Mean squared error of each modality, relative to the variances of its prepared features.

        Parameters
        ----------
        %(modelled)s
        %(chunk)s

        Returns
        -------
        For each modality a mean over cells and prepared features, at least 0.

        Raises
        ------
        RuntimeError
            If the model is not trained.

        Examples
        --------
        >>> import couplevi as cvi
        >>> mdata = cvi.data.count_clusters(n_obs=200)
        >>> quick = {"max_epochs": 2, "enable_progress_bar": False}
        >>> model = cvi.tl.jae(mdata, modalities=("rna", "atac"), labels_key="cell_type", train_kwargs=quick)
        >>> before = model.get_reconstruction_error()
        >>> model.train(max_epochs=10, enable_progress_bar=False)
        >>> {m: error < before[m] for m, error in model.get_reconstruction_error().items()}
        {'atac': True, 'rna': True}
        """
        self._check_if_trained(warn=False)
        registered = self._registered(adata).of_present()
        found: dict[str, list[np.ndarray]] = {m: [] for m in registered.present}
        with torch.inference_mode():
            for _, part in cells(
                self.module, registered, self.counted_, registered.present, batch_size, covariates=True
            ):
                errors = self.module.errors(part, self.module.decode(self.module.encode(part["h"]), part["covariates"]))
                for m, error in errors.items():
                    if m in found:
                        found[m].append(error[part["measured"][m]].cpu().numpy())
        return {m: float(np.concatenate(parts).mean()) for m, parts in found.items()}

    @torch.inference_mode()
    def _of_cells(
        self,
        adata: AnnData | MuData | None,
        modality: str | None,
        batch_size: int | None,
        function: Callable[..., torch.Tensor],
        *,
        covariates: bool = False,
    ) -> FloatArray:
        """A function of the latent of each cell, and of its covariates if they are asked for; NaN where there is none."""
        registered = self._registered(adata)
        if modality is None and not isinstance(registered.data, MuData) and len(self.modalities_) > 1:
            remedy = f"It is one of {self.modalities_}."
            raise ValueError(expected("`modality` to say what the AnnData holds", "None", remedy))
        if modality is not None:
            check_option(modality, self.modalities_, "modality")
            registered.profiles(modality)
        chosen = registered.present if modality is None else [modality]
        if not chosen:
            raise KeyError(expected(f"one or more of the modalities {self.modalities_}", list(registered.data.mod)))
        found: FloatArray | None = None
        for rows, part in cells(self.module, registered, self.counted_, chosen, batch_size, covariates=covariates):
            told = [part["covariates"]] if covariates else []
            values = function(self.module.encode(part["h"]), *told).cpu().numpy()
            if found is None:
                found = np.full((len(registered.obs_names), values.shape[1]), np.nan, dtype=np.float32)
            found[rows] = values
        if found is None:
            raise ValueError(expected("at least one cell", "none"))
        return found if modality is None else found[registered.rows(modality)]
