from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, Literal, get_args

from couplevi._validate import SMALLEST, check_count, check_fraction, check_known, check_number, check_option
from couplevi.losses import CONSENSUS_COORDINATES
from couplevi.model._components import DEFAULT_N_PCS

Likelihood = Literal["gaussian", "nb", "zinb"]

COUPLING_WEIGHTS: Mapping[str, float] = MappingProxyType(
    {"euclidean": 10.0, "aitchison": 0.1, "minimum_variance": 0.03}
)
"""Weight of each distance unless one is given: what makes it comparable to the likelihood."""


@dataclass(frozen=True, kw_only=True)
class MixtureSettings:
    """Architecture, objective and schedule of a CplMixVAE model.

    Attributes
    ----------
    n_categories
        Number of categories to start from, at least 2: more than are expected, as pruning only removes.
    n_arms
        Number of arms of each modality, at least 1; a single arm is a mixture VAE without coupling.
    n_state
        Number of continuous dimensions within a category, at least 1.
    n_hidden
        Width of the hidden layers.
    n_pcs
        Principal components of the standardised features that each modality is reduced to, at least 1: a number for
        all, or a mapping from modality to number or None. None uses the features themselves, as does a modality
        with few of them, see :class:`~couplevi.model.Settings`.
    feature_weights
        Weights of the features in the components: ``"communality"``, more for those that vary together with others, or
        ``"equal"``, see :func:`~couplevi.preparation.fit_preparation`.
    likelihood
        ``"gaussian"``: of the prepared features. ``"nb"``, ``"zinb"``: (zero-inflated) negative binomial of counts.
        One for all modalities, or a mapping; modalities that it leaves out are Gaussian.
    coupling
        Distance of the arms' category posteriors: ``"euclidean"``, ``"aitchison"`` or ``"minimum_variance"``, the
        published one.
    coupling_weight
        Weight of the distance, at least 0; None is 10, 0.1 and 0.03 for the three.
    state_kl_weight
        Weight of the divergence of the state from a standard normal, at least 0.
    temperature
        Lowest temperature of the Gumbel-softmax, above 0; it falls from 1 to it in the first round.
    augmentation_rate
        Largest share, in [0, 1), of the features hidden from an arm, and of its counts removed (thinning), drawn anew
        for each profile and arm; what was removed is still to be reconstructed. 0 augments nothing.
    dropout_rate, input_dropout_rate
        Probability in [0, 1) that a hidden unit, or a prepared feature on its way into an encoder, is dropped.
    batch_size
        Largest number of units drawn per step; with fewer than 5 per category a warning says so.
    n_steps, n_steps_prune
        Optimiser steps of the first round, and of each round after a category was removed.
    lr
        Highest learning rate of a round.
    gradient_clip
        Largest norm of the gradient.

    Examples
    --------
    >>> import couplevi as cvi
    >>> settings = cvi.model.MixtureSettings(n_categories=20, coupling="aitchison", likelihood={"rna": "nb"})
    >>> settings.weight_of_coupling, settings.likelihood_of("rna"), settings.likelihood_of("atac")
    (0.1, 'nb', 'gaussian')
    """

    n_categories: int
    n_arms: int = 2
    n_state: int = 3
    n_hidden: int = 128
    n_pcs: int | Mapping[str, int | None] | None = DEFAULT_N_PCS
    feature_weights: Literal["communality", "equal"] = "communality"
    likelihood: Likelihood | Mapping[str, Likelihood] = "gaussian"
    coupling: Literal["euclidean", "aitchison", "minimum_variance"] = "euclidean"
    coupling_weight: float | None = None
    state_kl_weight: float = 1.0
    temperature: float = 0.5
    augmentation_rate: float = 0.0
    dropout_rate: float = 0.3
    input_dropout_rate: float = 0.4
    batch_size: int = 256
    n_steps: int = 800
    n_steps_prune: int = 400
    lr: float = 3e-3
    gradient_clip: float = 5.0

    def __post_init__(self) -> None:
        check_count(self.n_categories, "n_categories", minimum=2)
        for name in ("n_arms", "n_state", "n_hidden", "batch_size", "n_steps", "n_steps_prune"):
            check_count(getattr(self, name), name)
        for n_pcs in self.n_pcs.values() if isinstance(self.n_pcs, Mapping) else [self.n_pcs]:
            if n_pcs is not None:
                check_count(n_pcs, "n_pcs")
        check_option(self.feature_weights, ("communality", "equal"), "feature_weights")
        given = self.likelihood.values() if isinstance(self.likelihood, Mapping) else [self.likelihood]
        for likelihood in given:
            check_option(likelihood, get_args(Likelihood), "likelihood")
        check_option(self.coupling, list(CONSENSUS_COORDINATES), "coupling")
        if self.coupling_weight is not None:
            check_number(self.coupling_weight, "coupling_weight")
        check_number(self.state_kl_weight, "state_kl_weight")
        for name in ("augmentation_rate", "dropout_rate", "input_dropout_rate"):
            check_fraction(getattr(self, name), name)
        for name in ("temperature", "lr", "gradient_clip"):
            check_number(getattr(self, name), name, SMALLEST)

    @property
    def weight_of_coupling(self) -> float:
        """Weight of the distance, given or default."""
        return COUPLING_WEIGHTS[self.coupling] if self.coupling_weight is None else self.coupling_weight

    def likelihood_of(self, modality: str) -> Likelihood:
        """Likelihood of a modality."""
        if isinstance(self.likelihood, Mapping):
            return self.likelihood.get(modality, "gaussian")
        return self.likelihood


def make_mixture_settings(given: Mapping[str, Any]) -> MixtureSettings:
    """Settings from keyword arguments; raise TypeError for an unknown one."""
    check_known(given, [field.name for field in fields(MixtureSettings)])
    return MixtureSettings(**given)
