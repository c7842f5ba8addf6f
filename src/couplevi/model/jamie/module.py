from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import permutations
from typing import TYPE_CHECKING, Any, cast

import torch
from scvi.module.base import BaseModuleClass, LossOutput, auto_move_data
from torch import nn
from torch.distributions import Normal

from couplevi.losses import (
    alignment,
    combination,
    contrastive_alignment,
    kl_divergence,
    reconstruction,
    weighted_mean,
)
from couplevi.model.jamie.embedding import Embedding
from couplevi.model.jamie.width import Width
from couplevi.nn import HEADS, Decoder, Encoder, Head, LinearPath, Observation, UnitGaussianHead
from couplevi.preparation import library_size

if TYPE_CHECKING:
    from torch.distributions import Distribution

    from couplevi._types import Batch, FloatArray, LinkBatch, ModalityPair, ProfileBatch

TERMS = ("kl", "combination", "reconstruction", "cross_reconstruction", "contrastive", "alignment")
MAX_PROBES = 256
"""Outputs of a decoder up to which each is differentiated."""
LEAST_WEIGHT = 0.01
"""Of a modality in the latent of a cell."""
LOG_TEMPERATURE_RANGE = (math.log(0.01), math.log(10.0))


class JAMIEModule(BaseModuleClass):
    """Coupled variational autoencoders, one per modality, whose latents are averaged over links.

    Parameters
    ----------
    modalities
        Arguments of the :class:`~couplevi.nn.Observation` of each modality.
    n_latent, n_private
        Number of latent dimensions that modalities share, and of those that each has of its own.
    n_batches, n_covariates
        Number of batches, and of all columns of covariates, the first of which are those of the batches.
    widths
        Hidden widths of each modality's encoder; its decoder has them in reverse.
    input_dropout_rate, hidden
        Arguments of :class:`~couplevi.nn.Encoder` and :class:`~couplevi.nn.Decoder`.
    weights
        Weight of each of the `TERMS` of the objective.
    unknown_negative_weight
        Weight in (0, 1], in the contrastive term, of a negative that may be the true partner.
    normalize_block
        Divide the confidences in a minibatch by their sum in it, as the paper does, so that they no longer matter.
    match_weight
        Share in [0, 1] of inferred links, where there are any, in the average over links.
    private_dropout_rate
        Probability in [0, 1) that a profile is decoded without its private latent in training, so that the shared one
        stays sufficient.

    References
    ----------
    Cohen Kalafut, Huang and Wang, Joint variational autoencoders for multimodal imputation and embedding,
    Nature Machine Intelligence 2023.
    """

    def __init__(
        self,
        modalities: Mapping[str, tuple[int, int | None, str]],
        n_latent: int,
        *,
        n_private: int = 0,
        n_batches: int = 0,
        n_covariates: int = 0,
        private_dropout_rate: float = 0.0,
        widths: Mapping[str, Sequence[int]],
        weights: Mapping[str, float],
        input_dropout_rate: float,
        hidden: Mapping[str, Any],
        unknown_negative_weight: float,
        normalize_block: bool,
        match_weight: float,
    ) -> None:
        super().__init__()
        self.pair_weights: torch.Tensor
        self.null_deviance: torch.Tensor
        self.log_library: torch.Tensor
        self.n_latent, self.n_private = n_latent, n_private
        self.n_batches, self.n_covariates = n_batches, n_covariates
        self.private_dropout_rate = private_dropout_rate
        self.weights = dict(weights)
        self.unknown_negative_weight = unknown_negative_weight
        self.normalize_block = normalize_block
        self.match_weight = match_weight
        # lists and not ModuleDicts, whose keys may not hold a dot or be called "values"
        self.index = {modality: i for i, modality in enumerate(modalities)}
        observations = {m: Observation(*a, scaled=a[1] is not None) for m, a in modalities.items()}
        self.observations = nn.ModuleList(observations.values())
        self.encoders = nn.ModuleList(
            Encoder(
                o.n_prepared,
                n_latent + n_private,
                widths[m],
                input_dropout_rate=input_dropout_rate,
                n_covariates=n_covariates,
                **hidden,
            )
            for m, o in observations.items()
        )
        heads = {m: _head(o) for m, o in observations.items()}
        self.decoders = nn.ModuleList(
            Decoder(
                n_latent + n_private + n_covariates,
                widths[m][::-1],
                _output(widths[m][0], observations[m], head.n_parameters),
                head,
                **hidden,
            )
            for m, head in heads.items()
        )
        self.linear_paths = nn.ModuleList(
            LinearPath(
                observations[source].n_prepared,
                0 if observations[target].is_count else observations[target].n_prepared,
                n_covariates,
            )
            for source, target in self.pairs
        )
        self.widths = nn.ModuleList(
            Width(
                self.linear_path(source, target).weight.shape[1],
                0 if observations[target].is_count else modalities[target][0],
                n_covariates,
            )
            for source, target in self.pairs
        )
        self.embedding = Embedding(list(self.index), n_latent, n_private)
        for source, target in self.pairs:
            unknown = torch.full((modalities[target][0],), math.nan)
            self.register_buffer(self._residual_name(source, target), unknown)
            self.register_buffer(self.inflation_name(source, target), torch.full((n_batches,), math.nan))
        self.register_buffer("pair_weights", torch.ones(len(self.index), len(self.index)))
        self.register_buffer("null_deviance", torch.ones(len(self.index)))
        self.register_buffer("log_library", torch.zeros(len(self.index), 2))
        self.log_aggregation_weights = nn.Parameter(torch.zeros(len(self.index)))
        self.temperature_logit = nn.Parameter(torch.tensor(math.log(2.0)))  # a temperature of 1

    @property
    def pairs(self) -> list[ModalityPair]:
        """Modalities that are read and predicted: all pairs, both ways."""
        return list(permutations(self.index, 2))

    @property
    def temperature(self) -> torch.Tensor:
        """Temperature of the contrastive term, in [0.01, 10]."""
        low, high = LOG_TEMPERATURE_RANGE
        return torch.exp(low + (high - low) * torch.sigmoid(self.temperature_logit))

    def observation(self, modality: str) -> Observation:
        """How a modality is read and explained."""
        return cast("Observation", self.observations[self.index[modality]])

    def encoder(self, modality: str) -> Encoder:
        """Encoder of a modality."""
        return cast("Encoder", self.encoders[self.index[modality]])

    def decoder(self, modality: str) -> Decoder:
        """Decoder of a modality."""
        return cast("Decoder", self.decoders[self.index[modality]])

    def linear_path(self, source: str, target: str) -> LinearPath:
        """What is linear in the way from one modality to prepared features of another; of counts to nothing."""
        return cast("LinearPath", self.linear_paths[self.pairs.index((source, target))])

    def width(self, source: str, target: str) -> Width:
        """How wide the interval of each value is beside those of the same feature in other profiles; not of counts."""
        return cast("Width", self.widths[self.pairs.index((source, target))])

    def has_library(self, modality: str) -> bool:
        """Whether counts are explained, and not only whether there are any."""
        return self.observation(modality).is_count and not self.observation(modality).is_binary

    def library_range(self, modality: str) -> torch.Tensor:
        """Smallest and largest logarithm of the library size of counts, shape ``(2,)``."""
        return self.log_library[self.index[modality]]

    def _residual_name(self, source: str, target: str) -> str:
        return f"residual_variance_{self.index[source]}_{self.index[target]}"

    def residual_variance(self, source: str, target: str) -> torch.Tensor:
        """Buffer of the variance that latents leave unexplained, per feature of the target; NaN before calibration.

        It is that of values of width 1; of counts, their overdispersion given what is imputed.
        """
        return cast("torch.Tensor", getattr(self, self._residual_name(source, target)))

    def inflation_name(self, source: str, target: str) -> str:
        """Name of the buffer of :meth:`inflation`."""
        return f"batch_inflation_{self.index[source]}_{self.index[target]}"

    def inflation(self, source: str, target: str) -> torch.Tensor:
        """Buffer of the factor of the residual standard deviation in each batch; NaN where it was not measured."""
        return cast("torch.Tensor", getattr(self, self.inflation_name(source, target)))

    def covariate_weights(self, modality: str) -> dict[str, nn.Parameter]:
        """Weights, by name, whose last columns are those of the covariates."""
        readers = [f"{part}.{self.index[modality]}.hidden.0.weight" for part in ("encoders", "decoders")]
        return {name: self.get_parameter(name) for name in readers}

    def shared(self, z: torch.Tensor) -> torch.Tensor:
        """The part of latents that modalities share, shape ``(n, n_latent)``."""
        return z[:, : self.n_latent]

    def private(self, z: torch.Tensor) -> torch.Tensor:
        """The part of latents that only the profile's own modality explains, shape ``(n, n_private)``."""
        return z[:, self.n_latent :]

    def latent_samples(self, q: Normal, n_samples: int) -> Iterator[torch.Tensor]:
        """Samples of the posterior of the shared latent, the same standard normal draws for every profile and call."""
        noise = torch.randn(n_samples, self.n_latent, generator=torch.Generator().manual_seed(0)).to(q.loc)
        for draw in noise:
            yield self.shared(q.loc) + self.shared(q.scale) * draw

    def pair_weight(self, a: str, b: str) -> torch.Tensor:
        """Weight in [0, 1] of the links between two modalities: how well their profiles find each other."""
        return self.pair_weights[self.index[a], self.index[b]]

    def cell_weights(self) -> dict[str, torch.Tensor]:
        """Weight of each modality in the latent of a cell: less of one that no other has anything in common with."""
        tied = (self.pair_weights - torch.eye(len(self.index), device=self.device)).amax(dim=1).clamp(min=LEAST_WEIGHT)
        return {m: w * tied[i] for i, (m, w) in enumerate(self.aggregation_weights().items())}

    def aggregation_weights(self) -> dict[str, torch.Tensor]:
        """Positive weight ``w`` of each modality in an average over linked latents."""
        return dict(zip(self.index, self.log_aggregation_weights.exp(), strict=True))

    @auto_move_data
    def encode(self, modality: str, h: torch.Tensor, covariates: torch.Tensor) -> Normal:
        """Posterior of the shared and private latent, ``(n, n_latent + n_private)``, in single precision.

        Parameters
        ----------
        modality
            Modality of the profiles.
        h, covariates
            Prepared features, shape ``(n, n_prepared)``, and covariates, ``(n, n_covariates)``.
        """
        q = self.encoder(modality)(torch.cat([h, covariates], dim=1))
        return Normal(q.loc.float(), q.scale.float(), validate_args=False)

    @auto_move_data
    def decode(
        self,
        modality: str,
        z: torch.Tensor,
        covariates: torch.Tensor,
        private: torch.Tensor | None = None,
        library: torch.Tensor | None = None,
    ) -> Distribution:
        """Distribution of what a modality explains given shared latents, ``(n, n_latent)``, and covariates.

        Without the private latent, that of another modality's profile, it is taken for zero; without the library size,
        shape ``(n, 1)``, it is expected from the latents.
        """
        return self.decoder(modality)(*self._decoder_input(modality, z, covariates, private, library))

    def _decoder_input(
        self,
        modality: str,
        z: torch.Tensor,
        covariates: torch.Tensor,
        private: torch.Tensor | None,
        library: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        own = z.new_zeros(len(z), self.n_private) if private is None else private
        return torch.cat([z, own, covariates], dim=1), library

    @auto_move_data
    def predict(
        self,
        source: str,
        target: str,
        h: torch.Tensor,
        z: torch.Tensor,
        covariates: torch.Tensor,
        batches: Sequence[int],
        library: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Mean of what is explained of a target, shape ``(n, n_explained)``.

        By its decoder and, unless it is of counts, the linear path.

        Parameters
        ----------
        source, target
            Modality that is read, and that is predicted.
        h, z, covariates
            Prepared features of the source, shared latents and covariates.
        batches
            Batches as measured in which the target is predicted, averaged; without any, that of the profiles.
        library
            Library size of counts, shape ``(n, 1)``; None expects one from the source.
        """
        path, is_count = self.linear_path(source, target), self.observation(target).is_count

        def predicted(told: torch.Tensor) -> torch.Tensor:
            mean = self.expected(target, z, told, library)
            return mean if is_count else torch.lerp(mean, path(h, covariates, told), path.share)

        return mean_over_batches(predicted, covariates, self.n_batches, batches)

    def expected(
        self,
        modality: str,
        z: torch.Tensor,
        covariates: torch.Tensor,
        library: torch.Tensor | None,
        private: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Mean of :meth:`decode`, without a library size of counts within the range of those that were measured."""
        mean = self.decode(modality, z, covariates, private, library).mean
        return within(mean, self.library_range(modality)) if library is None and self.has_library(modality) else mean

    def features(
        self,
        modality: str,
        z: torch.Tensor,
        covariates: torch.Tensor,
        batches: Sequence[int],
        private: torch.Tensor | None = None,
        library: torch.Tensor | None = None,
    ) -> FloatArray:
        """Features of a modality decoded from shared latents, in their own units, shape ``(n, n_vars)``.

        As measured in each of some batches, averaged; without any, in the batch that the covariates tell. Private
        latents are taken for zero unless they are given, and a library size is expected from the latents.
        """

        def decoded(told: torch.Tensor) -> torch.Tensor:
            return self.expected(modality, z, told, library, private)

        return self.observation(modality).features(mean_over_batches(decoded, covariates, self.n_batches, batches))

    @auto_move_data
    def aggregate(
        self,
        z: dict[str, torch.Tensor],
        links: dict[ModalityPair, LinkBatch],
        matches: dict[ModalityPair, LinkBatch],
    ) -> dict[str, torch.Tensor]:
        """Average of each latent with those that it is linked to, weighted by confidence and modality.

        ``z~_a[i] = (w_a z_a[i] + w_b sum_j P[i,j] z_b[j]) / (w_a + w_b sum_j P[i,j])``, and the mirror image for b;
        where there are matches F, ``(1 - match_weight) P + match_weight F`` stands for P. A profile without a link
        keeps its own latent.
        """
        weight = self.aggregation_weights()
        numerator = {m: weight[m] * z[m] for m in z}
        denominator = {m: weight[m].expand(len(z[m])) for m in z}
        for (a, b), link, share in self._mixed_links(links, matches):
            for here, there, own, other, confidence in (
                (a, b, link.row, link.col, link.row_weight),
                (b, a, link.col, link.row, link.col_weight),
            ):
                if self.normalize_block:
                    confidence = link.confidence / _row_sums(link.confidence, own, len(z[here]))[own]
                pull = share * weight[there] * confidence
                numerator[here] = numerator[here].index_add(0, own, pull[:, None] * z[there][other])
                denominator[here] = denominator[here].index_add(0, own, pull)
        return {m: numerator[m] / denominator[m][:, None] for m in z}

    def _mixed_links(
        self, links: dict[ModalityPair, LinkBatch], matches: dict[ModalityPair, LinkBatch]
    ) -> Iterator[tuple[ModalityPair, LinkBatch, torch.Tensor]]:
        """Links and matches with their shares in the aggregation."""
        for pair, link in links.items():
            yield pair, link, self.pair_weight(*pair) * (1 - self.match_weight if pair in matches else 1.0)
        if self.match_weight:
            for pair, match in matches.items():
                yield pair, match, self.pair_weight(*pair) * self.match_weight

    def sensitivity(self, modality: str, z: torch.Tensor, covariates: torch.Tensor) -> torch.Tensor:
        """How much what is decoded changes along latents: mean of ``J' J``, J the Jacobian of the decoder.

        Of more than `MAX_PROBES` outputs so many random combinations are taken, which have the same expectation.

        Parameters
        ----------
        modality
            Modality that is decoded, in units of the reconstruction error.
        z, covariates
            Latents, shape ``(n, n_latent + n_private)``, and covariates where it is taken.
        """
        z = z.detach().requires_grad_()
        decoder = self.decoder(modality)
        decoded = decoder.head.stabilised(decoder(torch.cat([z, covariates], dim=1)))
        n_out = decoded.shape[1]
        probes = torch.eye(n_out)
        if n_out > MAX_PROBES:
            probes = torch.randn(MAX_PROBES, n_out, generator=torch.Generator().manual_seed(0)) / math.sqrt(MAX_PROBES)
        total = z.new_zeros(z.shape[1], z.shape[1])
        for probe in probes.to(z):
            [slope] = torch.autograd.grad((decoded @ probe).sum(), z, retain_graph=True)
            total += slope.T @ slope
        return self._error_weight(modality) * total / len(z)

    def profile_errors(
        self, modality: str, x: torch.Tensor, covariates: torch.Tensor, q: Normal
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Reconstruction error from the mean latent, and divergence, of each profile, shapes ``(n,)``.

        Parameters
        ----------
        modality, q
            Modality of the profiles, and their posterior.
        x, covariates
            What is explained of them, shape ``(n, n_explained)``, and their covariates.
        """
        library = _library(x) if self.observation(modality).is_count else None
        px = self.decode(modality, self.shared(q.loc), covariates, self.private(q.loc), library)
        return self._error(modality, px, x), kl_divergence(q)

    def _error(self, modality: str, px: Distribution, x: torch.Tensor) -> torch.Tensor:
        """Reconstruction error of what is explained, shape ``(n,)``."""
        return reconstruction(px, x, self._error_weight(modality))

    def _error_weight(self, modality: str) -> torch.Tensor:
        observation = self.observation(modality)
        if observation.is_count:
            return 1 / self.null_deviance[self.index[modality]]
        return observation.preparation.error_weight

    def _get_inference_input(self, tensors: Batch, **kwargs: Any) -> dict[str, Any]:
        return {name: tensors[name] for name in ("profiles", "links", "matches")}

    def inference(
        self,
        profiles: dict[str, ProfileBatch],
        links: dict[ModalityPair, LinkBatch],
        matches: dict[ModalityPair, LinkBatch],
    ) -> dict[str, dict[str, Any]]:
        """Posteriors `qz`, samples `z` and `private` of both parts, and aggregates `z_aggregated`, by modality."""
        qz = {m: self.encode(m, batch.h, batch.covariates) for m, batch in profiles.items()}
        samples = {m: q.rsample() for m, q in qz.items()}
        z, private = ({m: part(s) for m, s in samples.items()} for part in (self.shared, self.private))
        return {"qz": qz, "z": z, "private": private, "z_aggregated": self.aggregate(z, links, matches)}

    def _get_generative_input(
        self, tensors: Batch, inference_outputs: dict[str, dict[str, Any]], **kwargs: Any
    ) -> dict[str, Any]:
        drawn = {m: batch.rows_drawn for m, batch in tensors["profiles"].items()}
        return {
            "z": inference_outputs["z"],
            "z_drawn": {m: z[drawn[m]] for m, z in inference_outputs["z_aggregated"].items()},
            "private_drawn": {m: z[drawn[m]] for m, z in inference_outputs["private"].items()},
            "covariates": {m: batch.covariates for m, batch in tensors["profiles"].items()},
            "library": {m: _library(batch.counts) for m, batch in tensors["profiles"].items()},
            "drawn": drawn,
            "links": tensors["links"],
        }

    def generative(
        self,
        z: dict[str, torch.Tensor],
        z_drawn: dict[str, torch.Tensor],
        private_drawn: dict[str, torch.Tensor],
        covariates: dict[str, torch.Tensor],
        library: dict[str, torch.Tensor | None],
        drawn: dict[str, torch.Tensor | slice],
        links: dict[ModalityPair, LinkBatch],
    ) -> dict[str, dict[Any, Any]]:
        """Distributions `px` of the drawn profiles, by modality, and `px_cross` over links, by (source, target)."""
        read = {m: dict[str, Any]() for m in z_drawn}
        for (a, b), link in links.items():
            for source, target, own, other in ((a, b, link.row, link.col), (b, a, link.col, link.row)):
                read[target][source] = z[source][own], covariates[target][other], None, None
        for m, z_m in z_drawn.items():
            private, size = self._dropped(private_drawn[m]), _rows(library[m], drawn[m])
            read[m][m] = z_m, covariates[m][drawn[m]], private, size
        px, px_cross = {}, {}
        for m, by_source in read.items():
            decoded = self.decoder(m).each([self._decoder_input(m, *given) for given in by_source.values()])
            px_cross.update({(source, m): p for source, p in zip(by_source, decoded, strict=True)})
            px[m] = px_cross.pop((m, m))
        return {"px": px, "px_cross": px_cross}

    def _dropped(self, private: torch.Tensor) -> torch.Tensor:
        """Private latents, in training without those of some profiles."""
        if not (self.training and self.n_private):
            return private
        kept = torch.rand(len(private), 1, device=private.device) >= self.private_dropout_rate
        return private * kept

    def loss(
        self,
        tensors: Batch,
        inference_outputs: dict[str, dict[str, Any]],
        generative_outputs: dict[str, dict[Any, Any]],
        kl_weight: float | torch.Tensor = 1.0,
    ) -> LossOutput:
        """Weighted sum of all terms; `kl_weight` anneals that of the divergence."""
        kl, reconstruction_loss = self._profile_terms(tensors, inference_outputs, generative_outputs)
        # mixed precision would round the products of matrices that small distances are made of
        with torch.autocast(self.log_aggregation_weights.device.type, enabled=False):
            link_terms = self._link_terms(tensors, inference_outputs, generative_outputs)
        means = {
            name: {m: _mean(values) for m, values in by_modality.items()}
            for name, by_modality in (("kl", kl), ("reconstruction", reconstruction_loss))
        }
        terms = {**{name: torch.stack([*of.values()]).sum() for name, of in means.items()}, **link_terms}
        weights = {**self.weights, "kl": self.weights["kl"] * kl_weight}
        loss = torch.stack([weights[name] * value for name, value in terms.items()]).sum()
        by_modality = {f"{name}_{m}": mean for name, of in means.items() for m, mean in of.items()}
        metrics = {**terms, "temperature": self.temperature, **by_modality}
        return LossOutput(
            loss=loss,
            reconstruction_loss=torch.cat(list(reconstruction_loss.values())),
            kl_local=self.weights["kl"] * torch.cat(list(kl.values())),
            extra_metrics={name: value.detach() for name, value in metrics.items()},
        )

    def _profile_terms(
        self, tensors: Batch, inference_outputs: dict[str, Any], generative_outputs: dict[str, Any]
    ) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        kl, error = {}, {}
        for m, batch in tensors["profiles"].items():
            rows = batch.rows_drawn
            kl[m] = kl_divergence(inference_outputs["qz"][m])[rows]
            error[m] = self._error(m, generative_outputs["px"][m], _explained(batch)[rows])
        return kl, error

    def _link_terms(
        self, tensors: Batch, inference_outputs: dict[str, Any], generative_outputs: dict[str, Any]
    ) -> dict[str, torch.Tensor]:
        z, aggregated, qz = (inference_outputs[key] for key in ("z", "z_aggregated", "qz"))
        zero = self.log_aggregation_weights.sum() * 0.0
        terms = dict.fromkeys(("combination", "cross_reconstruction", "contrastive", "alignment"), zero)
        linked = {m: torch.zeros(len(z[m]), device=z[m].device) for m in z}
        for (a, b), link in tensors["links"].items():
            weight = self.pair_weight(a, b)
            for source, target, other in ((a, b, link.col), (b, a, link.row)):
                px = generative_outputs["px_cross"][source, target]
                error = self._error(target, px, _explained(tensors["profiles"][target])[other])
                error = weight * weighted_mean(error, link.confidence)
                terms["cross_reconstruction"] = terms["cross_reconstruction"] + error
            mu_a, mu_b = self.shared(qz[a].loc), self.shared(qz[b].loc)
            same = self._of_same_batch(tensors["profiles"][a].covariates, tensors["profiles"][b].covariates)
            terms["contrastive"] = terms["contrastive"] + weight * self._contrastive(mu_a, mu_b, link, same)
        for (a, b), link, _ in self._mixed_links(tensors["links"], tensors["matches"]):
            linked[a], linked[b] = linked[a].index_fill(0, link.row, 1.0), linked[b].index_fill(0, link.col, 1.0)
        for m in z:
            terms["combination"] = terms["combination"] + weighted_mean(combination(z[m], aggregated[m]), linked[m])
        for (a, b), match in tensors["matches"].items():
            f = _dense(match, len(z[a]), len(z[b]))
            for z_a, z_b, weight in ((aggregated[a], aggregated[b], f), (aggregated[b], aggregated[a], f.T)):
                has_match = (weight.sum(dim=1) > 0).to(z_a.dtype)
                terms["alignment"] = terms["alignment"] + weighted_mean(alignment(z_a, z_b, weight), has_match)
        return terms

    def _of_same_batch(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor | None:
        """Whether profiles with these covariates are of one batch, shape ``(n_a, n_b)``; None without batches."""
        if not self.n_batches:
            return None
        code_a, code_b = (c[:, : self.n_batches].argmax(dim=1) for c in (a, b))
        return code_a[:, None] == code_b

    def _contrastive(
        self, mu_a: torch.Tensor, mu_b: torch.Tensor, link: LinkBatch, same: torch.Tensor | None
    ) -> torch.Tensor:
        back, temperature = link._replace(row=link.col, col=link.row), self.temperature
        directions = []
        for x, y, links, known, comparable in (
            (mu_a, mu_b, link, link.col_known, same),
            (mu_b, mu_a, back, link.row_known, None if same is None else same.T),
        ):
            confidences = _dense(links, len(x), len(y))
            value = contrastive_alignment(
                x, y, confidences, temperature, known, self.unknown_negative_weight, comparable
            )
            directions.append(weighted_mean(value, confidences.sum(dim=1).clamp(max=1.0)))
        return torch.stack(directions).mean()


def within(mean: torch.Tensor, log_library_range: torch.Tensor) -> torch.Tensor:
    """Means of counts, shape ``(n, n_vars)``, scaled so that their sum is in a range."""
    total, (low, high) = mean.sum(dim=1, keepdim=True), log_library_range.exp()
    return mean * (total.clamp(low, high) / total)


def _head(observation: Observation) -> Head:
    """What turns the outputs of a decoder into a distribution of a modality."""
    if not observation.is_count:
        return UnitGaussianHead(observation.n_explained)
    head = HEADS[observation.likelihood](observation.n_explained)
    return head.requires_grad_(observation.likelihood == "zinb")  # the dispersion of others is fitted in closed form


def _output(n_hidden: int, observation: Observation, n_parameters: int) -> nn.Module:
    """Last layer of a decoder: to all counts by way of as many numbers as there are components of them."""
    n_prepared, n_out = observation.n_prepared, n_parameters * observation.n_explained
    if observation.n_explained == n_prepared:
        return nn.Linear(n_hidden, n_out)
    return nn.Sequential(nn.Linear(n_hidden, n_prepared), nn.Linear(n_prepared, n_out))


def _explained(batch: ProfileBatch) -> torch.Tensor:
    """What decoders explain of profiles, shape ``(n, n_explained)``."""
    return batch.h if batch.counts is None else batch.counts


def _library(counts: torch.Tensor | None) -> torch.Tensor | None:
    """Library size of counts, shape ``(n, 1)``; None without counts."""
    return None if counts is None else library_size(counts)[:, None]


def _rows(values: torch.Tensor | None, rows: torch.Tensor | slice) -> torch.Tensor | None:
    return None if values is None else values[rows]


def of_batch(covariates: torch.Tensor, n_batches: int, batch: int) -> torch.Tensor:
    """Covariates with another batch, the first `n_batches` columns of which say which."""
    told = torch.eye(n_batches, device=covariates.device)[batch].expand(len(covariates), n_batches)
    return torch.cat([told, covariates[:, n_batches:]], dim=1)


def mean_over_batches(
    decoded: Callable[[torch.Tensor], torch.Tensor], covariates: torch.Tensor, n_batches: int, batches: Sequence[int]
) -> torch.Tensor:
    """What is decoded given covariates, averaged over some batches; without any, in the batch that they tell."""
    told = [of_batch(covariates, n_batches, b) for b in batches] or [covariates]
    means = [decoded(c) for c in told]
    return torch.stack(means).mean(dim=0) if len(means) > 1 else means[0]


def _mean(values: torch.Tensor) -> torch.Tensor:
    """Mean over profiles, 0 where the batch has none of the modality."""
    return values.sum() / max(1, len(values))


def _row_sums(confidence: torch.Tensor, row: torch.Tensor, n_rows: int) -> torch.Tensor:
    return torch.zeros(n_rows, device=confidence.device).index_add(0, row, confidence)


def _dense(link: LinkBatch, n_rows: int, n_cols: int) -> torch.Tensor:
    """The block as a matrix, shape ``(n_rows, n_cols)``."""
    return torch.zeros(n_rows, n_cols, device=link.row.device).index_put((link.row, link.col), link.confidence)
