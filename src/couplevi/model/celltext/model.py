from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import anndata as ad
import numpy as np
import pandas as pd
import torch
from scvi.model._utils import use_distributed_sampler

from couplevi._constants import SINGLE
from couplevi._docs import fill_docs
from couplevi._labels import check_classes
from couplevi._validate import check_count, check_number, expected, listing, warn
from couplevi.dataloaders import CoupledDataSplitter
from couplevi.model._base import Model
from couplevi.model._components import choose_components
from couplevi.model._dataset import CHUNK, chunks, fit_modality, is_counted, preparation_of
from couplevi.model._length import Length, epochs_of
from couplevi.model.celltext.captions import SoftPrompts, described, fit_prompts, word_width
from couplevi.model.celltext.cells import CellEncoder, flat_tokens, pooled, represented
from couplevi.model.celltext.generation import drawn_cells, fit_noise
from couplevi.model.celltext.module import CellTextModule
from couplevi.model.celltext.prototypes import FEWEST_TYPES, calibrated, fit_prototypes
from couplevi.model.celltext.routes import make_text_route
from couplevi.model.celltext.settings import CellTextSettings, make_celltext_settings
from couplevi.model.celltext.texts import (
    as_descriptions,
    as_labels,
    as_texts,
    nameless,
    nearest,
    shares,
    text_vectors,
)
from couplevi.model.celltext.training import CellTextTrainingPlan, refit, training_data
from couplevi.preparation import fit_preparation, logarithms
from couplevi.registry import column_texts, column_values, single_manager
from couplevi.text import PROBES, check_same, text_encoder
from couplevi.train import TrainingRun, check_arguments

if TYPE_CHECKING:
    from anndata import AnnData

    from couplevi._streamed import Matrix
    from couplevi._types import FloatArray, IntArray
    from couplevi.model.celltext.prototypes import Scores
    from couplevi.nn import Route
    from couplevi.text import TextEncoder

PLAN_SETTINGS = ("lr", "weight_decay", "lr_schedule")
INDICES = ("train_indices", "validation_indices", "test_indices")
MOST_CALIBRATED = 3000
"""Cells that how far texts can be trusted is learned from; more are sampled."""
NOISE = ("residual_sd", "gain", "dispersion", "library")


