from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Self

import anndata as ad
import numpy as np
import pandas as pd
from mudata import MuData
from scvi.model._utils import use_distributed_sampler

from couplevi._docs import fill_docs
from couplevi._streamed import StreamedMatrix
from couplevi._validate import (
    SMALLEST,
    check_count,
    check_counts,
    check_different,
    check_mudata,
    check_number,
    check_option,
    check_rows,
    expected,
    listing,
    stored_values,
    warn,
    warn_counts,
)
from couplevi.dataloaders import CoupledDataSplitter
from couplevi.model._base import Model
from couplevi.model._dataset import CHUNK, FEW_ROWS, cells_of_units
from couplevi.model._fitted_links import FittedLinks
from couplevi.model._length import Length
from couplevi.model._mapping import check_added, design_of, mapped_model, only_added
from couplevi.model._store import imputation_store
from couplevi.model.jamie.counts import Dispersions, counted, fit_dispersions, start_counts
from couplevi.model.jamie.differential import compare_groups
from couplevi.model.jamie.inference import (
    PARTS,
    decoded,
    errors,
    imputed,
    latents_of_cells,
    latents_of_profiles,
    part_of_latents,
)
from couplevi.model.jamie.linear import fit_added, fit_linear_paths
from couplevi.model.jamie.mapping import frozen_in_mapping, mapped_weights, trained_in_mapping
from couplevi.model.jamie.module import TERMS, JAMIEModule
from couplevi.model.jamie.predictive import denoised, drawn
from couplevi.model.jamie.routes import make_route
from couplevi.model.jamie.settings import Settings, make_settings
from couplevi.model.jamie.training import CALIBRATION_END, fit_embedding, release_epoch, training_data
from couplevi.model.jamie.uncertainty import (
    FEWEST_PAIRS,
    MIN_CALIBRATION,
    Calibration,
    Uncertainty,
    n_calibration,
    weigh_pairs,
)
from couplevi.registry import coupled_manager, registered_readers
from couplevi.train import CoupledTrainingPlan, TrainingRun, check_arguments

if TYPE_CHECKING:
    import scipy.sparse as sp
    from anndata import AnnData

    from couplevi._types import BoolArray, FloatArray, IntArray, PresetName
    from couplevi.nn import Route
    from couplevi.registry import Keys

SPLITTER_SETTINGS = ("n_partners", "mixup_alpha")
PLAN_SETTINGS = ("lr", "weight_decay", "lr_schedule", "kl_warmup", "kl_schedule")


