from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any, Literal

from couplevi._docs import fill_docs
from couplevi._validate import SMALLEST, check_count, check_fraction, check_known, check_number, check_option, expected


@fill_docs
@dataclass(frozen=True, kw_only=True)
class JAESettings:
    """Architecture, objective and schedule of a JAE model.

    Attributes
    ----------
    n_free
        Number of latent dimensions for what is not known of cells.
    n_pcs
        Principal components that each modality is reduced to, at least 1: a number for all, or a mapping from modality
        to number or None. None uses the standardised features themselves, as does a modality with no more than that
        many, or, where the number is that of a preset, with at most 100.
    encoder_widths
        Width of each hidden layer of the encoder; the decoder has them in reverse.
    dropout_rate, input_dropout_rate
        Probability in [0, 1) that a hidden unit, or a prepared feature, is hidden from the encoder in training.
    modality_dropout_rate
        Probability in [0, 1) that a modality of a cell which has others is hidden from the encoder in training, so that
        cells that lack it are placed among those that do not.
    batch
        ``"covariate"``: the decoder reads the batch, so that the latent need not hold it. ``"uniform"``: the latent has a
        dimension for each batch that is trained to be the same for all, as published; it does not forget it by that.
    embedding
        ``"balanced"``: probabilities of the labels and the other dimensions, with the same total variance. ``"latent"``:
        the latent itself, as published.
    reconstruction_weight, label_weight, batch_weight, cell_cycle_weight
        Weights of the terms of the objective, at least 0; 0 switches a term off.
    label_smoothing
        Share, in [0, 1), of the target of a label that is spread over all labels.
    guess_threshold
        Probability from which on the predicted label of a cell without one counts in training, by its square; 1 lets
        none count.
    guess_start
        Share of the training, in [0, 1], before which none does.
    batch_size
        Largest number of cells drawn per step.
    n_steps
        Optimiser steps of a training, of more if these are not 20 passes through the data, but then at most 10,000; None
        if `max_epochs` is given.
    max_epochs
        Epochs of a training; None if `n_steps` is given.
    %(optimiser)s
    gradient_clip
        Largest norm of the gradient.
    %(patience)s

    Examples
    --------
    >>> import couplevi as cvi
    >>> settings = cvi.model.JAESettings(n_free=8, encoder_widths=(64,))
    >>> mdata = cvi.data.count_clusters(n_obs=100)
    >>> cvi.model.JAE.setup_mudata(mdata, modalities=("rna", "atac"), labels_key="cell_type")
    >>> cvi.model.JAE(mdata, settings)
    JAE model, not trained, 5 labels, n_free: 8, atac: 1000 features, rna: 500 features
    """

    n_free: int = 20
    n_pcs: int | Mapping[str, int | None] | None = 100
    encoder_widths: tuple[int, ...] = (128, 128)
    dropout_rate: float = 0.1
    input_dropout_rate: float = 0.2
    modality_dropout_rate: float = 0.1
    batch: Literal["covariate", "uniform"] = "covariate"
    embedding: Literal["balanced", "latent"] = "balanced"
    reconstruction_weight: float = 1.0
    label_weight: float = 0.2
    batch_weight: float = 0.0
    cell_cycle_weight: float = 0.05
    label_smoothing: float = 0.1
    guess_threshold: float = 0.8
    guess_start: float = 0.33
    batch_size: int = 128
    n_steps: int | None = 800
    max_epochs: int | None = None
    lr: float = 2e-3
    weight_decay: float = 1e-4
    lr_schedule: Literal["constant", "one_cycle"] = "one_cycle"
    gradient_clip: float = 1.0
    patience: int | None = None

    def __post_init__(self) -> None:
        for name in ("n_free", "batch_size"):
            check_count(getattr(self, name), name)
        for name in ("n_steps", "max_epochs", "patience"):
            if getattr(self, name) is not None:
                check_count(getattr(self, name), name)
        for n_pcs in self.n_pcs.values() if isinstance(self.n_pcs, Mapping) else [self.n_pcs]:
            if n_pcs is not None:
                check_count(n_pcs, "n_pcs")
        if not self.encoder_widths:
            raise ValueError(expected("one or more `encoder_widths`", "none"))
        for width in self.encoder_widths:
            check_count(width, "encoder_widths")
        for name in ("dropout_rate", "input_dropout_rate", "modality_dropout_rate", "label_smoothing"):
            check_fraction(getattr(self, name), name)
        for name in ("guess_threshold", "guess_start"):
            check_number(getattr(self, name), name, 0, 1)
        for field in fields(self):
            if field.name.endswith("_weight") or field.name == "weight_decay":
                check_number(getattr(self, field.name), field.name)
        for name in ("lr", "gradient_clip"):
            check_number(getattr(self, name), name, SMALLEST)
        check_option(self.batch, ("covariate", "uniform"), "batch")
        check_option(self.embedding, ("balanced", "latent"), "embedding")
        check_option(self.lr_schedule, ("constant", "one_cycle"), "lr_schedule")
        if (self.n_steps is None) == (self.max_epochs is None):
            raise ValueError(expected("one of `n_steps` and `max_epochs`", f"{self.n_steps} and {self.max_epochs}"))


JAE_PRESETS: Mapping[str, JAESettings] = MappingProxyType(
    {
        "default": JAESettings(),
        "paper": JAESettings(
            n_free=5,
            encoder_widths=(150, 120, 100),
            input_dropout_rate=0.0,
            modality_dropout_rate=0.0,
            batch="uniform",
            embedding="latent",
            reconstruction_weight=0.7,
            label_weight=0.2,
            batch_weight=0.05,
            cell_cycle_weight=0.05,
            label_smoothing=0.0,
            guess_threshold=1.0,
            batch_size=32,
            n_steps=None,
            max_epochs=500,
            lr=1e-4,
            weight_decay=0.0,
            lr_schedule="constant",
            patience=5,
        ),
    }
)
"""``default``: ours. ``paper``: the published blocks, objective and schedule, with outputs that may be negative."""


def make_jae_settings(preset: str | JAESettings, overrides: Mapping[str, Any]) -> JAESettings:
    """Settings of a preset, or given ones, with some fields replaced; raise TypeError for an unknown field."""
    if not isinstance(preset, JAESettings):
        check_option(preset, list(JAE_PRESETS), "preset")
        preset = JAE_PRESETS[preset]
    check_known(overrides, [field.name for field in fields(JAESettings)])
    given = dict(overrides)
    for name, other in (("n_steps", "max_epochs"), ("max_epochs", "n_steps")):
        if given.get(name) is not None:
            given.setdefault(other, None)
    if "encoder_widths" in given:
        widths = given["encoder_widths"]
        given["encoder_widths"] = tuple(widths) if isinstance(widths, Iterable) else (widths,)
    return replace(preset, **given)