@fill_docs
class CellText(Model):
    """Cells and words in one space: types are named by their descriptions, also those that nobody has seen.

    Cells are placed so that those of a type lie around its mean. From the texts of the types that were seen, where a
    text says that a type is is learned by ridge regression; how far that can be trusted, from types that are left out.
    What is learned on top, contrastively, serves to find cells by a text, and texts by a cell.

    This is not scMMGPT: nothing is pre-trained on millions of cells, and all that is known of words is what the text
    encoder knows.

    Parameters
    ----------
    adata
        AnnData set up with :meth:`setup_anndata`.
    preset
        ``"default"``, or :class:`~couplevi.model.CellTextSettings` of your own.
    %(encoders)s
    %(registry)s
    **overrides
        Fields of :class:`~couplevi.model.CellTextSettings` that replace those of the preset, such as `n_pcs` (50).

    Raises
    ------
    ValueError
        If the data are not set up, have fewer than two types, a setting is out of range, or an encoder gives what is
        no array of the right shape.
    TypeError
        For an unknown setting, or an encoder of another kind.
    ImportError, FileNotFoundError
        If the text encoder is a model and the package for it, or the model, is not there.

    References
    ----------
    Shi et al., Multimodal language modeling for high-accuracy single cell transcriptomics analysis and generation,
    arXiv 2503.09427 (the tasks). Shigeto et al., Ridge regression, hubness, and zero-shot learning, ECML PKDD 2015. Chao
    et al., An empirical study and analysis of generalized zero-shot learning, ECCV 2016.

    Examples
    --------
    >>> import couplevi as cvi
    >>> mdata = cvi.data.count_clusters(n_obs=200)
    >>> adata = mdata["rna"].copy()
    >>> adata.obs["type"] = mdata.obs["cell_type"].astype(str)
    >>> cvi.model.CellText.setup_anndata(adata, labels_key="type", layer="log1p")
    >>> texts = {t: f"cell of cluster number {t}" for t in adata.obs["type"].unique()}
    >>> model = cvi.model.CellText(adata, descriptions=texts, n_pcs=10)
    >>> model.train(max_epochs=5, enable_progress_bar=False)
    >>> model.annotate(adata, list(texts)).shape
    (200, 5)
    """

    saved = (
        *Model.saved,
        "labels_",
        "descriptions_",
        "counted_",
        "text_encoder_name_",
        "text_encoder_is_function_",
        "n_text_",
        "cell_encoder_name_",
        "token_shape_",
        "prompt_shape_",
    )
    settings_class = CellTextSettings
    shared: ClassVar[frozenset[str]] = Model.shared | {"_text_encoder", "_cell_encoder"}
    module: CellTextModule
    settings_: CellTextSettings
    _text_encoder: TextEncoder | None = None
    _cell_encoder: CellEncoder | None = None

    def __init__(
        self,
        adata: AnnData | None = None,
        preset: Literal["default"] | CellTextSettings = "default",
        *,
        descriptions: Mapping[str, str | Sequence[str]] | None = None,
        text_encoder: str | Callable[[list[str]], Any] = "tfidf",
        cell_encoder: CellEncoder | None = None,
        registry: dict[str, Any] | None = None,
        **overrides: Any,
    ) -> None:
        settings = make_celltext_settings(preset, overrides)
        if registry is None and (adata is None or self._get_most_recent_anndata_manager(adata) is None):
            remedy = "Call `CellText.setup_anndata(adata, labels_key=...)` first."
            raise ValueError(expected("an AnnData that is set up", "one that is not", remedy))
        if adata is None:
            raise ValueError(expected("data", "none", "Types are those of the data: pass `adata`, or call `load`."))
        if settings.projector == "qformer" and cell_encoder is None:
            remedy = "Pass a function that gives tokens, or leave out `projector`."
            raise ValueError(expected("a `cell_encoder` for the projector 'qformer'", "none", remedy))
        super().__init__(adata, registry, settings, strict="n_pcs" in overrides)
        types = pd.Series(column_texts(adata, self._column())).dropna()
        self.labels_: list[str] = sorted(set(types))
        if len(self.labels_) < 2:
            raise ValueError(expected(f"two or more types in `adata.obs[{self._column()!r}]`", listing(self.labels_)))
        own = {label: [label] for label in self.labels_}
        self.descriptions_: dict[str, list[str]] = own | as_descriptions(descriptions)
        self.history_: dict[str, pd.DataFrame] = {}
        self._read_encoders(adata, text_encoder, cell_encoder, strict="n_pcs" in overrides)
        self.prompt_shape_: tuple[int, int] | None = None
        self.module = self._build_module()
        self.module.probes.copy_(torch.from_numpy(self.text_encoder(PROBES)))
        self.module.texts.copy_(torch.from_numpy(self._vectors([self.descriptions_[t] for t in self.labels_])))

    def _read_encoders(
        self, adata: AnnData, text: str | Callable[[list[str]], Any], cell: CellEncoder | None, *, strict: bool
    ) -> None:
        """Take over what reads texts and cells, and the sizes of what they give."""
        self._text_encoder, self._cell_encoder = text_encoder(text, self._corpus()), cell
        self.text_encoder_name_: str = self._text_encoder.name
        self.text_encoder_is_function_ = callable(text)
        self.n_text_ = self._text_encoder(PROBES).shape[1]
        self.cell_encoder_name_: str | None = (
            None if cell is None else getattr(cell, "__qualname__", type(cell).__name__)
        )
        self.token_shape_: tuple[int, int] = (0, 0)
        self.counted_ = cell is None and is_counted(self.reader(SINGLE), adata)
        if cell is not None:
            values = represented(cell, adata)
            size = {SINGLE: (len(values), values.shape[-1])}
            self.n_components_ = choose_components(self.settings_.n_pcs, size, strict=strict)
            self.token_shape_ = (values.shape[1] if values.ndim == 3 else 0, values.shape[-1])
        if self.settings_.projector == "qformer" and not self.token_shape_[0]:
            raise ValueError(expected("tokens (n, n_tokens, size) from the cell encoder for 'qformer'", "vectors"))

    @classmethod
    @fill_docs
    def setup_anndata(
        cls,
        adata: AnnData,
        *,
        labels_key: str | None = None,
        text_key: str | None = None,
        layer: str | None = None,
        use_rep: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Register values and types of an AnnData. Only scvi-tools' two identifiers are written, to ``adata.uns``.

        Parameters
        ----------
        adata
            Cells, of two or more types.
        labels_key
            Column of ``adata.obs`` with the type of each cell; cells without one (missing, ``"unknown"``) are placed,
            not learned from.
        %(text_key)s
        %(described_values)s
        %(setup_kwargs)s

        Raises
        ------
        TypeError
            If `adata` is not an AnnData.
        KeyError
            If the layer, representation or column is missing.
        ValueError
            If not exactly one of `labels_key` and `text_key` is given, names are not unique, values are not finite, or
            labels are measurements.

        Examples
        --------
        >>> import couplevi as cvi
        >>> mdata = cvi.data.count_clusters(n_obs=100)
        >>> adata = mdata["rna"].copy()
        >>> adata.obs["type"] = mdata.obs["cell_type"].astype(str)
        >>> cvi.model.CellText.setup_anndata(adata, labels_key="type")
        """
        setup_method_args = cls._get_setup_method_args(**locals())
        if (labels_key is None) == (text_key is None):
            raise ValueError(expected("one of `labels_key` and `text_key`", f"{labels_key!r} and {text_key!r}"))
        columns = {"labels": labels_key, "text": text_key}
        if "source_registry" in kwargs:  # for other data, which need not have it
            columns = {role: key for role, key in columns.items() if key in adata.obs}
        manager = single_manager(adata, setup_method_args, layer=layer, use_rep=use_rep, columns=columns, **kwargs)
        if labels_key is not None and "source_registry" not in kwargs:
            check_classes(column_values(adata, labels_key), labels_key)
        cls.register_manager(manager)

    @classmethod
    @fill_docs
    def load(
        cls,
        dir_path: str | os.PathLike[str],
        adata: AnnData | bool | None = None,
        accelerator: str = "auto",
        device: int | str = "auto",
        prefix: str | None = None,
        *,
        text_encoder: str | Callable[[list[str]], Any] | None = None,
        cell_encoder: CellEncoder | None = None,
    ) -> Self:
        """Load a saved model.

        Parameters
        ----------
        dir_path
            Folder given to :meth:`save`.
        adata
            Data with the registered values; None takes those saved with the model, False none: the model then applies
            to whatever it is given.
        %(device)s
        prefix
            Prefix given to :meth:`save`.
        text_encoder
            The one that the model was made with. None takes it by its name once a new text is to be read; a function
            has to be given, and so has a folder that was moved. It is recognised by what it makes of some texts.
        cell_encoder
            The one that the model was made with, if there was one.

        Raises
        ------
        ValueError
            If the text encoder is another one; and as :meth:`OTGM.load <couplevi.model.OTGM.load>`.
        FileNotFoundError
            If there is no model.

        Examples
        --------
        >>> import tempfile
        >>> import couplevi as cvi
        >>> mdata = cvi.data.count_clusters(n_obs=100)
        >>> adata = mdata["rna"].copy()
        >>> adata.obs["type"] = mdata.obs["cell_type"].astype(str)
        >>> quick = {"max_epochs": 2, "enable_progress_bar": False}
        >>> lengths = lambda texts: [[len(text), text.count(" ") + 1] for text in texts]
        >>> model = cvi.tl.celltext(adata, labels_key="type", text_encoder=lengths, train_kwargs=quick)
        >>> folder = tempfile.mkdtemp() + "/celltext"
        >>> model.save(folder)
        >>> cvi.model.CellText.load(folder, adata, text_encoder=lengths).encode_text("type0").shape
        (1, 50)
        """
        model = super().load(dir_path, adata, accelerator, device, prefix)
        model._cell_encoder = cell_encoder
        if text_encoder is not None:
            model._text_encoder = model._checked(text_encoder)
        return model

    def _checked(self, encoder: str | Callable[[list[str]], Any]) -> TextEncoder:
        found = text_encoder(encoder, self._corpus())
        check_same(found, self.text_encoder_name_, self.module.probes.cpu().numpy())
        return found

    @property
    def text_encoder(self) -> TextEncoder:
        """What makes vectors of texts.

        Raises
        ------
        RuntimeError
            If it is a function, and the model was loaded without it.
        ValueError, FileNotFoundError, ImportError
            If what has its name now is another one, or nothing.

        Examples
        --------
        >>> import couplevi as cvi
        >>> mdata = cvi.data.count_clusters(n_obs=100)
        >>> adata = mdata["rna"].copy()
        >>> adata.obs["type"] = mdata.obs["cell_type"].astype(str)
        >>> cvi.model.CellText.setup_anndata(adata, labels_key="type")
        >>> encoder = cvi.model.CellText(adata).text_encoder
        >>> encoder.name, len(encoder(["a round cell", "a long cell"]))
        ('tfidf', 2)
        """
        if self._text_encoder is None:
            if self.text_encoder_is_function_:
                what = f"the function {self.text_encoder_name_!r} that the model was made with"
                raise RuntimeError(expected(what, "none", "Pass it: `CellText.load(folder, text_encoder=...)`."))
            self._text_encoder = self._checked(self.text_encoder_name_)
        return self._text_encoder

    def __repr__(self) -> str:
        state = "trained" if self.is_trained_ else "not trained"
        source = f"cells by {self.cell_encoder_name_!r}" if self.cell_encoder_name_ else "cells by their values"
        return f"CellText model, {state}, {len(self.labels_)} types, texts by {self.text_encoder_name_!r}, {source}"

    def _corpus(self) -> list[str]:
        return sorted({text for texts in self.descriptions_.values() for text in texts})

    def _column(self) -> str:
        setup = self.registry_["setup_args"]
        return setup["labels_key"] or setup["text_key"]

    def _types_of(self, adata: AnnData) -> IntArray:
        """Place of the type of each cell, -1 where it has none that was learned."""
        return pd.Index(self.labels_).get_indexer(pd.Index(column_texts(adata, self._column()), dtype=object))

    def _stand_in(self, modality: str) -> FloatArray | None:
        if self.cell_encoder_name_ is not None:
            return None
        mean = self.module.observation.preparation.mean.cpu().numpy()
        return np.zeros_like(mean) if self.counted_ else mean  # of counts, the preparation takes them out

    def _build_module(self) -> CellTextModule:
        s = self.settings_
        n_tokens, size = self.token_shape_
        module = CellTextModule(
            size if self.cell_encoder_name_ is not None else len(self.var_names_[SINGLE]),
            self.n_components_[SINGLE],
            n_text=self.n_text_,
            n_types=len(self.labels_),
            n_probes=len(PROBES),
            n_tokens=size if s.projector == "qformer" else 0,
            n_hidden=s.n_hidden,
            n_queries=s.n_queries,
            dropout_rate=s.dropout_rate,
            name_dropout_rate=s.name_dropout_rate,
        )
        if self.prompt_shape_ is not None:
            module.prompts = SoftPrompts(module.n_prepared, *self.prompt_shape_)
        return module

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
        """Fit where types and texts are, then train what is learned on top; a second call trains on.

        Parameters
        ----------
        max_epochs
            Passes through the data. None takes the settings': as many as make `n_steps` steps, and at least 20 up to
            10,000 steps.
        %(hardware)s
        train_size
            Share of the cells that is trained on, in (0, 1]; what is fitted in closed form is fitted to all.
        validation_size
            Share of the cells that is validated on; None takes all that are not trained on.
        shuffle_set_split
            Split at random.
        batch_size
            Largest number of cells per step; None takes the settings'.
        early_stopping
            Stop when the validation loss has not improved for 45 epochs, and return to the best weights. None: if there
            are validation cells.
        %(checkpoint)s
        %(step_kwargs)s
        %(trainer_kwargs)s

        Raises
        ------
        ValueError
            If the model has no data, or these no cells of its types, a number is out of range, early stopping lacks
            validation cells, this machine lacks the hardware, or the checkpoint is that of another model.
        TypeError
            If an argument is of another kind, or unknown.
        RuntimeError
            If the loss or a weight is not finite from the first epoch on; the weights are then those from before. If
            that happens later, training stops with a warning and the best weights so far.

        Examples
        --------
        >>> import couplevi as cvi
        >>> mdata = cvi.data.count_clusters(n_obs=100)
        >>> adata = mdata["rna"].copy()
        >>> adata.obs["type"] = mdata.obs["cell_type"].astype(str)
        >>> cvi.model.CellText.setup_anndata(adata, labels_key="type")
        >>> model = cvi.model.CellText(adata, n_pcs=10)
        >>> model.train(max_epochs=2, enable_progress_bar=False)
        >>> model
        CellText model, trained, 5 types, texts by 'tfidf', cells by their values
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
        with TrainingRun(self) as run:
            types = self._types_of(self._registered().data)
            if (types < 0).all():
                what = f"cells of types of the model in `adata.obs[{self._column()!r}]`"
                raise ValueError(expected(what, "none"))
            h = self._fit_places(types) if not self.is_trained_ else self._cells(None)
            text_of = self._set_views()
            dataset, order = training_data(h, np.where(types >= 0, text_of[types], -1))
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
            scheduled = {name: getattr(settings, name) for name in PLAN_SETTINGS}
            best = length.best_weights()
            patience = {"early_stopping_patience": settings.patience} if settings.patience else {}
            run.fit(
                splitter,
                CellTextTrainingPlan(self.module, **scheduled | (plan_kwargs or {})),
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
            for name in INDICES:
                if (units := getattr(self, name)) is not None:
                    setattr(self, name, np.sort(order[dataset.places(units)[SINGLE]]))
        best.warn()

    def _fit_places(self, types: IntArray) -> FloatArray:
        """Fit all that is fitted in closed form; what the module reads of all cells."""
        adata, preparation = self._registered().data, self.module.observation.preparation
        missing = np.setdiff1d(np.arange(len(self.labels_)), types)
        if len(missing):
            what = f"cells of all types of the model in `adata.obs[{self._column()!r}]`"
            raise ValueError(expected(what, f"none of {listing([self.labels_[i] for i in missing])}"))
        if self.cell_encoder_name_ is None:
            matrix = self.reader(SINGLE).read(adata)
            values = self._logs(matrix)
            record = fit_modality(values, self.reader(SINGLE), self.n_components_[SINGLE], "variance")
            for name, value in fit_noise(matrix, values, record, counted=self.counted_).items():
                self.module.get_buffer(name).copy_(torch.as_tensor(value))
        else:
            values = pooled(represented(self._cell_function(), adata))
            record = fit_preparation(values, self.n_components_[SINGLE], "variance")
        preparation.fill(record)
        h = self._cells(None)
        known, n = np.flatnonzero(types >= 0), self.module.n_prepared
        texts, shrinkage = self.module.texts.cpu().numpy().astype(np.float64), self.settings_.shrinkage
        fitted = fit_prototypes(h[known, :n], types[known], texts, shrinkage)
        if len(known) > MOST_CALIBRATED:
            known = np.sort(np.random.default_rng(0).choice(known, MOST_CALIBRATED, replace=False))
        fitted = calibrated(fitted, refit(values[known], self.n_components_[SINGLE]), types[known], texts, shrinkage)
        learned = types >= 0
        self.module.fill(fitted, h[learned, :n])
        if len(self.labels_) < FEWEST_TYPES:
            warn(
                f"With {len(self.labels_)} types none can be held out: how far texts can be trusted where types of both "
                f"kinds, seen and not seen, are compared is not calibrated. It takes {FEWEST_TYPES}."
            )
        return h

    def _set_views(self) -> IntArray:
        """Tell the module the different texts; which of them each type has."""
        texts = self.module.texts.cpu().numpy()
        vectors, first, text_of = np.unique(texts, axis=0, return_index=True, return_inverse=True)
        if self.settings_.name_dropout_rate:
            without = self._vectors([nameless(self.descriptions_[self.labels_[i]]) for i in first])
        else:
            without = vectors
        self.module.set_views(vectors, without)
        return text_of

    # reading

    def _logs(self, matrix: Matrix) -> Matrix:
        return logarithms(matrix, self.reader(SINGLE).where) if self.counted_ else matrix

    def _cells(self, adata: AnnData | None, batch_size: int | None = None) -> FloatArray:
        """What the module reads of cells, shape ``(n, n_prepared + n_tokens * size)``, float32."""
        step = CHUNK if batch_size is None else batch_size
        check_count(step, "batch_size")
        registered = self._registered(adata)
        record = self.module.observation.preparation.record()
        if self.cell_encoder_name_ is None:
            logs = self._logs(registered.values(SINGLE))
            record = preparation_of(record, registered, SINGLE, self.counted_)
            parts = [x for _, x in chunks(logs, record, step)]
            return np.concatenate(parts) if parts else np.empty((0, self.module.n_prepared), dtype=np.float32)
        n_tokens, size = self.token_shape_
        values = represented(self._cell_function(), registered.data, size, tokens=n_tokens > 0)
        prepared = record.transform(pooled(values))
        if self.settings_.projector != "qformer":
            return prepared
        return np.concatenate([prepared, flat_tokens(values, record, n_tokens)], axis=1)

    def _cell_function(self) -> CellEncoder:
        if self._cell_encoder is None:
            what = f"the cell encoder {self.cell_encoder_name_!r} that the model was made with"
            raise RuntimeError(expected(what, "none", "Pass it: `CellText.load(folder, cell_encoder=...)`."))
        return self._cell_encoder

    def _vectors(self, texts: Sequence[Sequence[str]]) -> FloatArray:
        """Vector of each of some texts, or of several that are averaged."""
        return text_vectors(self.text_encoder, texts)

    @torch.inference_mode()
    def _encoded(self, h: FloatArray, batch_size: int | None = None) -> FloatArray:
        self.module.eval()
        step = batch_size or CHUNK
        parts = [self.module.encode(torch.from_numpy(h[i : i + step])).cpu().numpy() for i in range(0, len(h), step)]
        return np.concatenate(parts) if parts else np.empty((0, self.module.n_prepared), dtype=np.float32)

    # inference

    @fill_docs
    def get_latent_representation(self, adata: AnnData | None = None, *, batch_size: int | None = None) -> FloatArray:
        """Place cells in the space that they share with texts.

        Parameters
        ----------
        %(modelled)s
        %(chunk)s

        Returns
        -------
        Shape ``(n_obs, n_dimensions)``, float32; rows have length 1. The cosine with a text is their product.

        Raises
        ------
        RuntimeError
            If the model is not trained.
        KeyError, ValueError
            If data lack the layer, the representation, or more than a fifth of the features.

        Examples
        --------
        >>> import couplevi as cvi
        >>> mdata = cvi.data.count_clusters(n_obs=100)
        >>> adata = mdata["rna"].copy()
        >>> adata.obs["type"] = mdata.obs["cell_type"].astype(str)
        >>> quick = {"max_epochs": 2, "enable_progress_bar": False}
        >>> model = cvi.tl.celltext(adata, labels_key="type", n_pcs=10, train_kwargs=quick)
        >>> model.get_latent_representation(adata[:20]).shape
        (20, 10)
        """
        self._check_if_trained(warn=False)
        return self._encoded(self._cells(adata, batch_size), batch_size)

    @torch.inference_mode()
    def encode_text(self, texts: str | Sequence[str]) -> FloatArray:
        """Place texts in the space that they share with cells.

        Parameters
        ----------
        texts
            One or more texts; a label of the model stands for its description.

        Returns
        -------
        Shape ``(n_texts, n_dimensions)``, float32; rows have length 1.

        Raises
        ------
        RuntimeError
            If the model is not trained, or its text encoder is not there.
        ValueError
            If there are no texts.

        Examples
        --------
        >>> import couplevi as cvi
        >>> mdata = cvi.data.count_clusters(n_obs=100)
        >>> adata = mdata["rna"].copy()
        >>> adata.obs["type"] = mdata.obs["cell_type"].astype(str)
        >>> quick = {"max_epochs": 2, "enable_progress_bar": False}
        >>> model = cvi.tl.celltext(adata, labels_key="type", n_pcs=10, train_kwargs=quick)
        >>> cosines = model.get_latent_representation() @ model.encode_text(["type0", "a long cell"]).T
        >>> cosines.shape
        (100, 2)
        """
        self._check_if_trained(warn=False)
        names = as_texts(texts, "texts")
        vectors = self._vectors([self.descriptions_.get(name, [name]) for name in names])
        self.module.eval()
        return self.module.encode_text(torch.from_numpy(vectors)).cpu().numpy()

    @fill_docs
    def annotate(
        self,
        adata: AnnData | None,
        labels: Sequence[str],
        *,
        descriptions: Mapping[str, str | Sequence[str]] | None = None,
        batch_size: int | None = None,
    ) -> pd.DataFrame:
        """Probability that each cell is of each of some types, whether or not these were seen in training.

        Types that were seen, with the text that they had then, are compared by where their cells are; others by where
        their text says that they are. Which of the two a cell is, is decided by a threshold that was set on types that
        were held out in training.

        Parameters
        ----------
        %(named)s
        %(cells_read)s

        Returns
        -------
        Cells by labels; rows sum to 1. Probabilities were calibrated by types that were held out.

        Raises
        ------
        RuntimeError
            If the model is not trained, or its text encoder is needed and not there.
        ValueError
            If there are no labels, or one occurs twice; or as :meth:`get_latent_representation`.

        Examples
        --------
        >>> import couplevi as cvi
        >>> mdata = cvi.data.count_clusters(n_obs=200)
        >>> adata = mdata["rna"].copy()
        >>> adata.obs["type"] = mdata.obs["cell_type"].astype(str)
        >>> quick = {"max_epochs": 2, "enable_progress_bar": False}
        >>> model = cvi.tl.celltext(adata, labels_key="type", n_pcs=10, train_kwargs=quick)
        >>> probable = model.annotate(adata, ["type0", "type1", "a long cell"])
        >>> probable[adata.obs["type"] == "type1"].mean().idxmax()
        'type1'
        """
        names = as_labels(labels, "labels")
        scores, cells = self._scores(adata, names, descriptions, batch_size)
        p = np.exp(self.module.prototypes.record().log_probabilities(scores))
        return pd.DataFrame(p, index=cells, columns=pd.Index(names))

    @fill_docs
    def get_typicality(
        self,
        adata: AnnData | None,
        labels: Sequence[str],
        *,
        descriptions: Mapping[str, str | Sequence[str]] | None = None,
        batch_size: int | None = None,
    ) -> pd.Series:
        """How typical each cell is of the nearest of some types: near 0 if it is of none of them.

        The squared distance from the nearest type, as the share of cells of the types compared that are further away,
        counted on cells, and types, that were held out in training. Cells of the data of the model are further from all,
        as its components fit their noise, too: for these the distances are scaled.

        Parameters
        ----------
        %(named)s
        %(cells_read)s

        Returns
        -------
        In [0, 1].

        Raises
        ------
        RuntimeError, ValueError
            As :meth:`annotate`.

        Examples
        --------
        >>> import couplevi as cvi
        >>> mdata = cvi.data.count_clusters(n_obs=200)
        >>> adata = mdata["rna"].copy()
        >>> adata.obs["type"] = mdata.obs["cell_type"].astype(str)
        >>> quick = {"max_epochs": 2, "enable_progress_bar": False}
        >>> model = cvi.tl.celltext(adata, labels_key="type", n_pcs=10, train_kwargs=quick)
        >>> model.get_typicality(adata, ["type0"]).groupby(adata.obs["type"]).median().idxmax()
        'type0'
        """
        scores, cells = self._scores(adata, as_labels(labels, "labels"), descriptions, batch_size)
        typicality = self.module.prototypes.record().typicality(scores, own=self._is_own(adata))
        return pd.Series(typicality, index=cells, name="typicality")

    def _is_own(self, adata: AnnData | None) -> bool:
        """Whether cells are of the data of the model: those, a copy, or a part of them."""
        if adata is None:
            return True
        if self.adata is None:
            return False
        own = self.adata_manager.adata_uuid  # set-up wrote it into `uns`, which copies keep
        return any(isinstance(value, str) and value == own for value in adata.uns.values())

    def _scores(
        self,
        adata: AnnData | None,
        names: Sequence[str],
        descriptions: Mapping[str, str | Sequence[str]] | None,
        batch_size: int | None,
    ) -> tuple[Scores, pd.Index]:
        """How well each of some types explains each cell, and names of the cells."""
        self._check_if_trained(warn=False)
        if len(set(names)) < len(names):
            raise ValueError(expected("each of `labels` once", "one of them twice"))
        means, n_cells = self._types(names, descriptions)
        record = self.module.prototypes.record()
        z = record.place(self._cells(adata, batch_size)[:, : self.module.n_prepared].astype(np.float64))
        if not len(z):
            raise ValueError(expected("at least one cell", "none"))
        return record.scores(z, means, n_cells), self._registered(adata).obs_names

    def _types(
        self, names: Sequence[str], descriptions: Mapping[str, str | Sequence[str]] | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Where types are, or are expected by their texts, and the number of their cells, 0 of those not seen."""
        record = self.module.prototypes.record()
        given = as_descriptions(descriptions)
        texts = [given.get(name, self.descriptions_.get(name, [name])) for name in names]
        place = pd.Index(self.labels_).get_indexer(pd.Index(names))
        seen = np.array(
            [i >= 0 and own == self.descriptions_[self.labels_[i]] for i, own in zip(place, texts, strict=True)]
        )
        means, n_cells = record.means[place].copy(), record.n_cells[place].copy()
        if not seen.all():
            new = np.flatnonzero(~seen)
            means[new] = record.expected(self._vectors([texts[i] for i in new]).astype(np.float64))
            n_cells[new] = 0
        return means, n_cells

    def retrieve_cells(
        self, text: str, k: int = 50, *, adata: AnnData | None = None, batch_size: int | None = None
    ) -> pd.DataFrame:
        """The cells that are near a text, and nearer to it than to the texts of training.

        By the cosine alone, cells that are near many texts would be found by any. So the text competes for each cell with
        those that the model was trained on, in a softmax of 7 times the cosines, where each of these weighs 1 minus its
        cosine with the text.

        Parameters
        ----------
        text
            Any text, or a label of the model.
        k
            Number of cells.
        adata
            Cells to look among; None takes those of the model.
        batch_size
            Cells read at a time; None is 4,096.

        Returns
        -------
        `score`, the share of the text, in [0, 1], by name of the cell, best first: near 0 if texts of training say more
        of the cell. It is no probability, and compares cells and texts of one model only.

        Raises
        ------
        RuntimeError
            If the model is not trained, or its text encoder is not there.
        TypeError
            If `text` is not one text.
        ValueError
            If `k` is not a positive whole number; or as :meth:`get_latent_representation`.

        References
        ----------
        Smith et al., Offline bilingual word vectors, orthogonal transformations and the inverted softmax, ICLR 2017.

        Examples
        --------
        >>> import couplevi as cvi
        >>> mdata = cvi.data.count_clusters(n_obs=200)
        >>> adata = mdata["rna"].copy()
        >>> adata.obs["type"] = mdata.obs["cell_type"].astype(str)
        >>> quick = {"max_epochs": 5, "enable_progress_bar": False}
        >>> model = cvi.tl.celltext(adata, labels_key="type", seed=0, n_pcs=10, train_kwargs=quick)
        >>> adata.obs["type"][model.retrieve_cells("type0", k=3).index].tolist()
        ['type0', 'type0', 'type0']
        """
        check_count(k, "k")
        if not isinstance(text, str):
            raise TypeError(expected("one text as `text`", repr(text), "Ask for each in turn."))
        cells = self.get_latent_representation(adata, batch_size=batch_size)
        score = shares(cells, self.encode_text(text)[0], self._known_texts())
        best = np.argsort(-score, kind="stable")[:k]
        return pd.DataFrame({"score": score[best]}, index=self._registered(adata).obs_names[best])

    @torch.inference_mode()
    def _known_texts(self) -> FloatArray:
        """Places of the different texts of training, of length 1, shape ``(n_texts, n_dimensions)``."""
        self.module.eval()
        return self.module.encode_text(self.module.texts.unique(dim=0)).cpu().numpy()

    def retrieve_texts(
        self,
        adata: AnnData | None = None,
        corpus: Sequence[str] | None = None,
        k: int = 5,
        *,
        groupby: str | None = None,
        batch_size: int | None = None,
    ) -> pd.DataFrame:
        """The texts nearest to each cell, or to each group of cells.

        Parameters
        ----------
        adata
            New data; None takes those of the model.
        corpus
            Texts to choose from; None takes the labels of the model.
        k
            Number of texts.
        groupby
            Column of ``adata.obs``: texts nearest to the mean of each group, such as a cluster.
        batch_size
            Cells read at a time; None is 4,096.

        Returns
        -------
        A row for each cell or group and rank: `cell` or `group`, `rank` (1 is the best), `text` and `score`, the cosine.

        Raises
        ------
        RuntimeError
            If the model is not trained, or its text encoder is not there.
        KeyError
            If there is no such column.
        ValueError
            If there are no cells, texts or groups, groups are measurements, or `k` is not a positive whole number; or as
            :meth:`get_latent_representation`.

        Examples
        --------
        >>> import couplevi as cvi
        >>> mdata = cvi.data.count_clusters(n_obs=200)
        >>> adata = mdata["rna"].copy()
        >>> adata.obs["type"] = mdata.obs["cell_type"].astype(str)
        >>> quick = {"max_epochs": 5, "enable_progress_bar": False}
        >>> model = cvi.tl.celltext(adata, labels_key="type", seed=0, n_pcs=10, train_kwargs=quick)
        >>> nearest = model.retrieve_texts(groupby="type", k=1)
        >>> nearest["group"].tolist(), (nearest["text"] == nearest["group"]).all().item()
        (['type0', 'type1', 'type2', 'type3', 'type4'], True)
        """
        check_count(k, "k")
        texts = list(self.labels_) if corpus is None else list(dict.fromkeys(as_texts(corpus, "corpus")))
        data = self._registered(adata)
        cells, names, what = self.get_latent_representation(adata, batch_size=batch_size), data.obs_names, "cell"
        if groupby is not None:
            groups = pd.Series(column_texts(data.data, groupby))
            check_classes(column_values(data.data, groupby), groupby)
            if groups.isna().all():
                raise ValueError(expected(f"groups in column {groupby!r}", "none"))
            names, what = pd.Index(sorted(groups.dropna().unique())), "group"
            cells = np.stack([cells[(groups == group).to_numpy()].mean(axis=0) for group in names])
            cells /= np.linalg.norm(cells, axis=1, keepdims=True)
        if not len(cells):
            raise ValueError(expected("at least one cell", "none"))
        best, score = nearest(cells, self.encode_text(texts), k)
        n = best.shape[1]
        return pd.DataFrame(
            {
                what: np.repeat(names, n),
                "rank": np.tile(np.arange(1, n + 1), len(names)),
                "text": np.asarray(texts, dtype=object)[best].ravel(),
                "score": score.ravel(),
            }
        )

    # texts of cells

    def fit_descriptions(
        self,
        language_model: Any,
        tokenizer: Any,
        *,
        n_prompts: int = 8,
        max_epochs: int = 10,
        batch_size: int = 32,
        lr: float = 1e-3,
        tune_language_model: bool = False,
        progress_bar: bool = True,
    ) -> list[float]:
        """Let a language model of yours describe cells: it reads a few vectors for each, which are learned here.

        Parameters
        ----------
        language_model, tokenizer
            A causal language model of transformers and its tokenizer, loaded by you. They are not saved.
        n_prompts
            Number of vectors that stand for a cell.
        max_epochs, batch_size, lr
            Of the training, with AdamW.
        tune_language_model
            Train the language model, too, in place; else it stays as it is.
        progress_bar
            Show progress.

        Returns
        -------
        Negative log-likelihood of the words of the descriptions, in nats, by epoch.

        Raises
        ------
        RuntimeError
            If the model is not trained.
        TypeError
            If the language model is none.
        ValueError
            If a number is out of range, or the model has no data.

        Examples
        --------
        >>> import couplevi as cvi
        >>> from tokenizers import Tokenizer
        >>> from tokenizers.models import WordLevel
        >>> from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
        >>> mdata = cvi.data.count_clusters(n_obs=100, n_clusters=5)
        >>> adata = mdata["rna"].copy()
        >>> adata.obs["type"] = mdata.obs["cell_type"].astype(str)
        >>> quick = {"max_epochs": 2, "enable_progress_bar": False}
        >>> model = cvi.tl.celltext(adata, labels_key="type", n_pcs=10, train_kwargs=quick)
        >>> words = {"<eos>": 0} | {label: i for i, label in enumerate(model.labels_, 1)}
        >>> tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel(words)), eos_token="<eos>")
        >>> config = GPT2Config(vocab_size=6, n_embd=16, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0)
        >>> losses = model.fit_descriptions(GPT2LMHeadModel(config), tokenizer, max_epochs=3, progress_bar=False)
        >>> len(losses), losses[-1] < losses[0]
        (3, True)
        """
        self._check_if_trained(warn=False)
        for name, value in (("n_prompts", n_prompts), ("max_epochs", max_epochs), ("batch_size", batch_size)):
            check_count(value, name)
        check_number(lr, "lr")
        types = self._types_of(self._registered().data)
        cells = self.get_latent_representation()[types >= 0]
        prompts = SoftPrompts(self.module.n_prepared, n_prompts, word_width(language_model)).to(self.module.device)
        losses = fit_prompts(
            prompts,
            language_model,
            tokenizer,
            cells,
            [self.descriptions_[label][0] for label in self.labels_],
            types[types >= 0],
            max_epochs=max_epochs,
            batch_size=batch_size,
            lr=lr,
            tune=tune_language_model,
            shown=progress_bar,
        )
        self.prompt_shape_ = (n_prompts, prompts.width)
        self.module.prompts = prompts
        return losses

    def describe(
        self,
        adata: AnnData | None = None,
        *,
        corpus: Sequence[str] | None = None,
        language_model: Any = None,
        tokenizer: Any = None,
        batch_size: int | None = None,
        **generate_kwargs: Any,
    ) -> pd.DataFrame:
        """A text for each cell: the nearest of some, or what a language model says.

        Parameters
        ----------
        adata
            New data; None takes those of the model.
        corpus
            Texts to choose from; None takes the descriptions that the model knows.
        language_model, tokenizer
            Language model of the transformers library, and what cuts its texts into words, with which
            :meth:`fit_descriptions` was called; None retrieves.
        batch_size
            Cells at a time; None is 4,096, and 32 for a language model.
        **generate_kwargs
            Arguments of the language model's ``generate``, such as `max_new_tokens` (64).

        Returns
        -------
        `text`, `score` (the cosine of cell and text, NaN where a language model says nothing) and `source`, ``"retrieved"`` or ``"generated"``, by name of
        the cell.

        Raises
        ------
        RuntimeError
            If the model is not trained, or has not learned to prompt a language model.
        ValueError
            If the language model has words of another size; or as :meth:`retrieve_texts`.
        TypeError
            If arguments of a language model come without one.

        Examples
        --------
        >>> import couplevi as cvi
        >>> mdata = cvi.data.count_clusters(n_obs=200)
        >>> adata = mdata["rna"].copy()
        >>> adata.obs["type"] = mdata.obs["cell_type"].astype(str)
        >>> texts = {"type0": "large and round cells", "type1": "small and round cells", "type2": "long cells"}
        >>> quick = {"max_epochs": 2, "enable_progress_bar": False}
        >>> model = cvi.tl.celltext(adata, labels_key="type", descriptions=texts, n_pcs=10, train_kwargs=quick)
        >>> told = model.describe(adata[:20])
        >>> told.shape, told.columns.tolist(), told["source"].unique().tolist()
        ((20, 3), ['text', 'score', 'source'], ['retrieved'])
        """
        self._check_if_trained(warn=False)
        if language_model is None:
            if generate_kwargs or tokenizer is not None:
                raise TypeError(
                    expected("`language_model` with its arguments", sorted(["tokenizer", *generate_kwargs]))
                )
            texts = self._corpus() if corpus is None else as_texts(corpus, "corpus")
            found = self.retrieve_texts(adata, texts, 1, batch_size=batch_size).set_index("cell")
            return found[["text", "score"]].assign(source="retrieved")
        if self.prompt_shape_ is None:
            remedy = "Call `model.fit_descriptions(language_model, tokenizer)` first."
            raise RuntimeError(
                expected("a model that has learned to prompt a language model", "one that has not", remedy)
            )
        if word_width(language_model) != self.prompt_shape_[1]:
            what = f"the language model of `fit_descriptions`, with words of size {self.prompt_shape_[1]}"
            raise ValueError(expected(what, f"one of size {word_width(language_model)}"))
        cells = self.get_latent_representation(adata)
        options = {"max_new_tokens": 64, "do_sample": False} | generate_kwargs
        told = described(self.module.prompts, language_model, tokenizer, cells, batch_size=batch_size or 32, **options)
        score = np.full(len(told), np.nan, dtype=np.float32)
        if says := [i for i, text in enumerate(told) if text]:
            score[says] = (cells[says] * self.encode_text([told[i] for i in says])).sum(axis=1)
        names = self._registered(adata).obs_names
        return pd.DataFrame({"text": told, "score": score, "source": "generated"}, index=names)

    # cells of texts

    def generate(
        self,
        texts: str | Sequence[str],
        n_cells: int = 100,
        *,
        library_size: float | None = None,
        decoder: Callable[[FloatArray], AnnData] | None = None,
        seed: int = 0,
    ) -> AnnData:
        """Synthetic cells of texts: places around the one that the text stands for, and what is measured there.

        Nothing of a real cell enters but what the model has learned of all of them.

        Parameters
        ----------
        texts
            One or more texts; a label of the model, or its description, stands for its type.
        n_cells
            Number of cells of each.
        library_size
            Total counts of each cell, at least 1. None takes sizes as they were seen, of a model of counts; of another one
            it adds no counts.
        decoder
            Of a model of a representation: what makes an AnnData of its rows, such as that of the model which they are
            the latents of: ``lambda z: jamie.decode(z, modality="rna")``. None leaves the representation.
        seed
            Reproduces the cells.

        Returns
        -------
        AnnData with ``obs["text"]``. Of a model of counts ``X`` holds counts; of other values ``X`` is in their units,
        and with `library_size` ``layers["counts"]`` holds Poisson counts in the proportions that the values are the
        logarithms (plus 1) of. Of a representation it is in ``obsm``, under its key or ``"representation"``, beside what
        the decoder gives.

        Raises
        ------
        RuntimeError
            If the model is not trained, or its text encoder is needed and not there.
        ValueError
            If there are no texts, a number is out of range, or a decoder comes with a model of values.

        Examples
        --------
        >>> import couplevi as cvi
        >>> mdata = cvi.data.count_clusters(n_obs=200)
        >>> adata = mdata["rna"].copy()
        >>> adata.obs["type"] = mdata.obs["cell_type"].astype(str)
        >>> quick = {"max_epochs": 2, "enable_progress_bar": False}
        >>> model = cvi.tl.celltext(adata, labels_key="type", n_pcs=10, train_kwargs=quick)
        >>> cells = model.generate(["type0", "a long cell"], n_cells=20)
        >>> cells.shape, cells.obs["text"].unique().tolist()
        ((40, 500), ['type0', 'a long cell'])
        """
        self._check_if_trained(warn=False)
        check_count(n_cells, "n_cells")
        if library_size is not None:
            check_number(library_size, "library_size", 1.0)
        names, reader = as_texts(texts, "texts"), self.reader(SINGLE)
        of_values = self.cell_encoder_name_ is None and reader.attribute != "obsm"
        if decoder is not None and of_values:
            raise ValueError(expected("a `decoder` for a model of a representation", "a model of values"))
        record, rng = self.module.prototypes.record(), np.random.default_rng(seed)
        label_of = {text: label for label in self.labels_ for text in self.descriptions_[label]}
        labels = [label_of.get(name, name) for name in names]
        means, seen = self._types(labels)
        own = record.spreads[pd.Index(self.labels_).get_indexer(pd.Index(labels))]
        sd = np.sqrt(np.where(seen[:, None] > 0, own, 1.0))
        noise_of_cells = rng.standard_normal((len(names) * n_cells, means.shape[1]))
        z = np.repeat(means, n_cells, axis=0) + np.repeat(sd, n_cells, axis=0) * noise_of_cells
        h = np.linalg.solve(record.whitening.T, (z + record.centre).T).T
        values = self.module.observation.preparation.record().inverse(h.astype(np.float32))
        obs = pd.DataFrame({"text": np.repeat(names, n_cells)}, index=[f"generated_{i}" for i in range(len(z))])
        if not of_values:
            key = reader.key if self.cell_encoder_name_ is None else "representation"
            cells = ad.AnnData(obs=obs) if decoder is None else decoder(values)
            cells.obs_names = obs.index
            cells.obs["text"] = obs["text"]
            cells.obsm[str(key)] = values
            return cells
        noise = {name: self.module.get_buffer(name).cpu().numpy().astype(np.float64) for name in NOISE}
        lowest = self.ranges_[SINGLE][0] if SINGLE in self.ranges_ else -np.inf  # of data read in parts
        cells = drawn_cells(values, noise, library_size, rng, counted=self.counted_, lowest=lowest)
        cells.obs, cells.var_names = obs, pd.Index(self.var_names_[SINGLE])
        return cells

    def route(self, texts: str | Sequence[str]) -> Route:
        """Way from features to the cosine of a cell with texts, differentiable in between.

        What explanations are made of, see :func:`couplevi.tl.explain_text`: a copy of the network, without randomness.

        Parameters
        ----------
        texts
            Any texts, or labels of the model.

        Returns
        -------
        :class:`~couplevi.nn.Route` from registered values, of counts from their logarithms.

        Raises
        ------
        RuntimeError
            If the model is not trained.
        ValueError
            If it reads tokens, from which there is no such way.

        Examples
        --------
        >>> import couplevi as cvi
        >>> mdata = cvi.data.count_clusters(n_obs=100)
        >>> adata = mdata["rna"].copy()
        >>> adata.obs["type"] = mdata.obs["cell_type"].astype(str)
        >>> quick = {"max_epochs": 2, "enable_progress_bar": False}
        >>> model = cvi.tl.celltext(adata, labels_key="type", n_pcs=10, train_kwargs=quick)
        >>> model.route(["type0", "a long cell"]).names
        ['type0', 'a long cell']
        """
        self._check_if_trained(warn=False)
        if self.settings_.projector == "qformer":
            raise ValueError(expected("a model that reads features", "one that reads tokens"))
        return make_text_route(self.module, as_texts(texts, "texts"), self.encode_text(texts))
