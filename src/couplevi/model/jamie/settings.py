from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, get_args

from couplevi._docs import fill_docs
from couplevi._validate import (
    SMALLEST,
    check_count,
    check_fraction,
    check_known,
    check_number,
    check_option,
    expected,
)
from couplevi.model._components import DEFAULT_N_PCS

Likelihood: TypeAlias = Literal["gaussian", "nb", "zinb", "poisson", "bernoulli"]


@fill_docs
@dataclass(frozen=True)
class Settings:
    """Architecture, objective and schedule of a JAMIE model.

    Attributes
    ----------
    n_latent
        Number of latent dimensions, at least 1.
    n_private
        Number of latent dimensions of each modality for what it alone knows: its own decoder reads them beside the
        shared ones, no other does. 0 gives every modality the shared ones alone, as in the paper.
    private_dropout_rate
        Probability in [0, 1) that a profile is decoded without them in training, so that the shared ones stay
        sufficient.
    n_pcs
        Principal components of the standardised features that each modality is reduced to, at least 1: a number for
        all, or a mapping from modality to number or None. None uses the features themselves, as does a modality with
        no more than that many, or, where the number is that of a preset, with at most 100.
    likelihoods
        How the values of modalities are explained, by modality; ``"gaussian"`` where it is not named. ``"nb"``,
        ``"zinb"`` and ``"poisson"`` take raw counts, whose library size is their sum in the cell; ``"bernoulli"``
        whether there are any, as of open chromatin. Encoders then read logarithms, of counts per 10,000 where principal
        components are taken, else of counts as they are.
    feature_weights
        Weights of the standardised features in the principal components: ``"communality"``, more for those that vary
        together with others (:func:`~couplevi.preparation.fit_preparation`); ``"coupled"``, which also counts what
        linked profiles of other modalities explain of them (:func:`~couplevi.preparation.fit_coupled`); or ``"equal"``.
    encoder_widths
        Width of each hidden layer of an encoder: a whole number, or a float that multiplies the number of prepared
        features. A decoder has them in reverse.
    normalization, activation
        Names of the normalisation and of the activation function of the hidden layers.
    dropout_rate, input_dropout_rate
        Probability in [0, 1) that a hidden unit, or a prepared feature on its way into an encoder, is dropped.
    reconstruction_weight, cross_reconstruction_weight, combination_weight, contrastive_weight, alignment_weight, \
kl_weight
        Weights of the terms of the objective, at least 0; 0 switches a term off.
    unknown_negative_weight
        Weight in (0, 1], in the contrastive term, of a profile whose true partner is not known.
    normalize_block
        Divide confidences by their sum in the minibatch (the paper does; then they do not matter).
    match_weight
        Share, in [0, 1], of inferred links (`match_key`) in the average over linked latents, the rest being that of
        given links: 0 leaves them to the alignment term alone.
    batch_size
        Largest number of units (pairs or single profiles) drawn per step.
    n_partners
        Largest number of further linked profiles that a profile brings along.
    mixup_alpha
        How strongly pairs are mixed with pairs, and single profiles with single profiles, in training, at least 0:
        shares are drawn from a Beta distribution of this concentration (Zhang et al., 2018); 0 mixes nothing.
    n_steps
        Optimiser steps of a training, rounded up to whole epochs. None takes `max_epochs`, or, without that, follows
        from the number of units: 10 passes through them, but at least 1,600 and at most 10,000 steps.
    max_epochs
        Epochs of a training, given in place of `n_steps`; None otherwise.
    %(optimiser)s
    gradient_clip
        Largest norm of the gradient.
    calibration_size
        Share, in [0, 1), of the pairs that is held back in the first half of training, at least 20 and at most 2,000
        pairs, to measure how far imputations are off. With fewer than 80 pairs, or 0, nothing is held back and there
        are no standard deviations.
    kl_warmup, kl_schedule
        Share of the training in which the weight of the divergence rises from 0 to its value, and how.
    patience
        Epochs without a new best training loss, after the warm-up, at which training stops and returns to the best
        weights; None trains to the end.

    Examples
    --------
    >>> from dataclasses import replace
    >>> import couplevi as cvi
    >>> settings = replace(cvi.model.PRESETS["integration"], n_latent=8, n_steps=400)
    >>> mdata = cvi.data.branching_manifold(n_obs=100)
    >>> cvi.model.JAMIE.setup_mudata(mdata, modalities=("rna", "ephys"), layers={"rna": "log1p"})
    >>> cvi.model.JAMIE(mdata, settings)
    JAMIE model, not trained, n_latent: 8, ephys: 40 features, rna: 400 features in 50 PCs
    """

    n_latent: int = 32
    n_private: int = 16
    private_dropout_rate: float = 0.5
    n_pcs: int | Mapping[str, int | None] | None = DEFAULT_N_PCS
    likelihoods: Mapping[str, Likelihood] = field(default_factory=dict)
    feature_weights: Literal["coupled", "communality", "equal"] = "coupled"
    encoder_widths: tuple[int | float, ...] = (256,)
    normalization: Literal["batch", "layer"] = "layer"
    activation: Literal["gelu", "leaky_relu"] = "gelu"
    dropout_rate: float = 0.6
    input_dropout_rate: float = 0.2
    reconstruction_weight: float = 1.0
    cross_reconstruction_weight: float = 1.0
    combination_weight: float = 1.0
    contrastive_weight: float = 3.0
    alignment_weight: float = 20.0
    kl_weight: float = 1e-3
    unknown_negative_weight: float = 0.3
    normalize_block: bool = False
    match_weight: float = 0.0
    batch_size: int = 256
    n_partners: int = 4
    mixup_alpha: float = 1.0
    n_steps: int | None = None
    max_epochs: int | None = None
    lr: float = 3e-3
    weight_decay: float = 1e-2
    lr_schedule: Literal["constant", "one_cycle"] = "one_cycle"
    gradient_clip: float = 1.0
    calibration_size: float = 0.1
    kl_warmup: float = 0.3
    kl_schedule: Literal["linear", "sigmoid"] = "linear"
    patience: int | None = None

    def __post_init__(self) -> None:
        for name in ("n_latent", "batch_size"):
            check_count(getattr(self, name), name)
        for name in ("n_steps", "max_epochs", "patience"):
            if getattr(self, name) is not None:
                check_count(getattr(self, name), name)
        for n_pcs in self.n_pcs.values() if isinstance(self.n_pcs, Mapping) else [self.n_pcs]:
            if n_pcs is not None:
                check_count(n_pcs, "n_pcs")
        if not isinstance(self.likelihoods, Mapping):
            remedy = "Pass `likelihoods={'rna': 'nb'}`."
            raise TypeError(expected("a likelihood by modality", repr(self.likelihoods), remedy))
        for likelihood in self.likelihoods.values():
            check_option(likelihood, get_args(Likelihood), "likelihoods")
        check_count(self.n_partners, "n_partners", minimum=0)
        check_count(self.n_private, "n_private", minimum=0)
        for name in ("dropout_rate", "input_dropout_rate", "private_dropout_rate", "calibration_size"):
            check_fraction(getattr(self, name), name)
        for name in (f.name for f in fields(self)):
            if name.endswith("_weight") or name == "weight_decay":
                check_number(getattr(self, name), name)
        check_number(self.unknown_negative_weight, "unknown_negative_weight", SMALLEST, 1)
        check_number(self.kl_warmup, "kl_warmup", 0, 1)
        check_number(self.match_weight, "match_weight", 0, 1)
        check_number(self.mixup_alpha, "mixup_alpha")
        for name in ("lr", "gradient_clip"):
            check_number(getattr(self, name), name, SMALLEST)
        check_option(self.feature_weights, ("coupled", "communality", "equal"), "feature_weights")
        check_option(self.normalization, ("batch", "layer"), "normalization")
        check_option(self.activation, ("gelu", "leaky_relu"), "activation")
        check_option(self.lr_schedule, ("constant", "one_cycle"), "lr_schedule")
        check_option(self.kl_schedule, ("linear", "sigmoid"), "kl_schedule")
        if not self.encoder_widths:
            raise ValueError(expected("one or more `encoder_widths`", "none"))
        for width in self.encoder_widths:
            check_number(width, "encoder_widths", SMALLEST)
        if self.n_steps is not None and self.max_epochs is not None:
            raise ValueError(expected("one of `n_steps` and `max_epochs`", f"{self.n_steps} and {self.max_epochs}"))

    def likelihood_of(self, modality: str) -> Likelihood:
        """Likelihood of a modality."""
        return self.likelihoods.get(modality, "gaussian")

    def widths(self, n_prepared: int) -> tuple[int, ...]:
        """Hidden widths of an encoder of `n_prepared` features."""
        return tuple(max(1, round(w * n_prepared)) if isinstance(w, float) else int(w) for w in self.encoder_widths)


