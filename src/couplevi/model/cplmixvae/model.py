from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from mudata import MuData
from scvi.model._utils import use_distributed_sampler

from couplevi._arrays import dense
from couplevi._constants import SINGLE, UNKNOWN
from couplevi._docs import fill_docs
from couplevi._labels import check_classes
from couplevi._streamed import loaded
from couplevi._validate import check_count, check_number, check_option, expected, listing
from couplevi.dataloaders import CoupledDataSplitter, set_sizes
from couplevi.model._base import Model
from couplevi.model._dataset import cells_of_units
from couplevi.model.cplmixvae.inference import probabilities, profiles, slopes, states, votes
from couplevi.model.cplmixvae.judge import Judge
from couplevi.model.cplmixvae.module import CplMixVAEModule, Modality
from couplevi.model.cplmixvae.rounds import Rounds, RoundsTrainingPlan
from couplevi.model.cplmixvae.selection import Round, consensus, has_failed, history_of, select_round
from couplevi.model.cplmixvae.settings import MixtureSettings, make_mixture_settings
from couplevi.model.cplmixvae.start import start_arms
from couplevi.model.cplmixvae.training import (
    epochs_of_rounds,
    training_data,
    warn_about_batches,
    warn_about_result,
)
from couplevi.preparation import COUNTS_PER_CELL, log_normalised
from couplevi.registry import (
    column_texts,
    column_values,
    coupled_manager,
    registered_column,
    registered_readers,
    single_manager,
)
from couplevi.train import BestWeights, TrainingRun, check_arguments

if TYPE_CHECKING:
    from anndata import AnnData

    from couplevi._types import BoolArray, FloatArray, IntArray
    from couplevi.registry import Keys, Registered

MIN_CONSENSUS, MIN_CONSENSUS_BETWEEN = 0.95, 0.8
"""Consensus that a number of categories has to reach: of arms that see the same profiles, and of modalities."""
TRAVERSED = (0.05, 0.95)
"""Quantiles of the states of a category between which a traversal goes."""