@fill_docs
class JAMIE(Model):
    """Joint variational autoencoders for cells measured in several modalities, or in some of them only.

    Each modality has an encoder and a decoder. The latents of linked profiles are averaged by confidence before they
    are decoded, and are drawn together, so that any profile can be placed in the common space and decoded into any
    modality.

    Parameters
    ----------
    mdata
        MuData set up with :meth:`setup_mudata`.
    %(jamie_preset)s
    %(registry)s
    **overrides
        Fields of :class:`~couplevi.model.Settings` that replace those of the preset, such as `n_latent` (32), `n_pcs`
        (50) and `likelihoods` (Gaussian; ``{"rna": "nb"}`` explains raw counts of that modality as such).

    Raises
    ------
    ValueError
        If the data are not set up, or a setting is out of range; for one, `n_pcs` above what a modality allows (a
        preset's value is lowered instead). If a modality whose likelihood is one of counts holds others.
    TypeError
        If `mdata` is not a MuData, or for an unknown setting.

    References
    ----------
    Cohen Kalafut, Huang and Wang, Joint variational autoencoders for multimodal imputation and embedding,
    Nature Machine Intelligence 2023.

    Examples
    --------
    >>> import couplevi as cvi
    >>> mdata = cvi.data.branching_manifold(n_obs=100, paired=0.5)
    >>> cvi.model.JAMIE.setup_mudata(mdata, modalities=("rna", "ephys"), layers={"rna": "log1p"})
    >>> model = cvi.model.JAMIE(mdata, n_latent=8)
    >>> model.train(max_epochs=2, enable_progress_bar=False)
    >>> model.get_latent_representation().shape
    (100, 8)
    >>> model.impute(source="rna", target="ephys").shape
    (75, 40)
    """

    saved = (*Model.saved, "fitted_links_", "mapped_")
    settings_class = Settings
    module: JAMIEModule
    settings_: Settings

    def __init__(
        self,
        mdata: MuData | None = None,
        preset: PresetName | Settings = "default",
        *,
        registry: dict[str, Any] | None = None,
        **overrides: Any,
    ) -> None:
        settings = make_settings(preset, overrides)
        if registry is None and self._get_most_recent_anndata_manager(check_mudata(mdata)) is None:
            remedy = "Call `JAMIE.setup_mudata(mdata, modalities=..., layers=...)` first."
            raise ValueError(expected("a MuData that is set up", "one that is not", remedy))
        super().__init__(mdata, registry, settings, strict="n_pcs" in overrides)
        for m in settings.likelihoods:
            check_option(m, self.modalities_, "likelihoods")
        if mdata is not None:
            self._check_kinds(mdata)
        self.fitted_links_: dict[str, IntArray] = {}
        self.mapped_ = False
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
        correspondence_key: Keys = None,
        match_key: Keys = None,
        batch_key: str | None = None,
        categorical_covariate_keys: Sequence[str] | None = None,
        continuous_covariate_keys: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Register modalities and their links. Only scvi-tools' two identifiers are written, to ``mdata.uns``.

        Parameters
        ----------
        mdata
            MuData whose rows of the same name are the same cell; cells may lack modalities.
        %(coupled_values)s
        %(correspondence_key)s
        %(match_key)s
        batch_key
            Column of ``mdata.obs``, or of the ``obs`` of the modalities, with the batch of each cell: a donor, a plate,
            a run. Latents are learned to hold less of it: profiles are contrasted and mixed within their batch, and
            networks read which it is. A batch may lack modalities. What shifts most features of a batch by as much as
            types differ is better taken out before, as by :func:`scanpy.pp.combat`.
        %(covariates)s
        %(setup_kwargs)s

        Raises
        ------
        TypeError
            If `mdata` is not a MuData, or a continuous covariate holds no numbers.
        KeyError
            If a modality, layer, representation, matrix or column is missing.
        ValueError
            If names are not unique, values are not finite, a cell has no value of a covariate, or links are not as
            described in :func:`couplevi.pp.link`.

        Examples
        --------
        >>> import couplevi as cvi
        >>> mdata = cvi.data.branching_manifold(n_obs=100)
        >>> cvi.model.JAMIE.setup_mudata(mdata, modalities=("rna", "ephys"), layers={"rna": "log1p"})
        """
        setup_method_args = cls._get_setup_method_args(**locals())
        manager = coupled_manager(
            mdata,
            setup_method_args,
            modalities=modalities,
            layers=layers,
            use_rep=use_rep,
            correspondence_key=correspondence_key,
            match_key=match_key,
            batch_key=batch_key,
            categorical_covariate_keys=categorical_covariate_keys,
            continuous_covariate_keys=continuous_covariate_keys,
            **kwargs,
        )
        cls.register_manager(manager)

    @classmethod
    def setup_anndata(cls, adata: AnnData, *args: Any, **kwargs: Any) -> NoReturn:
        """Not available: the model needs two modalities, see :meth:`setup_mudata`.

        Examples
        --------
        >>> import couplevi as cvi
        >>> mdata = cvi.data.branching_manifold(n_obs=100)
        >>> cvi.model.JAMIE.setup_anndata(mdata["rna"])
        Traceback (most recent call last):
            ...
        TypeError: Expected a MuData, found ...AnnData. Put each modality into its own AnnData and join them: ...
        """
        check_mudata(adata)
        raise TypeError(expected("`setup_mudata` for a MuData", "`setup_anndata`"))

    def __repr__(self) -> str:
        sizes = [
            f"{m}: {len(self.var_names_[m])} features" + (f" in {n} PCs" if (n := self.n_components_[m]) else "")
            for m in self.modalities_
        ]
        state = "trained" if self.is_trained_ else "not trained"
        return f"JAMIE model, {state}, n_latent: {self.settings_.n_latent}, {', '.join(sizes)}"

    def _check_kinds(self, mdata: MuData) -> None:
        """Raise ValueError if counts are to be explained that are none; warn of counts that are not explained as such."""
        for m in self.modalities_:
            reader = self.reader(m)
            matrix = reader.read(mdata)
            if self.settings_.likelihood_of(m) != "gaussian":
                check_counts(matrix[:FEW_ROWS] if isinstance(matrix, StreamedMatrix) else matrix, reader.where)
            elif not isinstance(matrix, StreamedMatrix):
                remedy = (
                    f"Name a layer of logarithmic values: `layers={{{m!r}: ...}}`; or explain them as counts: "
                    f"`likelihoods={{{m!r}: 'nb'}}`."
                )
                warn_counts(stored_values(matrix), reader.where, remedy)

    def _stand_in(self, modality: str) -> FloatArray | None:
        observation = self.module.observation(modality)
        return None if observation.is_count else observation.preparation.mean.cpu().numpy()

    def _build_module(self) -> JAMIEModule:
        s = self.settings_
        sizes = {m: (len(self.var_names_[m]), self.n_components_[m]) for m in self.modalities_}
        design = registered_readers(self.registry_, self.modalities_)[self.modalities_[0]].design
        return JAMIEModule(
            {m: (*sizes[m], s.likelihood_of(m)) for m in sizes},
            s.n_latent,
            n_private=s.n_private,
            n_batches=len(design.batches),
            n_covariates=design.width,
            private_dropout_rate=s.private_dropout_rate,
            widths={m: s.widths(n_components or n_vars) for m, (n_vars, n_components) in sizes.items()},
            weights={name: getattr(s, f"{name}_weight") for name in TERMS},
            input_dropout_rate=s.input_dropout_rate,
            hidden={name: getattr(s, name) for name in ("normalization", "activation", "dropout_rate")},
            unknown_negative_weight=s.unknown_negative_weight,
            normalize_block=s.normalize_block,
            match_weight=s.match_weight,
        )

    @classmethod
    @fill_docs
    def load_query_data(
        cls,
        mdata: MuData,
        reference_model: JAMIE | str | os.PathLike[str],
        accelerator: str = "auto",
        device: int | str = "auto",
    ) -> Self:
        """A model for data that the reference was not trained on, such as another donor.

        Batches, and other categories of covariates, that the reference does not know are added to it; at first networks
        read them like the mean of those that it knows. :meth:`train` then fits what belongs to them, and nothing else:
        latents and imputations of the reference's own cells stay as they are.

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
            If `mdata` is not a MuData, or the reference is no JAMIE model.
        RuntimeError
            If the reference is not trained.
        KeyError
            If the data have none of its modalities, or lack a layer, representation or column.
        ValueError
            If more than a fifth of the features of a modality are missing, a cell has no value of a covariate, or this
            machine lacks the hardware.
        FileNotFoundError
            If there is no model in the folder.

        References
        ----------
        Lotfollahi et al., Mapping single-cell data to reference atlases by transfer learning, Nature Biotechnology
        2022.

        Examples
        --------
        >>> import couplevi as cvi
        >>> mdata = cvi.data.branching_manifold(n_obs=200)
        >>> mdata.obs["donor"] = ["a"] * 150 + ["b"] * 50
        >>> reference, query = mdata[:150].copy(), mdata[150:].copy()
        >>> quick = {"max_epochs": 2, "enable_progress_bar": False}
        >>> model = cvi.tl.jamie(reference, modalities=("rna", "ephys"), batch_key="donor", train_kwargs=quick)
        >>> mapped = cvi.model.JAMIE.load_query_data(query, model)
        >>> mapped.train(**quick)
        >>> mapped.get_latent_representation(modality="rna").shape
        (50, 32)
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
            Passes through the data. None takes the settings': as many as make `n_steps` steps. Without these, as in
            the preset ``"default"``, 10 passes, but at least 1,600 and at most 10,000 steps.
        %(hardware)s
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
        %(checkpoint)s
        %(step_kwargs)s
        %(trainer_kwargs)s

        Raises
        ------
        ValueError
            If the model has no data, a number is out of range, early stopping lacks validation units, this machine
            lacks the hardware, or the checkpoint is that of another model.
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
        >>> mdata = cvi.data.branching_manifold(n_obs=100)
        >>> cvi.model.JAMIE.setup_mudata(mdata, modalities=("rna", "ephys"), layers={"rna": "log1p"})
        >>> model = cvi.model.JAMIE(mdata, n_latent=8)
        >>> model.train(max_epochs=2, train_size=0.8, enable_progress_bar=False)
        >>> len(model.train_indices), len(model.validation_indices), len(model.history["validation_loss"])
        (80, 20, 2)
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
            splitter_takes=SPLITTER_SETTINGS,
            plan=plan_kwargs,
            plan_takes=(*PLAN_SETTINGS, "compile", "compile_kwargs"),
            trainer=trainer_kwargs,
        )
        design, frozen = design_of(self), None
        if self.mapped_:
            check_added(design.added, design)
            frozen = frozen_in_mapping(self.module)
        with (
            only_added(self.module, trained_in_mapping(self.module), design.added) if self.mapped_ else nullcontext(),
            TrainingRun(self, frozen=frozen) as run,
        ):
            registered = self._registered().of_present() if self.mapped_ else self._registered()
            to_fit = None if self.is_trained_ else self.n_components_
            dataset, order = training_data(self.module, registered, to_fit, settings, train_size)
            length = Length.of(
                settings,
                len(dataset),
                warmup=settings.kl_warmup,
                validated_warmup=CALIBRATION_END,
                max_epochs=max_epochs,
                batch_size=batch_size,
                train_size=train_size,
                validation_size=validation_size,
                early_stopping=early_stopping,
            )
            first = not self.is_trained_ or (self.mapped_ and not self.history_)  # later ones have seen all pairs
            share = settings.calibration_size if first else 0.0
            release = release_epoch(length.max_epochs)
            fewest = MIN_CALIBRATION if self.mapped_ else FEWEST_PAIRS
            splitter = CoupledDataSplitter(
                dataset,
                train_size=train_size,
                validation_size=validation_size,
                batch_size=length.batch_size,
                shuffle_set_split=shuffle_set_split,
                n_calibration=n_calibration(dataset, share, release, fewest),
                release_epoch=release,
                distributed_sampler=use_distributed_sampler(trainer_kwargs.get("strategy")),
                **{name: getattr(settings, name) for name in SPLITTER_SETTINGS} | (datasplitter_kwargs or {}),
            )
            scheduled = {name: getattr(settings, name) for name in PLAN_SETTINGS}
            if self.mapped_:
                scheduled["weight_decay"] = 0.0  # which would move weights that have no gradient
                if (plan_kwargs or {}).get("weight_decay"):
                    remedy = "Leave it out: it would move the reference."
                    raise ValueError(expected("no `weight_decay` for a mapped model", plan_kwargs, remedy))
            plan = CoupledTrainingPlan(self.module, **scheduled | (plan_kwargs or {}))
            best = length.best_weights()
            uncertainty = Uncertainty(self.module)
            measure = uncertainty.measure_batches if self.mapped_ else uncertainty.measure
            weigh = None if self.mapped_ else partial(weigh_pairs, self.module, dataset)
            calibration = Calibration(partial(measure, registered, dataset, order), weigh)
            callbacks = [*(trainer_kwargs.pop("callbacks", None) or []), best, calibration]
            if not self.mapped_ and any(counted(self.module)):
                if to_fit is not None:
                    start_counts(self.module, dataset, splitter.train_idx)
                callbacks.append(Dispersions(self.module, dataset))
            run.fit(
                splitter,
                plan,
                max_epochs=length.max_epochs,
                accelerator=accelerator,
                devices=devices,
                checkpoint=checkpoint,
                callbacks=callbacks,
                **{"gradient_clip_val": settings.gradient_clip, **length.trainer_arguments(), **trainer_kwargs},
            )
            best.check()
            if self.mapped_:
                fit_added(self.module, dataset, design.added)
            else:
                fit_dispersions(self.module, dataset, self.train_indices)
                fit_linear_paths(self.module, dataset, self.train_indices)
                fit_embedding(self.module, dataset)
            seen = FittedLinks.within(registered, dataset, order, self.train_indices)
            self.fitted_links_ = dict(FittedLinks(self.fitted_links_).together(seen).ends)
            for name in ("train_indices", "validation_indices", "test_indices"):
                setattr(self, name, cells_of_units(registered, dataset, order, getattr(self, name)))
        best.warn()

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
            If the model has no data, these lack a modality, or a modality is not one of the model's.

        Examples
        --------
        >>> import couplevi as cvi
        >>> mdata = cvi.data.branching_manifold(n_obs=100, paired=0.5)
        >>> quick = {"max_epochs": 2, "enable_progress_bar": False}
        >>> model = cvi.tl.jamie(mdata, modalities=("rna", "ephys"), train_kwargs=quick)
        >>> links = model.fitted_links("rna", "ephys")
        >>> links.shape, links.nnz
        ((75, 75), 50)
        """
        fitted, registered = self._fitted(a, b), self._registered()
        if absent := [m for m in (a, b) if m not in registered.present]:
            remedy = "Load the reference with its own data: links are those that it was trained on."
            raise ValueError(
                expected(f"data of the model with modalities {a!r} and {b!r}", f"no {absent[0]!r}", remedy)
            )
        return fitted.of(registered, a, b)

    def is_fitted(self, obs_names: pd.Index, a: str, b: str) -> BoolArray:
        """Whether a cell's own profiles in two modalities were linked in training, shape ``(n_cells,)``.

        Parameters
        ----------
        obs_names
            Names of cells, of the training data or not.
        a, b
            Two modalities of the model.

        Examples
        --------
        >>> import couplevi as cvi
        >>> mdata = cvi.data.branching_manifold(n_obs=100, paired=0.5)
        >>> quick = {"max_epochs": 2, "enable_progress_bar": False}
        >>> model = cvi.tl.jamie(mdata, modalities=("rna", "ephys"), train_kwargs=quick)
        >>> fitted = model.is_fitted(mdata.obs_names, "rna", "ephys")
        >>> fitted.shape, int(fitted.sum())
        ((100,), 50)
        """
        return self._fitted(a, b).hold(obs_names, a, b)

    def _fitted(self, a: str, b: str) -> FittedLinks:
        self._check_if_trained(warn=False)
        for m in (a, b):
            check_option(m, self.modalities_, "modality")
        return FittedLinks(self.fitted_links_)

    # inference

    @fill_docs
    def get_latent_representation(
        self,
        adata: AnnData | MuData | None = None,
        *,
        modality: str | None = None,
        part: Literal["shared", "private", "joint"] = "shared",
        indices: Sequence[int] | None = None,
        give_mean: bool = True,
        batch_size: int | None = None,
    ) -> FloatArray:
        """Place profiles, or cells, in the common space.

        Parameters
        ----------
        adata
            New data: a MuData, or an AnnData of the `modality` alone, with the features of the training data by name.
            None takes the data of the model.
        modality
            Modality whose profiles are placed, each by itself. None places the cells of a MuData: the mean over the
            modalities measured in a cell, weighted by the learned weight of each, of latents averaged over all links.
        part
            ``"shared"``: what modalities have in common, in which their profiles can be compared. ``"private"``: what
            only the modality itself knows; of a cell those of all modalities, in alphabetical order, that of a modality
            which was not measured being what is expected given the shared part. ``"joint"``: both, the private
            part times 0.6.
        indices
            Rows to place, of the modality or of ``mdata.obs``; None places all.
        give_mean
            Mean of the posterior; False draws a sample from it.
        %(chunk)s

        Returns
        -------
        Shape ``(n_profiles, n_latent)`` in the order of the modality's ``obs_names``, or ``(n_obs, n_latent)`` in
        that of ``mdata.obs_names``; float32. A private part has `n_private` columns, that of cells so many for each
        modality.

        Raises
        ------
        RuntimeError
            If the model is not trained.
        KeyError
            If the modality, its layer or representation is missing.
        ValueError
            If more than a fifth of the features are missing, or neither data nor modality determine what to place.
        TypeError, IndexError
            If `indices` are not positions, or beyond the last one.

        Examples
        --------
        >>> import couplevi as cvi
        >>> mdata = cvi.data.branching_manifold(n_obs=100)
        >>> quick = {"max_epochs": 2, "enable_progress_bar": False}
        >>> model = cvi.tl.jamie(mdata, modalities=("rna", "ephys"), train_kwargs=quick)
        >>> model.get_latent_representation(mdata["rna"][:10], modality="rna").shape
        (10, 32)
        """
        self._check_if_trained(warn=False)
        check_option(part, list(PARTS), "part")
        registered = self._registered(adata)
        if modality is None:
            if not isinstance(registered.data, MuData):
                remedy = f"It is one of {self.modalities_}."
                raise ValueError(expected("`modality` to say what the AnnData holds", "None", remedy))
            z = latents_of_cells(self.module, registered, part, give_mean, batch_size)
            return z if indices is None else z[check_rows(indices, len(z), "cells")]
        check_option(modality, self.modalities_, "modality")
        reader, profiles = registered.readers[modality], registered.profiles(modality)
        covariates = registered.covariates(modality)
        if indices is not None:
            rows = check_rows(indices, profiles.n_obs, f"cells of {modality!r}")
            profiles, covariates = profiles[rows], covariates[rows]
        latents = latents_of_profiles(self.module, reader, profiles, covariates, give_mean, batch_size)
        return part_of_latents(self.module, latents, {modality: self.module.private(latents)}, part)

    @fill_docs
    def impute(
        self,
        *,
        source: str,
        target: str,
        adata: AnnData | MuData | None = None,
        return_sd: bool = False,
        transform_batch: str | Sequence[str] | None = None,
        library_size: float | None = None,
        batch_size: int | None = None,
    ) -> AnnData:
        """Predict one modality from another: the target's decoder, applied to the mean latent of the source.

        A linear path, ridge regression of the prepared features fitted to the links, has a share in it: a third of that
        with the smallest error on the pairs that were held back in the first half of training, without any 0.

        Parameters
        ----------
        %(imputation)s
        %(chunk)s

        Returns
        -------
        AnnData of all cells of the source (with their ``obs``) by the features of the target, ``X`` in the units of
        the target's registered values, float32; with `return_sd` also ``layers["sd"]``, at least 0, in the same
        units.

        Raises
        ------
        RuntimeError
            If the model is not trained, or `return_sd` is asked of one that could not hold back enough pairs.
        KeyError
            If a modality, its layer or representation is missing.
        ValueError
            If source and target are the same, more than a fifth of the features are missing, a batch is unknown, or
            `library_size` is not above 0 or given for a target that has none.

        Examples
        --------
        >>> import couplevi as cvi
        >>> mdata = cvi.data.branching_manifold(n_obs=100)
        >>> quick = {"max_epochs": 2, "enable_progress_bar": False}
        >>> model = cvi.tl.jamie(mdata, modalities=("rna", "ephys"), train_kwargs=quick)
        >>> imputed = model.impute(source="rna", target="ephys", adata=mdata["rna"][:10], return_sd=True)
        >>> imputed.shape, imputed.layers["sd"].shape
        ((10, 40), (10, 40))
        """
        parts, profiles = self._imputable(source, target, adata, return_sd, transform_batch, library_size, batch_size)
        values = np.empty((profiles.n_obs, len(self.var_names_[target])), dtype=np.float32)
        layers = {"sd": np.empty_like(values)} if return_sd else {}
        for rows, mean, sd in parts:
            values[rows] = mean
            if sd is not None:
                layers["sd"][rows] = sd
        var = pd.DataFrame(index=pd.Index(self.var_names_[target]))
        return ad.AnnData(values, obs=profiles.obs.copy(), var=var, layers=layers)

    @fill_docs
    def impute_to_store(
        self,
        path: str | os.PathLike[str],
        *,
        source: str,
        target: str,
        adata: AnnData | MuData | None = None,
        return_sd: bool = False,
        transform_batch: str | Sequence[str] | None = None,
        library_size: float | None = None,
        batch_size: int | None = None,
    ) -> None:
        """Like :meth:`impute`, into a zarr store chunk by chunk, for more values than fit into memory.

        Parameters
        ----------
        path
            Folder of the store, which must not exist; ``anndata.read_zarr(path)`` reads it. It appears when it is
            complete.
        %(imputation)s
        batch_size
            Cells predicted at a time, and held by a chunk of the store; None is 4,096.

        Raises
        ------
        FileExistsError
            If there is something at `path`.
        KeyError, RuntimeError, ValueError
            As :meth:`impute`.

        Examples
        --------
        >>> import tempfile
        >>> import anndata
        >>> import couplevi as cvi
        >>> mdata = cvi.data.branching_manifold(n_obs=100)
        >>> quick = {"max_epochs": 2, "enable_progress_bar": False}
        >>> model = cvi.tl.jamie(mdata, modalities=("rna", "ephys"), train_kwargs=quick)
        >>> path = tempfile.mkdtemp() + "/ephys.zarr"
        >>> model.impute_to_store(path, source="rna", target="ephys")
        >>> anndata.read_zarr(path).shape
        (100, 40)
        """
        parts, profiles = self._imputable(source, target, adata, return_sd, transform_batch, library_size, batch_size)
        var = pd.DataFrame(index=pd.Index(self.var_names_[target]))
        with imputation_store(Path(path), profiles.obs, var, batch_size or CHUNK, return_sd) as (values, deviations):
            for rows, mean, sd in parts:
                values[rows] = mean
                if sd is not None:
                    deviations[rows] = sd

    def _imputable(
        self,
        source: str,
        target: str,
        adata: AnnData | MuData | None,
        return_sd: bool,
        transform_batch: str | Sequence[str] | None,
        library_size: float | None,
        batch_size: int | None,
    ) -> tuple[Iterator[tuple[slice, FloatArray, FloatArray | None]], AnnData]:
        """What is imputed, part by part, with standard deviations if they are asked for; and the profiles it is for."""
        self._check_if_trained(warn=False)
        registered = self._registered(adata)
        self._check_direction(source, target)
        profiles = registered.profiles(source)
        if return_sd:
            self._check_calibrated(source, target)
        if library_size is not None:
            self._check_has_library(target)
            check_number(library_size, "library_size", SMALLEST)
        reader, uncertainty = registered.readers[source], Uncertainty(self.module) if return_sd else None
        batches = reader.design.batch_columns(transform_batch, target)
        covariates = registered.covariates(source)
        if uncertainty is not None:
            few = uncertainty.uncalibrated(source, target, covariates)
            if names := [reader.design.batches[b] for b in few if not reader.design.is_paired(b, source, target)]:
                warn(
                    f"Standard deviations of cells of batches {listing(names)} are those of other batches, as the model "
                    f"has not seen {MIN_CALIBRATION} of their own pairs of {source!r} and {target!r} to measure them."
                )
        what = (covariates, target, batches, library_size, uncertainty, batch_size)
        return imputed(self.module, reader, profiles, *what), profiles

    def _check_direction(self, source: str, target: str) -> None:
        """Raise ValueError unless both are modalities of the model, and not the same."""
        check_option(source, self.modalities_, "source")
        check_option(target, self.modalities_, "target")
        check_different(source, target)

    def _check_has_library(self, modality: str) -> None:
        """Raise ValueError unless counts of a modality are explained that have a library size."""
        likelihood = self.settings_.likelihood_of(modality)
        if likelihood in ("gaussian", "bernoulli"):
            remedy = f"Only counts have a library size: train with `likelihoods={{{modality!r}: 'nb'}}`."
            raise ValueError(expected(f"counts of {modality!r} to be explained", f"likelihood {likelihood!r}", remedy))

    def _check_calibrated(self, source: str, target: str) -> None:
        if not self.has_sd(source, target):
            remedy = "It takes 80 pairs, 2 epochs and `calibration_size` above 0. Do without them, or train again."
            raise RuntimeError(expected("a model with calibrated standard deviations", "one without", remedy))

    @fill_docs
    def get_normalized_expression(
        self,
        adata: AnnData | MuData | None = None,
        *,
        modality: str,
        indices: Sequence[int] | None = None,
        transform_batch: str | Sequence[str] | None = None,
        library_size: float | Literal["latent"] = 1,
        n_samples: int = 1,
        return_mean: bool = True,
        return_numpy: bool = False,
        batch_size: int | None = None,
    ) -> pd.DataFrame | FloatArray:
        """Denoised expression of a modality whose counts are explained, as in scvi-tools: rates given its own profile.

        Parameters
        ----------
        adata
            New data: a MuData, or an AnnData of the `modality` alone. None takes the data of the model.
        modality
            Modality with the likelihood ``"nb"``, ``"zinb"`` or ``"poisson"``.
        indices
            Rows of the modality; None takes all.
        transform_batch
            Batch, or batches to average over, as if measured in it. None takes that of each cell.
        library_size
            What rates of a cell sum to: 1 gives shares, 1e4 rates per 10,000, and ``"latent"`` the measured library
            size, and so expected counts.
        n_samples
            Samples of the posterior; 1 takes its mean.
        return_mean
            Mean over samples; False returns all of them, as an array.
        return_numpy
            Return an array in place of a data frame.
        %(chunk)s

        Returns
        -------
        Rates, at least 0: a data frame of cells by features, or an array; of more samples that are not averaged shape
        ``(n_samples, n_cells, n_vars)``.

        Raises
        ------
        RuntimeError
            If the model is not trained.
        ValueError
            If the modality is none whose counts are explained, a number is out of range, or a batch unknown.
        TypeError, IndexError
            If `indices` are not positions, or beyond the last one.

        References
        ----------
        Lopez, Regier, Cole, Jordan and Yosef, Deep generative modeling for single-cell transcriptomics, Nature Methods
        2018.

        Examples
        --------
        >>> import couplevi as cvi
        >>> mdata = cvi.data.count_clusters(n_obs=200)
        >>> cvi.model.JAMIE.setup_mudata(mdata, modalities=("rna", "atac"))
        >>> model = cvi.model.JAMIE(mdata, likelihoods={"rna": "nb", "atac": "poisson"})
        >>> model.train(max_epochs=2, enable_progress_bar=False)
        >>> model.get_normalized_expression(modality="rna").sum(axis=1).round(3).unique()
        array([1.], dtype=float32)
        """
        self._check_if_trained(warn=False)
        check_option(modality, self.modalities_, "modality")
        self._check_has_library(modality)
        check_count(n_samples, "n_samples")
        if library_size != "latent":
            check_number(library_size, "library_size", SMALLEST)
        registered = self._registered(adata)
        reader, profiles = registered.readers[modality], registered.profiles(modality)
        covariates = registered.covariates(modality)
        if indices is not None:
            rows = check_rows(indices, profiles.n_obs, f"cells of {modality!r}")
            profiles, covariates = profiles[rows], covariates[rows]
        batches = [] if transform_batch is None else reader.design.batch_columns(transform_batch, modality)
        averaged = return_mean or n_samples == 1
        shape = profiles.n_obs, len(self.var_names_[modality])
        values = np.empty(shape if averaged else (n_samples, *shape), dtype=np.float32)
        how = (batches, library_size, n_samples, batch_size)
        for part, rates in denoised(self.module, reader, profiles, covariates, *how):
            values[..., part, :] = rates.mean(axis=0) if averaged else rates
        if return_numpy or not averaged:
            return values
        return pd.DataFrame(values, index=profiles.obs_names, columns=pd.Index(self.var_names_[modality]))

    @fill_docs
    def posterior_predictive_sample(
        self,
        adata: AnnData | MuData | None = None,
        *,
        source: str,
        target: str,
        n_samples: int = 1,
        transform_batch: str | Sequence[str] | None = None,
        batch_size: int | None = None,
    ) -> FloatArray:
        """Draw counts that would be measured of a target, given the source.

        Their quantiles are intervals: those between the 5 % and 95 % quantile hold about 90 % of the measured counts of
        cells never seen. Draws follow :func:`torch.manual_seed`.

        Parameters
        ----------
        adata
            New data: a MuData with the source, or an AnnData of the source alone. None takes the model's data.
        source, target
            Modality that was measured, and the one to draw.
        transform_batch
            Batch, or batches, in which the target is drawn as if measured; each draw is of one of them. None takes all
            in which it was measured in training.
        n_samples
            Number of draws of each count.
        %(chunk)s

        Returns
        -------
        Shape ``(n_cells, n_vars, n_samples)``, float32: all cells of the source by the features of the target.

        Raises
        ------
        RuntimeError
            If the model is not trained, or could not hold back enough pairs.
        KeyError
            If a modality, its layer or representation is missing.
        ValueError
            As :meth:`impute`; or if counts of the target are not explained.

        Examples
        --------
        >>> import couplevi as cvi
        >>> mdata = cvi.data.count_clusters(n_obs=200)
        >>> cvi.model.JAMIE.setup_mudata(mdata, modalities=("rna", "atac"))
        >>> model = cvi.model.JAMIE(mdata, likelihoods={"rna": "nb", "atac": "poisson"})
        >>> model.train(max_epochs=2, enable_progress_bar=False)
        >>> model.posterior_predictive_sample(source="rna", target="atac", n_samples=3).shape[2]
        3
        """
        self._check_predictive(source, target)
        check_count(n_samples, "n_samples")
        registered = self._registered(adata)
        reader, profiles = registered.readers[source], registered.profiles(source)
        batches = reader.design.batch_columns(transform_batch, target)
        values = np.empty((profiles.n_obs, len(self.var_names_[target]), n_samples), dtype=np.float32)
        how = (target, batches, n_samples, batch_size)
        for rows, part in drawn(self.module, reader, profiles, registered.covariates(source), *how):
            values[rows] = part
        return values

    def _check_predictive(self, source: str, target: str) -> None:
        """Raise unless counts of the target are explained, and how they vary given the source was measured."""
        self._check_if_trained(warn=False)
        self._check_direction(source, target)
        if self.settings_.likelihood_of(target) == "gaussian":
            remedy = "Of other values `impute(..., return_sd=True)` tells how far they are off."
            raise ValueError(expected(f"counts of {target!r} to be explained", "likelihood 'gaussian'", remedy))
        self._check_calibrated(source, target)

    @fill_docs
    def differential_expression(
        self,
        adata: AnnData | MuData | None = None,
        *,
        modality: str,
        source: str | None = None,
        groupby: str | None = None,
        group1: Sequence[str] | str | None = None,
        group2: str | None = None,
        idx1: Sequence[int] | Sequence[bool] | str | None = None,
        idx2: Sequence[int] | Sequence[bool] | str | None = None,
        mode: Literal["vanilla", "change"] = "change",
        delta: float | None = 0.2,
        batch_size: int | None = None,
        all_stats: bool = True,
        batch_correction: bool = False,
        batchid1: Sequence[str] | None = None,
        batchid2: Sequence[str] | None = None,
        fdr_target: float = 0.05,
        silent: bool = False,
        pseudocounts: float = 1e-5,
        **kwargs: Any,
    ) -> pd.DataFrame:
        """Which features of a modality differ between groups of cells, in what is denoised or imputed.

        Arguments and columns are those of scvi-tools. What is compared are means of groups, of shares of the library of
        counts, of probabilities (likelihood ``"bernoulli"``), or of features as they are (``"gaussian"``): the means of
        what is decoded from the posteriors of the cells' latents, as uncertain as means of as many measured values.

        Parameters
        ----------
        adata
            New data: a MuData, or an AnnData of the modality that is read alone. None takes the data of the model.
        modality
            Modality whose features are compared.
        source
            Modality that they are imputed from. None denoises what was measured.
        groupby
            Column of ``mdata.obs``, or of the ``obs`` of the modality that is read; cells without a value take no part.
        group1, group2
            Groups to compare, each of the former to the latter. None takes all, and compares each to the rest.
        idx1, idx2
            In place of groups: positions, masks or queries of ``obs`` of the modality that is read; without `idx2` all
            other cells.
        mode
            ``"change"``: probability of a change of more than `delta` either way. ``"vanilla"``: of a higher mean in the
            first group.
        delta
            Smallest change that counts, above 0: log2 of the ratio for counts and probabilities, a difference of values
            for Gaussian ones. None estimates one from all changes.
        %(chunk)s
        all_stats
            Add means of measured values and how many are not 0; there are none with `source`.
        batch_correction
            Decode all cells as if measured in the same batches: `batchid1` for the first group and `batchid2` for the
            second, by default all in which the modality was measured. Otherwise cells are denoised in their own batch,
            and imputed on average over these.
        batchid1, batchid2
            Batches for each group, the same ones or none in common.
        fdr_target
            False discovery rate of what is tagged.
        silent
            Whether to hide the progress bar.
        pseudocounts
            Added to shares and probabilities before ratios are taken.
        **kwargs
            Further arguments of ``scvi.model.base.DifferentialComputation.get_bayes_factors``.

        Returns
        -------
        A row for each feature and comparison, best first. In mode ``"change"``: ``proba_de``, ``bayes_factor`` (its log
        odds), ``scale1`` and ``scale2`` (means of the groups), ``lfc_mean`` and further columns of the distribution of
        the log2 ratio of the first to the second, or ``effect_mean`` and others of the difference of Gaussian values
        (for natural logarithms, divided by 0.69 it is a log2 ratio), and ``is_de_fdr_{fdr_target}``: features more
        likely changed than not that the procedure of Benjamini and Hochberg finds.

        Raises
        ------
        RuntimeError
            If the model is not trained, or has no calibrated standard deviations for what is imputed.
        KeyError
            If a modality, its layer, or a column is missing.
        ValueError
            If nothing says what is compared, a group has fewer than two cells, source and modality are the same, or a
            batch is unknown.
        TypeError, IndexError
            If `idx1` or `idx2` are not positions, or beyond the last one.

        References
        ----------
        Boyeau et al., Deep generative models for detecting differential expression in single cells, bioRxiv 2019.

        Examples
        --------
        >>> import couplevi as cvi
        >>> mdata = cvi.data.count_clusters(n_obs=200)
        >>> cvi.model.JAMIE.setup_mudata(mdata, modalities=("rna", "atac"))
        >>> model = cvi.model.JAMIE(mdata, likelihoods={"rna": "nb", "atac": "poisson"})
        >>> model.train(max_epochs=2, enable_progress_bar=False)
        >>> table = model.differential_expression(
        ...     modality="rna", groupby="cell_type", group1="type0", group2="type1", silent=True
        ... )
        >>> table.loc["rna0", ["proba_de", "lfc_mean", "is_de_fdr_0.05"]].shape
        (3,)
        """
        self._check_if_trained(warn=False)
        check_option(modality, self.modalities_, "modality")
        check_option(mode, ("vanilla", "change"), "mode")
        if source is not None:
            check_option(source, self.modalities_, "source")
            check_different(source, modality)
            self._check_calibrated(source, modality)
        if delta is not None:
            check_number(delta, "delta", minimum=SMALLEST)
        return compare_groups(
            self.module,
            self._registered(adata),
            source or modality,
            modality,
            groupby=groupby,
            groups=(group1, group2),
            cells=(idx1, idx2),
            batches=(batchid1, batchid2),
            all_stats=all_stats,
            batch_size=batch_size,
            mode=mode,
            delta=delta,
            batch_correction=batch_correction,
            fdr=fdr_target,
            silent=silent,
            pseudocounts=pseudocounts,
            **kwargs,
        )

    def decode(
        self,
        z: FloatArray,
        *,
        modality: str,
        part: Literal["shared", "joint"] = "shared",
        transform_batch: str | Sequence[str] | None = None,
    ) -> AnnData:
        """What a modality would measure of places in the latent space, such as those of synthetic cells.

        Parameters
        ----------
        z
            Places, shape ``(n, n_latent)``, or of the joint space, in which ``mdata.obsm["X_jamie"]`` is,
            ``(n, n_latent + n_private * n_modalities)``.
        modality
            Modality to decode to.
        part
            Which of the two `z` are: ``"shared"``, what modalities have in common, or ``"joint"``, beside it what each
            alone knows; as of :meth:`get_latent_representation`.
        transform_batch
            Batch, or batches to average over, in which the places are decoded as if measured. None takes all in which
            the modality was measured in training. Of a model with other covariates than the batch, these are 0.

        Returns
        -------
        AnnData of the places by the features of the modality, ``X`` in the units of its registered values, float32.

        Raises
        ------
        RuntimeError
            If the model is not trained.
        ValueError
            If the model lacks the modality, a batch is unknown, or places have another number of dimensions.

        Examples
        --------
        >>> import couplevi as cvi
        >>> mdata = cvi.data.branching_manifold(n_obs=100)
        >>> quick = {"max_epochs": 2, "enable_progress_bar": False}
        >>> model = cvi.tl.jamie(mdata, modalities=("rna", "ephys"), train_kwargs=quick)
        >>> z = model.get_latent_representation()
        >>> between = (z[:5] + z[5:10]) / 2
        >>> model.decode(between, modality="ephys").shape
        (5, 40)
        """
        self._check_if_trained(warn=False)
        check_option(modality, self.modalities_, "modality")
        check_option(part, ("shared", "joint"), "part")
        batches = self.reader(modality).design.batch_columns(transform_batch, modality)
        values = decoded(self.module, np.asarray(z, dtype=np.float32), modality, part, batches)
        var = pd.DataFrame(index=pd.Index(self.var_names_[modality]))
        return ad.AnnData(values, var=var)

    def has_sd(self, source: str, target: str) -> bool:
        """Whether :meth:`impute` can give standard deviations.

        Parameters
        ----------
        source, target
            Modality that was measured, and the one to predict.

        Returns
        -------
        True if enough pairs were held back in training.

        Raises
        ------
        ValueError
            If the model has no such modality, or both are the same.

        Examples
        --------
        >>> import couplevi as cvi
        >>> mdata = cvi.data.branching_manifold(n_obs=100)
        >>> quick = {"max_epochs": 2, "enable_progress_bar": False}
        >>> cvi.tl.jamie(mdata, modalities=("rna", "ephys"), train_kwargs=quick).has_sd("rna", "ephys")
        True
        >>> few = mdata[:60].copy()
        >>> cvi.tl.jamie(few, modalities=("rna", "ephys"), train_kwargs=quick).has_sd("rna", "ephys")
        False
        """
        self._check_direction(source, target)
        return Uncertainty(self.module).is_known(source, target)

    def route(self, source: str, target: str | None = None, *, features: Sequence[str] | None = None) -> Route:
        """Way from the features of a modality to its latent, or on to another modality, differentiable in between.

        What explanations are made of: a copy of the networks that predict, without randomness.

        Parameters
        ----------
        source
            Modality that is read.
        target
            Modality that is predicted; None ends at the mean latent.
        features
            Features of the target, or dimensions of the latent (``"0"``, ``"1"``, ...); None takes all.

        Returns
        -------
        :class:`~couplevi.nn.Route` with outputs in the units of the target's registered values.

        Raises
        ------
        RuntimeError
            If the model is not trained.
        KeyError
            If a feature is unknown.
        ValueError
            If the model lacks a modality, source and target are the same, or a feature is named twice.

        Examples
        --------
        >>> import couplevi as cvi
        >>> mdata = cvi.data.branching_manifold(n_obs=100)
        >>> quick = {"max_epochs": 2, "enable_progress_bar": False}
        >>> model = cvi.tl.jamie(mdata, modalities=("rna", "ephys"), train_kwargs=quick)
        >>> route = model.route("rna", "ephys", features=["ephys3", "ephys0"])
        >>> route.names, route.n_possible
        (['ephys3', 'ephys0'], 40)
        """
        self._check_if_trained(warn=False)
        if target is None:
            check_option(source, self.modalities_, "source")
        else:
            self._check_direction(source, target)
        batches = [] if target is None else self.reader(target).design.batches_of(target)
        return make_route(self.module, self.var_names_, source, target, features, batches)

    @fill_docs
    def get_reconstruction_error(
        self, adata: MuData | None = None, *, batch_size: int | None = None
    ) -> dict[str, float]:
        """Mean squared error of each modality decoded from its own mean latent, relative to the features' variances.

        Parameters
        ----------
        %(modelled)s
        %(chunk)s

        Returns
        -------
        For each modality a mean over profiles and features, at least 0. Only what the principal components hold is
        counted.

        Examples
        --------
        >>> import couplevi as cvi
        >>> mdata = cvi.data.branching_manifold(n_obs=100)
        >>> quick = {"max_epochs": 10, "enable_progress_bar": False}
        >>> model = cvi.tl.jamie(mdata, modalities=("rna", "ephys"), train_kwargs=quick)
        >>> {m: 0 < error < 1 for m, error in model.get_reconstruction_error().items()}
        {'ephys': True, 'rna': True}
        """
        self._check_if_trained(warn=False)
        found = errors(self.module, self._registered(adata), batch_size)
        return {m: float(error.mean()) for m, (error, _) in found.items()}

    @fill_docs
    def get_elbo(self, adata: MuData | None = None, *, batch_size: int | None = None) -> float:
        """Evidence lower bound up to constants, in the units of the objective; higher is better.

        Parameters
        ----------
        %(modelled)s
        %(chunk)s

        Returns
        -------
        Minus reconstruction error and weighted divergence, mean over the profiles of all modalities; at most 0.

        Examples
        --------
        >>> import couplevi as cvi
        >>> mdata = cvi.data.branching_manifold(n_obs=100)
        >>> quick = {"max_epochs": 2, "enable_progress_bar": False}
        >>> model = cvi.tl.jamie(mdata, modalities=("rna", "ephys"), train_kwargs=quick)
        >>> before = model.get_elbo()
        >>> model.train(max_epochs=10, enable_progress_bar=False)
        >>> before < model.get_elbo() < 0
        True
        """
        self._check_if_trained(warn=False)
        weight = self.module.weights["kl"]
        found = errors(self.module, self._registered(adata), batch_size)
        return -float(np.concatenate([error + weight * kl for error, kl in found.values()]).mean())