DEFAULT = Settings()

PRESETS: Mapping[str, Settings] = MappingProxyType(
    {
        "default": DEFAULT,
        "integration": replace(DEFAULT, dropout_rate=0.0, input_dropout_rate=0.0),
        "paper": Settings(
            n_private=0,
            n_pcs=512,
            feature_weights="equal",
            encoder_widths=(2.0, 1.0),
            normalization="batch",
            activation="leaky_relu",
            dropout_rate=0.0,
            input_dropout_rate=0.0,
            cross_reconstruction_weight=0.0,
            combination_weight=32.0,
            alignment_weight=1.0,
            contrastive_weight=0.0,
            kl_weight=0.032,
            normalize_block=True,
            batch_size=512,
            mixup_alpha=0.0,
            n_steps=None,
            max_epochs=10_000,
            lr=1e-3,
            weight_decay=0.0,
            lr_schedule="constant",
            calibration_size=0.0,
            kl_warmup=0.25,
            kl_schedule="sigmoid",
            patience=500,
        ),
    }
)
"""``default``: ours. ``integration``: without dropout, reproduces the given pairs as closely as the paper does.
``paper``: the published architecture, objective and schedule (2,500 to 10,000 epochs)."""


def make_settings(preset: str | Settings, overrides: Mapping[str, Any]) -> Settings:
    """Settings of a preset, or given ones, with some fields replaced.

    Raises
    ------
    ValueError
        For an unknown preset or a value out of range.
    TypeError
        For an unknown field.
    """
    if not isinstance(preset, Settings):
        check_option(preset, list(PRESETS), "preset")
        preset = PRESETS[preset]
    check_known(overrides, [f.name for f in fields(Settings)])
    return replace(preset, **_consistent(overrides))


def _consistent(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Given one of `n_steps` and `max_epochs`, switch the other off; lists become tuples."""
    result = dict(overrides)
    for given, other in (("n_steps", "max_epochs"), ("max_epochs", "n_steps")):
        if result.get(given) is not None:
            result.setdefault(other, None)
    if "encoder_widths" in result:
        widths = result["encoder_widths"]
        result["encoder_widths"] = tuple(widths) if isinstance(widths, Iterable) else (widths,)
    return result