@fill_docs
class CplMixVAE(Model):
    """Coupled mixture variational autoencoders: cell types, and continuous states within them.

    Several autoencoders (arms) see the same cells, each with a category and, given it, a continuous state. Their
    categories are pulled together, their states are not. Categories that the arms do not agree on are removed. On a
    MuData, each modality has arms of its own, and all share the categories.

    Parameters
    ----------
    adata
        AnnData or MuData set up with :meth:`setup_anndata` or :meth:`setup_mudata`.
    n_categories
        Number of categories to start from, at least 2: more than are expected, as training removes some.
    %(registry)s
    **settings
        Further fields of :class:`~couplevi.model.MixtureSettings`, such as `n_arms` (2), `n_state` (3) and
        `likelihood` (``"gaussian"``, ``"nb"`` or ``"zinb"``).

    Raises
    ------
    ValueError
        If the data are not set up, or a setting is out of range.
    TypeError
        For an unknown setting, or without `n_categories`.

    References
    ----------
    Marghi, Gala and Sumbul, Mixture representation learning with coupled autoencoders, arXiv 2007.09880;
    Marghi et al., Joint inference of discrete cell types and continuous type-specific variability in single-cell
    datasets with MMIDAS, Nature Computational Science 2024.

    Examples
    --------
    >>> import couplevi as cvi
    >>> adata = cvi.data.count_clusters(n_obs=200)["rna"]
    >>> cvi.model.CplMixVAE.setup_anndata(adata, layer="log1p")
    >>> model = cvi.model.CplMixVAE(adata, n_categories=6)
    >>> model.train(max_epochs=20, prune=False, enable_progress_bar=False)
    >>> model.predict().head(2).shape, model.get_latent_representation().shape
    ((2,), (200, 3))
    """

    saved = (*Model.saved, "categories_", "pruning_", "labels_")
    settings_class = MixtureSettings
    module: CplMixVAEModule
    settings_: MixtureSettings

    def __init__(
        self,
        adata: AnnData | MuData | None = None,
        n_categories: int | None = None,
        *,
        registry: dict[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        if n_categories is None:
            remedy = "Start above the number of types that you expect; training removes what is not needed."
            raise TypeError(expected("`n_categories`", "none", remedy))
        chosen = make_mixture_settings({"n_categories": n_categories, **settings})
        if registry is None and (adata is None or self._get_most_recent_anndata_manager(adata) is None):
            remedy = "Call `CplMixVAE.setup_anndata(adata, ...)` or `setup_mudata(mdata, ...)` first."
            raise ValueError(expected("an AnnData or MuData that is set up", "one that is not", remedy))
        super().__init__(adata, registry, chosen, strict="n_pcs" in settings)
        for m in chosen.likelihood if isinstance(chosen.likelihood, Mapping) else ():
            check_option(m, self.modalities_, "likelihood")
        self.labels_: list[str] = self._labels_to_tie(adata)
        if len(self.labels_) >= n_categories:
            remedy = (
                f"Pass `n_categories={len(self.labels_) + 1}` or more: each label has one, and there may be others."
            )
            raise ValueError(expected(f"more categories than the {len(self.labels_)} labels", n_categories, remedy))
        self.categories_: IntArray = np.arange(n_categories)
        self.pruning_ = pd.DataFrame()
        self.module = self._build_module()

    @classmethod
    @fill_docs
    def setup_anndata(
        cls,
        adata: AnnData,
        *,
        layer: str | None = None,
        use_rep: str | None = None,
        labels_key: str | None = None,
        batch_key: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Register the values of an AnnData. Only scvi-tools' two identifiers are written, to ``adata.uns``.

        Parameters
        ----------
        adata
            Cells of a single modality.
        layer
            Layer to model; None takes ``X``. Logarithmic values, or raw counts for the likelihoods ``"nb"`` and
            ``"zinb"``.
        use_rep
            Representation in ``adata.obsm`` to model in place of a layer.
        %(mixture_columns)s
        %(setup_kwargs)s

        Raises
        ------
        TypeError
            If `adata` is not an AnnData.
        KeyError
            If the layer or representation is missing.
        ValueError
            If names are not unique or values are not finite.

        Examples
        --------
        >>> import couplevi as cvi
        >>> adata = cvi.data.count_clusters(n_obs=100)["rna"]
        >>> cvi.model.CplMixVAE.setup_anndata(adata, layer="log1p")
        """
        setup_method_args = cls._get_setup_method_args(**locals())
        manager = single_manager(
            adata,
            setup_method_args,
            layer=layer,
            use_rep=use_rep,
            batch_key=batch_key,
            columns={"labels": labels_key},
            **kwargs,
        )
        cls._check_labels(adata, labels_key)
        cls.register_manager(manager)

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
        labels_key: str | None = None,
        batch_key: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Register modalities, whose arms share their categories over linked cells.

        Parameters
        ----------
        mdata
            MuData whose rows of the same name are the same cell; cells may lack modalities.
        modalities
            Names of two or more modalities.
        layers, use_rep
            Layer of each modality to model (``X`` where it is not named), or representation in its ``obsm``.
        %(correspondence_key)s
        %(mixture_columns)s
        %(setup_kwargs)s

        Raises
        ------
        TypeError
            If `mdata` is not a MuData.
        KeyError
            If a modality, layer, representation or matrix is missing.
        ValueError
            If names are not unique, values are not finite, or links are not as described in
            :func:`couplevi.pp.link`.

        Examples
        --------
        >>> import couplevi as cvi
        >>> mdata = cvi.data.count_clusters(n_obs=100)
        >>> layers = {"rna": "log1p", "atac": "log1p"}
        >>> cvi.model.CplMixVAE.setup_mudata(mdata, modalities=("rna", "atac"), layers=layers)
        """
        setup_method_args = cls._get_setup_method_args(**locals())
        manager = coupled_manager(
            mdata,
            setup_method_args,
            modalities=modalities,
            layers=layers,
            use_rep=use_rep,
            correspondence_key=correspondence_key,
            batch_key=batch_key,
            columns={"labels": labels_key},
            **kwargs,
        )
        cls._check_labels(mdata, labels_key)
        cls.register_manager(manager)

    @staticmethod
    def _check_labels(data: AnnData | MuData, key: str | None) -> None:
        if key is not None:
            check_classes(column_values(data, key), key)

    def __repr__(self) -> str:
        state = f"{len(self.categories_)} categories" if self.is_trained_ else "not trained"
        sizes = [f"{m}: {len(self.var_names_[m])} features" for m in self.modalities_]
        return f"CplMixVAE model, {state}, n_arms: {self.settings_.n_arms}, {', '.join(sizes)}"

    def _stand_in(self, modality: str) -> FloatArray | None:
        observation = self.module.observation(modality)
        return None if observation.is_count else observation.preparation.mean.cpu().numpy()

    def _labels_to_tie(self, data: AnnData | MuData | None) -> list[str]:
        key = registered_column(self.registry_, "labels")
        return [] if key is None or data is None else sorted({x for x in column_texts(data, key) if isinstance(x, str)})

    def _label_numbers(self, registered: Registered) -> IntArray:
        """Number of the label of each cell, -1 without one."""
        key = registered_column(self.registry_, "labels")
        if key is None:
            return np.full(len(registered.obs_names), -1)
        return pd.Index(self.labels_, dtype=object).get_indexer(
            pd.Index(column_texts(registered.data, key), dtype=object)
        )

    def _build_module(self) -> CplMixVAEModule:
        s = self.settings_
        n_batches = len(registered_readers(self.registry_, self.modalities_)[self.modalities_[0]].design.batches)
        return CplMixVAEModule(
            {
                m: Modality(len(self.var_names_[m]), self.n_components_[m], s.likelihood_of(m), n_batches)
                for m in self.modalities_
            },
            n_arms=s.n_arms,
            n_categories=s.n_categories,
            n_state=s.n_state,
            n_labels=len(self.labels_),
            n_hidden=s.n_hidden,
            coupling=s.coupling,
            coupling_weight=s.weight_of_coupling,
            state_kl_weight=s.state_kl_weight,
            augmentation_rate=s.augmentation_rate,
            dropout_rate=s.dropout_rate,
            input_dropout_rate=s.input_dropout_rate,
        )

    # training

    @fill_docs
    def train(
        self,
        max_epochs: int | None = None,
        max_epochs_prune: int | None = None,
        *,
        prune: bool = True,
        min_categories: int = 2,
        min_consensus: float | None = None,
        max_connectivity: float = 0.03,
        train_size: float = 0.8,
        batch_size: int | None = None,
        accelerator: str = "auto",
        devices: int | list[int] | str = "auto",
        datasplitter_kwargs: dict[str, Any] | None = None,
        plan_kwargs: dict[str, Any] | None = None,
        **trainer_kwargs: Any,
    ) -> None:
        """Train from communities of the cells, remove superfluous categories one by one, and keep the best number.

        Categories start as communities of a graph of nearest neighbours, two of which are one if more than
        `max_connectivity` of the ties of either lead to the other; so there are as many as the data tell apart, up to
        `n_categories`. After training, the category goes that the arms agree on least or, where they agree on all and
        with a single arm, the one without which the evidence lower bound falls least; and so forth.

        Among the rounds whose mean consensus on held-out cells is at least `min_consensus`, that one is kept which has
        the fewest categories while its held-out evidence lower bound is within one standard error of the best one's. A
        gradient that is cut in the same way by all arms keeps consensus high, so consensus alone does not tell. Pruning
        ends when 2 rounds in a row were worse than that. :attr:`pruning_history` has all rounds.

        Parameters
        ----------
        max_epochs, max_epochs_prune
            Passes through the data in the first round, and in each later one. None takes as many as make the settings'
            `n_steps` and `n_steps_prune`.
        prune
            Remove categories; else there are `n_categories`, fewer if labels take several communities, of one round.
        min_categories
            Number of categories at which pruning ends, at least 2.
        min_consensus
            Consensus of the arms on held-out cells, in [0, 1], that a round has to reach. None is 0.95, or 0.8 where
            arms of different modalities have to agree.
        max_connectivity
            Share of the ties of a community to its nearest neighbours, in [0, 1], that may lead to another one at the
            start. Raise it for finer categories; 1 starts at `n_categories` whatever the data are like.
        train_size
            Share of the cells that is trained on, in (0, 1); the rest decides on the number of categories. Scaling,
            principal components and effects of how cells were measured are those of all cells.
        batch_size
            Largest number of cells per step; None takes the settings'.
        %(hardware)s
        datasplitter_kwargs, plan_kwargs
            Further arguments, by name, of what draws minibatches, :class:`~couplevi.dataloaders.CoupledDataSplitter`,
            and of what takes steps, :class:`~couplevi.train.RoundsTrainingPlan`, such as ``{"lr": 1e-4}``.
        %(trainer_kwargs)s

        Raises
        ------
        ValueError
            If the model has no data, a number is out of range, counts are not counts, there are fewer cells than
            categories or none to validate on, or this machine lacks the hardware.
        RuntimeError
            If the loss or a weight is not finite before the end of the first round.
        TypeError
            If an argument is of another kind, unknown, or a setting of the model.
        NotImplementedError
            For `checkpoint` and `early_stopping`.

        The model is as before if training fails or is interrupted.

        Examples
        --------
        >>> import couplevi as cvi
        >>> adata = cvi.data.count_clusters(n_obs=200)["rna"]
        >>> cvi.model.CplMixVAE.setup_anndata(adata, layer="log1p")
        >>> model = cvi.model.CplMixVAE(adata, n_categories=5)
        >>> model.train(max_epochs=5, prune=False, enable_progress_bar=False)
        >>> model
        CplMixVAE model, 5 categories, n_arms: 2, adata: 500 features
        """
        settings = self.settings_
        check_count(min_categories, "min_categories", minimum=2)
        if min_consensus is None:
            min_consensus = MIN_CONSENSUS if len(self.modalities_) == 1 else MIN_CONSENSUS_BETWEEN
        check_number(min_consensus, "min_consensus", 0, 1)
        check_number(max_connectivity, "max_connectivity", 0, 1)
        for name in ("checkpoint", "early_stopping"):
            if trainer_kwargs.get(name):
                remedy = "Leave it out; pruning ends by itself."
                raise NotImplementedError(f"`{name}`: CplMixVAE does not support it. {remedy}")
        check_arguments(
            self,
            {
                "max_epochs": max_epochs,
                "max_epochs_prune": max_epochs_prune,
                "prune": prune,
                "train_size": train_size,
                "batch_size": batch_size,
                "accelerator": accelerator,
                "devices": devices,
            },
            splitter=datasplitter_kwargs,
            splitter_takes=("validation_size", "shuffle_set_split", "n_partners"),
            plan=plan_kwargs,
            plan_takes=("lr", "weight_decay", "temperature"),
            trainer=trainer_kwargs,
        )
        batch_size = int(settings.batch_size if batch_size is None else batch_size)
        with TrainingRun(self) as run:
            registered = self._registered()
            to_fit = None if self.is_trained_ else self.n_components_
            dataset, order = training_data(self.module, registered, to_fit, settings, self._label_numbers(registered))
            n_train, n_validation = set_sizes(len(dataset), train_size, None)
            if prune and not n_validation:
                remedy = "Train on more cells, lower `train_size`, or pass `prune=False`."
                raise ValueError(expected("cells to validate on", f"none of {len(dataset)}", remedy))
            n_active = int(self.module.active.sum())
            fewest = min(max(min_categories, len(self.labels_)), n_active) if prune else n_active
            warn_about_batches(min(batch_size, n_train), n_active)
            steps = math.ceil(n_train / batch_size)
            n_removed = max(0, n_active - min_categories) if prune else 0
            rounds = epochs_of_rounds(settings, max_epochs, max_epochs_prune, steps, n_removed)
            judge, results = Judge(self.module, dataset), list[Round]()

            def begin(train: IntArray) -> None:
                if not self.is_trained_:
                    start_arms(self.module, dataset, train, fewest, max_connectivity)

            def conclude(train: IntArray, validation: IntArray) -> bool:
                results.append(judge.round(train, validation if len(validation) else train))
                categories = results[-1].categories
                stay = max(min_categories, int((categories < len(self.labels_)).sum()))
                if not prune or len(categories) <= stay or has_failed(results, min_consensus):
                    return False
                self.module.active[judge.superfluous(train, results[-1], min_consensus)] = False
                return True

            best = BestWeights("train_loss")
            splitter = CoupledDataSplitter(
                dataset,
                train_size=train_size,
                batch_size=batch_size,
                distributed_sampler=use_distributed_sampler(trainer_kwargs.get("strategy")),
                **datasplitter_kwargs or {},
            )
            scheduled = {"lr": settings.lr, "temperature": settings.temperature, **(plan_kwargs or {})}
            arguments = {
                "gradient_clip_val": settings.gradient_clip,
                "check_val_every_n_epoch": None,
                "limit_val_batches": 0,
                **trainer_kwargs,
                "callbacks": [*(trainer_kwargs.pop("callbacks", None) or []), best, Rounds(rounds, begin, conclude)],
            }
            plan = RoundsTrainingPlan(self.module, **scheduled, rounds=rounds)
            run.fit(splitter, plan, max_epochs=sum(rounds), accelerator=accelerator, devices=devices, **arguments)
            if not results and not best.failed:  # stopped from outside
                conclude(self.train_indices, self.validation_indices)
            results = [r for r in results if np.isfinite(r.elbo).all()]
            if not results:
                remedy = "Look for extreme values in the data, or lower the learning rate: `CplMixVAE(..., lr=3e-4)`."
                raise RuntimeError(expected("a finite loss", "NaN or infinity in the first round of training", remedy))
            selected, agreed = select_round(results, min_consensus)
            self.module.load_state_dict(results[selected].weights)
            self.module.eval()
            self.pruning_ = history_of(results, selected, min_consensus)
            for name in ("train_indices", "validation_indices", "test_indices"):
                setattr(self, name, cells_of_units(registered, dataset, order, getattr(self, name)))
            self.categories_ = results[selected].categories
            codes = self.predict().cat.codes
            sizes = np.bincount(codes[codes >= 0], minlength=len(self.categories_))
            self.categories_ = self.categories_[sizes.argsort(kind="stable")[::-1]]
        warn_about_result(
            results,
            selected,
            agreed,
            min_consensus,
            n_start=n_active,
            failed=best.failed,
            pruned=prune,
            lost=[name for k, name in enumerate(self.labels_) if k not in self.categories_],
        )

    # inference

    @fill_docs
    def predict_probabilities(
        self, adata: AnnData | MuData | None = None, *, modality: str | None = None, arm: int | None = None
    ) -> pd.DataFrame:
        """Probability of each category for each cell, mean over arms, and over the modalities measured in a cell.

        Parameters
        ----------
        %(arms)s

        Returns
        -------
        Shape ``(n_cells, n_categories)``, rows that sum to 1, NaN for cells with none of the modalities. Columns are
        the categories, ``"0"`` being the largest.

        Raises
        ------
        RuntimeError
            If the model is not trained.
        KeyError
            If a layer or representation is missing.
        ValueError
            If more than a fifth of the features are missing (of counts any), or the modality or arm does not exist.

        Examples
        --------
        >>> import couplevi as cvi
        >>> adata = cvi.data.count_clusters(n_obs=200)["rna"]
        >>> quick = {"max_epochs": 5, "prune": False, "enable_progress_bar": False}
        >>> model = cvi.tl.cplmixvae(adata, n_categories=5, layers="log1p", seed=0, train_kwargs=quick)
        >>> probable = model.predict_probabilities(adata[:20])
        >>> probable.shape, probable.columns.tolist()
        ((20, 5), ['0', '1', '2', '3', '4'])
        """
        registered = self._checked(adata)
        found = self._probabilities(registered, self._asked(registered, modality), arm)
        return pd.DataFrame(found, index=registered.obs_names, columns=self._category_names())

    @fill_docs
    def predict(
        self,
        adata: AnnData | MuData | None = None,
        *,
        modality: str | None = None,
        arm: int | None = None,
        unknown_below: float = 0.0,
    ) -> pd.Series:
        """Most probable category of each cell, see :meth:`predict_probabilities`.

        Parameters
        ----------
        %(arms)s
        unknown_below
            Probability, in [0, 1], below which a category is ``"unknown"``: of cells between categories. Cells unlike
            all of them may well be sure of one.

        Returns
        -------
        Categorical of strings, ``"0"`` being the largest category; missing for cells with none of the modalities.

        Raises
        ------
        RuntimeError, KeyError, ValueError
            As :meth:`predict_probabilities`; ValueError also for `unknown_below` out of range.

        Examples
        --------
        >>> import couplevi as cvi
        >>> adata = cvi.data.count_clusters(n_obs=200)["rna"]
        >>> quick = {"max_epochs": 5, "prune": False, "enable_progress_bar": False}
        >>> model = cvi.tl.cplmixvae(adata, n_categories=5, layers="log1p", seed=0, train_kwargs=quick)
        >>> model.predict(unknown_below=0.5).cat.categories.tolist()
        ['0', '1', '2', '3', '4', 'unknown']
        """
        check_number(unknown_below, "unknown_below", 0, 1)
        probable = self.predict_probabilities(adata, modality=modality, arm=arm)
        best = np.where(probable.isna().any(axis=1), -1, probable.fillna(0).to_numpy().argmax(axis=1))
        if unknown_below:
            best = np.where(probable.max(axis=1) < unknown_below, len(probable.columns), best)
        names = [*probable.columns, UNKNOWN] if unknown_below else probable.columns
        labels = pd.Categorical.from_codes(best.tolist(), pd.Index(names))
        return pd.Series(labels, index=probable.index, name="category")

    def get_latent_representation(
        self, adata: AnnData | MuData | None = None, *, modality: str | None = None, arm: int = 0
    ) -> FloatArray:
        """Continuous state of each cell within its category, by one arm: the mean given the predicted category.

        States of different arms are not aligned, nor are those of different categories.

        Parameters
        ----------
        adata
            New data: as at set-up, or for a model of several modalities an AnnData of one `modality`. None takes the
            data of the model.
        modality
            Modality whose states are meant; None puts those of all modalities of a MuData side by side, by name. The category
            is that of :meth:`predict` for the data either way.
        arm
            Arm, counted from 0.

        Returns
        -------
        Shape ``(n_profiles, n_state)``, or ``(n_obs, n_modalities * n_state)`` for the cells of a MuData, NaN where a
        modality was not measured; float32, about standard normal.

        Raises
        ------
        RuntimeError
            If the model is not trained.
        ValueError
            If more than a fifth of the features are missing (of counts any), or the modality or arm does not exist.

        Examples
        --------
        >>> import couplevi as cvi
        >>> mdata = cvi.data.count_clusters(n_obs=200)
        >>> layers = {"rna": "log1p", "atac": "log1p"}
        >>> quick = {"max_epochs": 5, "prune": False, "enable_progress_bar": False}
        >>> how = {"modalities": ("rna", "atac"), "layers": layers, "seed": 0, "train_kwargs": quick}
        >>> model = cvi.tl.cplmixvae(mdata, n_categories=5, **how)
        >>> model.get_latent_representation().shape, model.get_latent_representation(modality="rna").shape
        ((200, 6), (200, 3))
        """
        registered = self._checked(adata)
        chosen = self._asked(registered, modality)
        deciding = self._asked(registered, None) if isinstance(registered.data, MuData) else chosen
        probable = self._probabilities(registered, deciding, None)
        check_count(arm, "arm", minimum=0)
        self._check_arm(arm)
        category = self.categories_[np.nan_to_num(probable).argmax(axis=1)]
        found = [states(self.module, registered, m, arm, category) for m in chosen]
        return np.concatenate(found, axis=1) if modality is None else found[0][registered.rows(modality)]

    @torch.inference_mode()
    def get_elbo(self, adata: AnnData | MuData | None = None) -> float:
        """Evidence lower bound in nats, mean over arms and profiles; higher is better.

        Parameters
        ----------
        adata
            New data, as at set-up; None takes the data of the model.

        Returns
        -------
        Of several modalities, the mean over the profiles of all. With the Gaussian likelihood, the density is that of
        the prepared features.

        Examples
        --------
        >>> import couplevi as cvi
        >>> adata = cvi.data.count_clusters(n_obs=200)["rna"]
        >>> quick = {"max_epochs": 5, "prune": False, "enable_progress_bar": False}
        >>> model = cvi.tl.cplmixvae(adata, n_categories=5, layers="log1p", seed=0, train_kwargs=quick)
        >>> before = model.get_elbo()
        >>> model.train(max_epochs=10, prune=False, enable_progress_bar=False)
        >>> model.get_elbo() > before
        True
        """
        self._check_if_trained(warn=False)
        registered = self._checked(adata)
        bounds = [
            self.module.elbo(m, arm, x).cpu().numpy()
            for m in self._asked(registered, None)
            for _, x in profiles(self.module, registered, m)
            for arm in range(self.settings_.n_arms)
        ]
        return float(np.concatenate(bounds).mean())

    def consensus_matrix(
        self, adata: AnnData | MuData | None = None, *, between: tuple[str, str] | None = None
    ) -> pd.DataFrame:
        """How far the arms agree, category by category: ``N_kl / max(N_k., N_.l)``, mean over pairs of arms.

        ``N_kl`` counts cells that one arm puts into category k and the other into l; rows are the first of the two.

        Parameters
        ----------
        adata
            New data, as at set-up; None takes the data of the model.
        between
            Two modalities, whose arms alone are compared with each other's; None takes all pairs of arms.

        Returns
        -------
        Shape ``(n_categories, n_categories)``, in [0, 1]; the mean of the diagonal is the consensus. NaN where
        neither category has a cell.

        Raises
        ------
        RuntimeError
            If the model is not trained.
        ValueError
            If no two arms see the same cells, or `between` are not two modalities of the model.

        Examples
        --------
        >>> import couplevi as cvi
        >>> adata = cvi.data.count_clusters(n_obs=200)["rna"]
        >>> quick = {"max_epochs": 5, "prune": False, "enable_progress_bar": False}
        >>> model = cvi.tl.cplmixvae(adata, n_categories=5, layers="log1p", seed=0, train_kwargs=quick)
        >>> shares = model.consensus_matrix()
        >>> shares.shape, shares.idxmax().tolist()
        ((5, 5), ['0', '1', '2', '3', '4'])
        """
        self._check_if_trained(warn=False)
        registered = self._checked(adata)
        chosen = self._asked(registered, None)
        if between is not None and (
            not isinstance(between, Sequence) or len(between) != 2 or sum(m in between for m in chosen) != 2
        ):
            raise ValueError(expected(f"`between` to be two of {chosen}", repr(between)))
        found = votes(self.module, registered, chosen, between)
        if not found:
            remedy = "Build the model with `n_arms=2`, or link the modalities."
            raise ValueError(expected("arms that saw the same cells", "none", remedy))
        shares = consensus(found, self.settings_.n_categories)[np.ix_(self.categories_, self.categories_)]
        return pd.DataFrame(shares, index=self._category_names(), columns=self._category_names())

    @property
    def pruning_history(self) -> pd.DataFrame:
        """One row per round of training.

        Columns: number of active categories and of those in use; consensus on held-out cells and smallest agreement on
        those trained on; held-out evidence lower bound in nats, how much it is below the best one's and the standard
        error of that; the consensus that was asked for; and whether the round was kept.

        Examples
        --------
        >>> import couplevi as cvi
        >>> adata = cvi.data.count_clusters(n_obs=200)["rna"]
        >>> quick = {"max_epochs": 5, "prune": False, "enable_progress_bar": False}
        >>> model = cvi.tl.cplmixvae(adata, n_categories=5, layers="log1p", seed=0, train_kwargs=quick)
        >>> model.pruning_history[["n_categories", "min_consensus", "selected"]].to_dict("records")
        [{'n_categories': 5, 'min_consensus': 0.95, 'selected': True}]
        """
        return self.pruning_.copy()

    @fill_docs
    def rank_features(
        self, category: str, *, dimension: int = 0, modality: str | None = None, arm: int = 0
    ) -> pd.DataFrame:
        """Features that go along with one dimension of the state among the cells of a category.

        Each is regressed on that dimension; of counts their logarithms per 10,000 are. Which features tell *categories*
        apart, ``sc.tl.rank_genes_groups(adata, "cplmixvae_category")`` finds.

        Parameters
        ----------
        %(state)s

        Returns
        -------
        A row per feature, by falling absolute score, with the columns of ``sc.get.rank_genes_groups_df``: `names`;
        `scores`, the t statistic of the slope; `logfoldchanges`, the slope, in the units of the values per unit of the
        state, over the logarithm of 2; `pvals` and, after Benjamini and Hochberg, `pvals_adj`. The state was found in the
        same values, so that the p values rank features and do not test whether there is a gradient. NaN for constant
        features, which come last.

        Raises
        ------
        RuntimeError
            If the model is not trained.
        ValueError
            If the model has no data, fewer than three cells are of the category, or there is no such category, dimension,
            modality or arm.

        Examples
        --------
        >>> import couplevi as cvi
        >>> adata = cvi.data.count_clusters(n_obs=200)["rna"]
        >>> quick = {"max_epochs": 5, "prune": False, "enable_progress_bar": False}
        >>> model = cvi.tl.cplmixvae(adata, n_categories=5, layers="log1p", seed=0, train_kwargs=quick)
        >>> ranked = model.rank_features("0", dimension=1)
        >>> ranked.shape, ranked.columns.tolist()
        ((500, 5), ['names', 'scores', 'logfoldchanges', 'pvals', 'pvals_adj'])
        """
        own, state = self._states_of(category, dimension, modality, arm)
        if len(state) < 3:
            raise ValueError(expected(f"three or more cells of category {category!r}", len(state)))
        m = modality or self.modalities_[0]
        values = loaded(self._registered().values(m)[np.flatnonzero(own)])
        x = dense(log_normalised(values) if self.module.observation(m).is_count else values).astype(np.float64)
        ranked = slopes(x, state[:, dimension])
        ranked.insert(0, "names", list(self.var_names_[m]))
        return ranked.sort_values("scores", key=np.abs, ascending=False, ignore_index=True)

    @torch.inference_mode()
    @fill_docs
    def traverse_state(
        self,
        category: str,
        *,
        dimension: int = 0,
        n_steps: int = 9,
        modality: str | None = None,
        arm: int = 0,
    ) -> pd.DataFrame:
        """What cells of a category look like along one dimension of their state, the others at their median.

        Parameters
        ----------
        %(state)s
        %(n_steps)s

        Returns
        -------
        Steps by features, indexed by the value of the state, in the units of the registered values; for counts, the
        expected counts per 10,000.

        Raises
        ------
        RuntimeError
            If the model is not trained.
        ValueError
            If the model has no data, no cell is of the category, or there is no such category, dimension, modality or
            arm.

        Examples
        --------
        >>> import couplevi as cvi
        >>> adata = cvi.data.count_clusters(n_obs=200)["rna"]
        >>> quick = {"max_epochs": 5, "prune": False, "enable_progress_bar": False}
        >>> model = cvi.tl.cplmixvae(adata, n_categories=5, layers="log1p", seed=0, train_kwargs=quick)
        >>> path = model.traverse_state("0", dimension=1, n_steps=3)
        >>> path.shape, path.index.name
        ((3, 500), 'state 1')
        """
        check_count(n_steps, "n_steps", minimum=2)
        _, state = self._states_of(category, dimension, modality, arm)
        m, names = modality or self.modalities_[0], self._category_names()
        low, high = np.quantile(state[:, dimension], TRAVERSED)
        path = np.tile(np.median(state, axis=0), (n_steps, 1))
        path[:, dimension] = np.linspace(low, high, n_steps)
        index = torch.full((n_steps,), int(self.categories_[names.index(category)]), device=self.device)
        library = torch.full((n_steps, 1), COUNTS_PER_CELL, device=self.device)
        decoded = self.module.decode(m, arm, index, torch.from_numpy(path).to(self.device), library)
        steps = pd.Index(path[:, dimension], name=f"state {dimension}")
        return pd.DataFrame(self.module.observation(m).features(decoded), index=steps, columns=list(self.var_names_[m]))

    def _states_of(self, category: str, dimension: int, modality: str | None, arm: int) -> tuple[BoolArray, FloatArray]:
        """Profiles of a modality that are of a category, and the states of these, ``(n_own, n_state)``."""
        if modality is None and len(self.modalities_) > 1:
            raise ValueError(expected(f"`modality` to be one of {self.modalities_}", "None"))
        m = modality or self.modalities_[0]
        check_option(m, self.modalities_, "modality")
        check_option(category, self._category_names(), "category")
        check_count(dimension, "dimension", minimum=0)
        check_option(dimension, range(self.settings_.n_state), "dimension")
        own = (self.predict() == category).to_numpy()[self._checked(None).rows(m)]
        if not own.any():
            raise ValueError(expected(f"cells of category {category!r} that were measured in {m!r}", "none"))
        return own, self.get_latent_representation(modality=m, arm=arm)[own]

    # data

    def _checked(self, adata: AnnData | MuData | None) -> Registered:
        """Data that can be asked about: at least one cell, each once, and of the kind that was set up."""
        registered = self._registered(adata)
        data = registered.data
        if data.n_obs == 0:
            raise ValueError(expected("at least one cell", "none"))
        if isinstance(data, MuData) and self.modalities_ == [SINGLE]:
            found = f"a MuData with {list(data.mod)}"
            raise ValueError(expected("an AnnData, as at set-up", found, "Pass one of its modalities: `mdata[name]`."))
        if not isinstance(data, MuData) and not data.obs_names.is_unique:
            double = listing(data.obs_names[data.obs_names.duplicated()].unique(), 3)
            raise ValueError(expected("each cell once", f"{double} more than once", "`adata.obs_names_make_unique()`"))
        return registered

    def _asked(self, registered: Registered, modality: str | None) -> list[str]:
        """Modalities that are asked for and present."""
        if modality is not None:
            check_option(modality, self.modalities_, "modality")
            return [modality]
        is_coupled = isinstance(registered.data, MuData)
        if not is_coupled and len(self.modalities_) > 1:
            found = "an AnnData and no `modality`"
            remedy = f"Where there is an argument `modality`, it is one of {self.modalities_}."
            raise ValueError(expected("a MuData, or an AnnData of one modality", found, remedy))
        if not registered.present:
            found = f"modalities {list(registered.data.mod)}"
            raise ValueError(expected(f"one of the modalities {self.modalities_}", found))
        return registered.present

    def _probabilities(self, registered: Registered, modalities: Sequence[str], arm: int | None) -> FloatArray:
        self._check_if_trained(warn=False)
        self._check_arm(arm)
        arms = range(self.settings_.n_arms) if arm is None else [arm]
        return probabilities(self.module, registered, modalities, arms, self.categories_)

    def _category_names(self) -> list[str]:
        """Label of each category or, of those without one, a number that is no label, in their order."""
        numbers = (str(k) for k in count() if str(k) not in self.labels_)
        return [self.labels_[k] if k < len(self.labels_) else next(numbers) for k in self.categories_]

    def _check_arm(self, arm: int | None) -> None:
        if arm is not None:
            check_count(arm, "arm", minimum=0)
            check_option(arm, range(self.settings_.n_arms), "arm")
