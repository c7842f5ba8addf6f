from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import combinations, product
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from scvi.module.base import BaseModuleClass, LossOutput, auto_move_data
from torch import nn
from torch.nn.functional import gumbel_softmax, one_hot

from couplevi.losses import CONSENSUS_COORDINATES, consensus_distance, kl_divergence, weighted_mean
from couplevi.model.cplmixvae.arms import EXCLUDED, Arm, Posterior
from couplevi.model.cplmixvae.measurement import Measurement
from couplevi.nn import Observation

if TYPE_CHECKING:
    from torch.distributions import Distribution, Normal

    from couplevi._types import Batch, ProfileBatch


LABEL_WEIGHT = 10.0
"""Weight of the labels: that of the coupling by default."""


class Modality(NamedTuple):
    """What the module has to know of a modality."""

    n_vars: int
    n_components: int | None
    likelihood: str
    n_batches: int = 0


class Observed(NamedTuple):
    """What decoders explain of profiles: targets ``(n, n_out)``, and of counts library sizes and how they were measured."""

    target: torch.Tensor
    library: torch.Tensor | None
    told: torch.Tensor


class CplMixVAEModule(BaseModuleClass):
    """Mixture variational autoencoders, several per modality, that are coupled through their categories alone.

    The objective of arm a is ``E[-log p(x | c, s)] + beta KL(q(s | c, x) || N(0, 1)) + KL(q(c | x) || uniform)``; to
    the mean over arms comes `coupling_weight` times the mean distance of the ``q(c | x)`` of pairs of arms, within
    modalities and between them.

    Of each profile a batch holds its values and, beside them, how it was measured: see
    :class:`~couplevi.model.cplmixvae.measurement.Measurement`, which takes that from what encoders read and Gaussian
    decoders explain; those of counts have effects of batches of their own. Last comes the number of its label, -1 without
    one: ``-log q(c | x)`` of the category of the label is added to the objective where there is one.

    Parameters
    ----------
    modalities
        Size, likelihood and batches of each modality.
    n_arms
        Number of arms of each modality.
    n_categories, n_state, n_hidden
        Number of categories at the start, of state dimensions and of hidden units.
    n_labels
        Number of labels: the first categories are theirs.
    coupling, coupling_weight
        Name of the distance of the arms' category posteriors, ``"euclidean"``, ``"aitchison"`` or
        ``"minimum_variance"``, and its weight.
    state_kl_weight
        Weight beta of the divergence of the state.
    augmentation_rate
        Largest share of the features, and of the counts, that an arm does not see of a profile in training.
    dropout_rate, input_dropout_rate
        Of the encoders.

    References
    ----------
    Marghi, Gala and Sumbul, Mixture representation learning with coupled autoencoders, arXiv 2007.09880.
    """

    active: torch.Tensor

    def __init__(
        self,
        modalities: Mapping[str, Modality],
        *,
        n_arms: int,
        n_categories: int,
        n_state: int,
        n_labels: int = 0,
        n_hidden: int,
        coupling: str,
        coupling_weight: float,
        state_kl_weight: float,
        augmentation_rate: float,
        dropout_rate: float,
        input_dropout_rate: float,
    ) -> None:
        super().__init__()
        self.n_arms = n_arms
        self.n_categories = n_categories
        self.n_state = n_state
        self.n_labels = n_labels
        self.coordinates = CONSENSUS_COORDINATES[coupling]
        self.coupling_weight = coupling_weight
        self.state_kl_weight = state_kl_weight
        self.augmentation_rate = augmentation_rate
        self.index = {m: i for i, m in enumerate(modalities)}
        self.observations = nn.ModuleList(
            Observation(m.n_vars, m.n_components, m.likelihood) for m in modalities.values()
        )
        self.measurements = nn.ModuleList(
            Measurement(1 + m.n_batches, self.observation(name).n_prepared) for name, m in modalities.items()
        )
        self.register_buffer("active", torch.ones(n_categories, dtype=torch.bool))
        self.arms = nn.ModuleList(
            Arm(
                self.observation(name).n_prepared,
                self.observation(name).n_explained,
                n_categories=n_categories,
                n_state=n_state,
                n_hidden=n_hidden,
                likelihood=m.likelihood,
                n_batches=m.n_batches if self.observation(name).is_count else 0,
                dropout_rate=dropout_rate,
                input_dropout_rate=input_dropout_rate,
            )
            for name, m in modalities.items()
            for _ in range(n_arms)
        )

    def observation(self, modality: str) -> Observation:
        """How a modality is read and explained."""
        return cast("Observation", self.observations[self.index[modality]])

    def measurement(self, modality: str) -> Measurement:
        """What the way in which profiles were measured adds to prepared features."""
        return cast("Measurement", self.measurements[self.index[modality]])

    def arms_of(self, modality: str) -> list[Arm]:
        """The arms of a modality."""
        start = self.index[modality] * self.n_arms
        return [cast("Arm", arm) for arm in self.arms[start : start + self.n_arms]]

    def reads_features(self, modality: str) -> bool:
        """Whether a batch holds the features of a modality themselves, and not prepared ones."""
        return self.observation(modality).is_count or self.augmentation_rate > 0

    # reading

    def split(self, modality: str, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Values, how they were measured, and numbers of labels, of what a batch holds."""
        n_told = len(self.measurement(modality).mean)
        return x[:, : -n_told - 1], x[:, -n_told - 1 : -1], x[:, -1].long()

    def prepare(self, modality: str, x: torch.Tensor) -> torch.Tensor:
        """What the encoders read, from what a batch holds."""
        values, told, _ = self.split(modality, x)
        h = self.observation(modality).prepare(values) if self.reads_features(modality) else values
        return self.measurement(modality)(h, told)

    def augment(self, modality: str, x: torch.Tensor) -> torch.Tensor:
        """The profile as one arm sees it in training: some features hidden and, of counts, only a part seen."""
        values, told, labels = self.split(modality, x)
        rate = self.augmentation_rate * torch.rand(len(x), 1, device=x.device)
        hidden = torch.rand_like(values) < rate
        if self.observation(modality).is_count:
            seen = torch.where(hidden, 0.0, torch.binomial(values, (1 - rate).expand_as(values)))
        else:
            seen = torch.where(hidden, self.observation(modality).preparation.mean, values)
        return torch.cat([seen, told, labels[:, None].to(seen)], dim=1)

    def observed(self, modality: str, x: torch.Tensor) -> Observed:
        """What the decoders explain, from what a batch holds."""
        observation = self.observation(modality)
        values, told, _ = self.split(modality, x)
        target = values if observation.is_count else self.prepare(modality, x)
        return Observed(target, observation.library(values), self.measurement(modality).centred(told))

    # inference

    @auto_move_data
    def log_probabilities(self, modality: str, arm: int, x: torch.Tensor) -> torch.Tensor:
        """Logarithm of ``q(c | x)`` by one arm, shape ``(n, n_categories)``."""
        encoder = self.arms_of(modality)[arm].category
        return encoder(self.prepare(modality, x), self.active)[1].log_softmax(dim=1)

    @auto_move_data
    def state(self, modality: str, arm: int, x: torch.Tensor, category: torch.Tensor) -> Normal:
        """Posterior of the state given categories, shape ``(n,)``, by one arm."""
        own = self.arms_of(modality)[arm]
        hidden, _ = own.category(self.prepare(modality, x), self.active)
        return own.state(hidden, one_hot(category, self.n_categories).to(hidden))

    @auto_move_data
    def evidence(self, modality: str, arm: int, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Evidence of each category for each profile in nats, and ``log q(c | x)``, shapes ``(n, n_categories)``.

        The evidence is the mean of ``log p(x | c, s)`` over the posterior of the state, less its divergence; -inf for
        categories that are not active. The mean is taken over points with the mean and the covariance of the posterior
        (Julier and Uhlmann 2004), which is exact for the Gaussian likelihood.
        """
        own = self.arms_of(modality)[arm]
        hidden, logits = own.category(self.prepare(modality, x), self.active)
        observed = self.observed(modality, x)
        evidence = torch.full_like(logits, -math.inf)
        for k in self.active.nonzero()[:, 0].tolist():
            category = torch.zeros_like(logits)
            category[:, k] = 1.0
            q_state = own.state(hidden, category)
            points = [
                own.decode(category, s, observed.library, observed.told).log_prob(observed.target).sum(dim=1)
                for s in _sigma_points(q_state)
            ]
            evidence[:, k] = torch.stack(points).mean(dim=0) - kl_divergence(q_state)
        return evidence, logits.log_softmax(dim=1)

    @auto_move_data
    def elbo(self, modality: str, arm: int, x: torch.Tensor) -> torch.Tensor:
        """Evidence lower bound of each profile in nats, shape ``(n,)``, summed over categories."""
        evidence, log_q = self.evidence(modality, arm, x)
        return _bound(evidence, log_q, self.active)

    @auto_move_data
    def removal_costs(self, modality: str, arm: int, x: torch.Tensor) -> torch.Tensor:
        """By how much the mean bound falls if a category is excluded, all else equal, shape ``(n_categories,)``.

        Infinite for categories that are not active.
        """
        evidence, log_q = self.evidence(modality, arm, x)
        whole = _bound(evidence, log_q, self.active).mean()
        costs = torch.full((self.n_categories,), math.inf, device=log_q.device)
        for k in self.active.nonzero()[:, 0].tolist():
            rest = self.active.clone()
            rest[k] = False
            others = log_q.masked_fill(~rest, EXCLUDED).log_softmax(dim=1)
            costs[k] = whole - _bound(evidence, others, rest).mean()
        return costs

    @auto_move_data
    def decode(
        self, modality: str, arm: int, category: torch.Tensor, state: torch.Tensor, library: torch.Tensor | None
    ) -> torch.Tensor:
        """Mean of what the decoder of one arm explains, given categories ``(n,)`` and states ``(n, n_state)``.

        Of a profile that was measured as the mean one.
        """
        one = one_hot(category, self.n_categories).to(state)
        return self.arms_of(modality)[arm].decode(one, state, library).mean

    # training

    @torch.no_grad()
    def start(self, modality: str, arm: int, x: torch.Tensor, labels: torch.Tensor) -> None:
        """Put one arm where `labels` say: its encoder finds their centres, its decoder has their means and spreads.

        Parameters
        ----------
        x
            Profiles as a batch holds them, shape ``(n, n_features)``.
        labels
            Category of each profile, shape ``(n,)``. Those that do not occur are not to be active.
        """
        own, h = self.arms_of(modality)[arm], self.prepare(modality, x)
        one = one_hot(labels, self.n_categories).to(h)
        size = one.sum(dim=0)[:, None].clamp(min=1)
        centers = one.T @ h / size
        own.category.start(h, centers, labels.unique())
        counts, library, _ = self.observed(modality, x)
        if library is not None:
            total = counts.mean(dim=0) + 1e-4
            own.decoder.centers.copy_(((one.T @ counts + total) / (one.T @ library + total.sum())).log())
            own.decoder.loadings.mul_(0.1)
            return
        own.decoder.centers.copy_(centers)
        unexplained = h - centers[labels]
        for k in range(self.n_categories):
            own_rows = labels == k
            _, spread, axes = torch.linalg.svd(unexplained[own_rows], full_matrices=False)
            axes, spread = axes[: self.n_state], spread[: self.n_state] / size[k].sqrt()
            own.decoder.loadings[k].zero_()
            own.decoder.loadings[k, : len(axes)] = spread[:, None] * axes
            unexplained[own_rows] -= unexplained[own_rows] @ axes.T @ axes
        cast("torch.Tensor", own.head.variance).copy_(unexplained.square().mean(dim=0))

    def _get_inference_input(self, tensors: Batch, **kwargs: Any) -> dict[str, Any]:
        return {"profiles": tensors["profiles"]}

    def inference(
        self, profiles: dict[str, ProfileBatch], temperature: float = 1.0
    ) -> dict[str, dict[str, list[Posterior]]]:
        """Posteriors of each arm, by modality."""
        return {"posteriors": {m: list(self._posteriors(m, batch.h, temperature)) for m, batch in profiles.items()}}

    def _posteriors(self, modality: str, x: torch.Tensor, temperature: float) -> Iterator[Posterior]:
        for arm in self.arms_of(modality):
            augmented = self.augment(modality, x) if self.training and self.augmentation_rate else x
            hidden, logits = arm.category(self.prepare(modality, augmented), self.active)
            log_q = logits.log_softmax(dim=1)
            if self.training:
                category = gumbel_softmax(logits, tau=temperature, hard=True)
            else:
                category = one_hot(logits.argmax(dim=1), self.n_categories).to(logits)
            q_state = arm.state(hidden, category)
            yield Posterior(log_q, category, q_state, q_state.rsample() if self.training else q_state.loc)

    def _get_generative_input(self, tensors: Batch, inference_outputs: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return {"profiles": tensors["profiles"], "posteriors": inference_outputs["posteriors"]}

    def generative(
        self, profiles: dict[str, ProfileBatch], posteriors: dict[str, list[Posterior]]
    ) -> dict[str, dict[str, list[Distribution]]]:
        """Distributions of the profiles by each arm, by modality."""
        px = {}
        for m, batch in profiles.items():
            _, library, told = self.observed(m, batch.h)
            arms = zip(self.arms_of(m), posteriors[m], strict=True)
            px[m] = [arm.decode(p.category, p.state, library, told) for arm, p in arms]
        return {"px": px}

    def loss(
        self,
        tensors: Batch,
        inference_outputs: dict[str, dict[str, list[Posterior]]],
        generative_outputs: dict[str, dict[str, list[Distribution]]],
        coupling_scale: float = 1.0,
    ) -> LossOutput:
        """Mean over arms of the negative evidence lower bound, plus the coupling, whose weight is scaled."""
        posteriors, px = inference_outputs["posteriors"], generative_outputs["px"]
        reconstruction, state, category, label = [], [], [], []
        for m, batch in tensors["profiles"].items():
            target = self.observed(m, batch.h).target
            for arm, posterior, p in zip(self.arms_of(m), posteriors[m], px[m], strict=True):
                if self.training and batch.drawn.any():
                    arm.head.adapt((target - p.mean)[batch.drawn])
                reconstruction.append(-p.log_prob(target).sum(dim=1)[batch.drawn])
                state.append(kl_divergence(posterior.q_state)[batch.drawn])
                category.append(_category_divergence(posterior.log_q, self.active)[batch.drawn])
                label.append(self._label_losses(m, batch, posterior))
        terms = {
            "reconstruction": _mean_over_arms(reconstruction),
            "kl_state": _mean_over_arms(state),
            "kl_category": _mean_over_arms(category),
            "label": _mean_over_arms(label),
            "coupling": self._coupling(tensors, posteriors),
        }
        loss = (
            terms["reconstruction"]
            + self.state_kl_weight * terms["kl_state"]
            + terms["kl_category"]
            + LABEL_WEIGHT * terms["label"]
            + coupling_scale * self.coupling_weight * terms["coupling"]
        )
        return LossOutput(
            loss=loss,
            reconstruction_loss=torch.cat(reconstruction),
            kl_local=self.state_kl_weight * torch.cat(state) + torch.cat(category),
            extra_metrics={name: value.detach() for name, value in terms.items()},
        )

    def _label_losses(self, modality: str, batch: ProfileBatch, posterior: Posterior) -> torch.Tensor:
        """``-log q`` of the category of the label, of the profiles drawn whose label has one."""
        labels = self.split(modality, batch.h)[2]
        known = batch.drawn & (labels >= 0) & self.active[labels.clamp(min=0)]
        return -posterior.log_q[known, labels[known]]

    def _coupling(self, tensors: Batch, posteriors: dict[str, list[Posterior]]) -> torch.Tensor:
        """Mean distance over pairs of arms of a modality, plus that over linked profiles of pairs of modalities.

        Each mean is over pairs that have cells in the batch, 0 if there are none, so that neither depends on how many
        cells are linked.
        """
        places = {
            m: [self.coordinates(p.log_q[:, self.active].exp()) for p in arms]
            for m, arms in posteriors.items()
            if len(arms[0].log_q)
        }
        within, between = [], []
        for m, arms in places.items():
            drawn = tensors["profiles"][m].drawn
            within += [consensus_distance(a[drawn], b[drawn]).mean() for a, b in combinations(arms, 2) if drawn.any()]
        for (m, other), link in tensors["links"].items():
            if len(link.row):
                pairs = product(places[m], places[other])
                between += [
                    weighted_mean(consensus_distance(a[link.row], b[link.col]), link.confidence) for a, b in pairs
                ]
        zero = torch.zeros((), device=self.active.device)
        return sum((torch.stack(values).mean() for values in (within, between) if values), zero)


def _category_divergence(log_q: torch.Tensor, active: torch.Tensor) -> torch.Tensor:
    """Divergence in nats of ``q(c | x)`` from the uniform distribution over the active categories, shape ``(n,)``."""
    own = log_q[:, active]
    return (own.exp() * own).sum(dim=1) + math.log(own.shape[1])


def _bound(evidence: torch.Tensor, log_q: torch.Tensor, active: torch.Tensor) -> torch.Tensor:
    """Evidence lower bound of each profile, shape ``(n,)``."""
    return (log_q[:, active].exp() * evidence[:, active]).sum(dim=1) - _category_divergence(log_q, active)


def _sigma_points(q: Normal) -> Iterator[torch.Tensor]:
    """Two points per dimension, of the same shape as the mean, that together have the mean and covariance of `q`."""
    for d in range(q.loc.shape[1]):
        step = torch.zeros_like(q.loc)
        step[:, d] = math.sqrt(q.loc.shape[1]) * q.scale[:, d]
        yield q.loc + step
        yield q.loc - step


def _mean_over_arms(values: list[torch.Tensor]) -> torch.Tensor:
    return torch.stack([weighted_mean(v, torch.ones_like(v)) for v in values]).mean()
