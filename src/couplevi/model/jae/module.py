from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, cast

import torch
from scvi.module.base import BaseModuleClass, LossOutput, auto_move_data
from torch import nn

from couplevi.losses import smoothed_cross_entropy, uniform_cross_entropy, weighted_mean
from couplevi.nn import Observation, ResidualLayers

if TYPE_CHECKING:
    from couplevi._types import CellBatch

BLOCKS = ("labels", "batch", "cell_cycle", "free")
"""Parts of the latent, in this order."""
TERMS = ("reconstruction", "label", "batch", "cell_cycle")
TINY = 1e-12
FEWEST_CELLS, CELLS_FOR_HALF = 3, 5
"""Cells of a label in a batch from which on its offset there is taken out, and those at which half of it is."""
SHRINKAGE = 0.1
"""Share of the spread around labels that is the same in all directions."""


class JAEModule(BaseModuleClass):
    """One autoencoder for all modalities, parts of whose latent are what is known of a cell.

    Parameters
    ----------
    modalities
        Number of features and of principal components (None: standardised features) of each modality.
    blocks
        Number of latent dimensions of each of the `BLOCKS`; those of the labels are their logits.
    n_batches, n_covariates
        Number of batches, whose columns are the first of the covariates, and of columns that the decoder reads, the last
        ones.
    widths
        Hidden widths of the encoder; the decoder has them in reverse.
    dropout_rate, input_dropout_rate, modality_dropout_rate
        Probability in [0, 1) that a hidden unit, a prepared feature, or a modality of a cell that has others, is hidden
        from the encoder in training.
    weights
        Weight of each of the `TERMS` of the objective.
    label_smoothing
        Share of the target of a label that is spread over all labels.
    guess_threshold
        Probability from which on a predicted label counts for a cell without one.
    balanced
        Whether cells are placed by the probabilities of labels and by dimensions of equal weight, and not by the latent
        itself.
    """

    centre: torch.Tensor
    gain: torch.Tensor
    shift: torch.Tensor
    free_means: torch.Tensor
    label_means: torch.Tensor
    whitening: torch.Tensor
    distance_moments: torch.Tensor

    def __init__(
        self,
        modalities: Mapping[str, tuple[int, int | None]],
        blocks: Mapping[str, int],
        *,
        n_batches: int,
        n_covariates: int,
        widths: Sequence[int],
        dropout_rate: float,
        input_dropout_rate: float,
        modality_dropout_rate: float,
        weights: Mapping[str, float],
        label_smoothing: float,
        guess_threshold: float,
        balanced: bool,
    ) -> None:
        super().__init__()
        self.index = {m: i for i, m in enumerate(modalities)}
        observations = [Observation(*sizes) for sizes in modalities.values()]
        self.observations = nn.ModuleList(observations)
        ends = accumulate((blocks[name] for name in BLOCKS), initial=0)
        self.blocks = {name: slice(*pair) for name, pair in zip(BLOCKS, pairwise(ends), strict=True)}
        self.n_batches, self.n_covariates = n_batches, n_covariates
        self.modality_dropout_rate = modality_dropout_rate
        self.weights = dict(weights)
        self.label_smoothing, self.guess_threshold = label_smoothing, guess_threshold
        self.balanced = balanced
        self.sizes = [o.n_prepared for o in observations]
        n_in, n_latent = sum(self.sizes), sum(blocks.values())
        self.input_dropout = nn.Dropout(input_dropout_rate)
        self.hidden = ResidualLayers(n_in, widths, dropout_rate=dropout_rate)
        self.output = nn.Linear(widths[-1], n_latent)
        self.linear = nn.Linear(n_in, n_latent, bias=False)
        layers = [n_latent + n_covariates, *reversed(widths)]
        steps = [part for sizes in pairwise(layers) for part in (nn.Linear(*sizes), nn.ReLU())]
        self.decoder = nn.Sequential(*steps, nn.Linear(layers[-1], n_in))
        self.decoder_linear = nn.Linear(layers[0], n_in, bias=False)
        self.register_buffer("centre", torch.zeros(n_latent))
        self.register_buffer("gain", torch.ones(n_latent))
        self.register_buffer("shift", torch.zeros(n_batches, blocks["labels"], blocks["free"]))
        self.register_buffer("free_means", torch.zeros(blocks["labels"], blocks["free"]))
        self.register_buffer("label_means", torch.zeros(blocks["labels"], n_latent))
        self.register_buffer("whitening", torch.eye(n_latent))
        self.register_buffer("distance_moments", torch.ones(2))

    def observation(self, modality: str) -> Observation:
        """How a modality is read."""
        return cast("Observation", self.observations[self.index[modality]])

    def covariate_weights(self) -> dict[str, nn.Parameter]:
        """Weights, by name, whose last columns are those of the covariates."""
        return {name: self.get_parameter(name) for name in ("decoder.0.weight", "decoder_linear.weight")}

    # inference

    @auto_move_data
    def encode(self, h: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Latent of cells, shape ``(n, n_latent)``, in single precision.

        Parameters
        ----------
        h
            Prepared features by modality, shape ``(n, n_prepared)``; 0 where a cell was not measured in it. Modalities
            in which none was may be missing.
        """
        some = next(iter(h.values()))
        sizes = dict(zip(self.index, self.sizes, strict=True))
        parts = [h[m] if m in h else some.new_zeros(len(some), n) for m, n in sizes.items()]
        x = self.input_dropout(torch.cat(parts, dim=1))
        return (self.output(self.hidden(x)) + self.linear(x)).float()

    @auto_move_data
    def decode(self, z: torch.Tensor, covariates: torch.Tensor) -> dict[str, torch.Tensor]:
        """Prepared features of each modality given latents and covariates, shape ``(n, n_prepared)``."""
        known = torch.cat([z, covariates[:, covariates.shape[1] - self.n_covariates :]], dim=1)
        x = (self.decoder(known) + self.decoder_linear(known)).float()
        return dict(zip(self.index, x.split(self.sizes, dim=1), strict=True))

    def block(self, z: torch.Tensor, name: str) -> torch.Tensor:
        """One of the `BLOCKS` of latents, or of where cells are placed."""
        return z[:, self.blocks[name]]

    def place(self, z: torch.Tensor, covariates: torch.Tensor) -> torch.Tensor:
        """Where cells with these latents and covariates are placed, shape ``(n, n_latent)``."""
        return (self._told(z, covariates) - self.centre) * self.gain

    def _told(self, z: torch.Tensor, covariates: torch.Tensor) -> torch.Tensor:
        """Probabilities in place of logits, and free dimensions without what is a batch's alone."""
        if not self.balanced:
            return z
        p, free = self.block(z, "labels").softmax(dim=1), self.block(z, "free")
        for b, shift in enumerate(self.shift):
            free = free - covariates[:, b, None] * (p @ shift)
        return torch.cat([p, z[:, self.blocks["labels"].stop : self.blocks["free"].start], free], dim=1)

    def fit_place(self, z: torch.Tensor, covariates: torch.Tensor) -> None:
        """Take out what is a batch's alone, and let both parts of these cells have a total variance of 1.

        A dimension of the cell cycle counts like one of the free ones.
        """
        if not self.balanced:
            return
        batch = covariates[:, : self.n_batches]
        means, n_cells = self._means_of_batches(z, batch)
        weight = torch.where(n_cells >= FEWEST_CELLS, n_cells / (n_cells + CELLS_FOR_HALF), 0.0)
        self.free_means.copy_((weight[..., None] * means).sum(dim=0) / weight.sum(dim=0).clamp(min=TINY)[:, None])
        self._fit_shift(means, n_cells, (weight > 0).sum(dim=0) > 1)
        told = self._told(z, covariates)
        variance, free = told.var(dim=0, correction=0), self.blocks["free"]
        self.centre.copy_(told.mean(dim=0))
        for name in ("labels", "free"):
            self.gain[self.blocks[name]] = variance[self.blocks[name]].sum().clamp(min=TINY).rsqrt()
        cycle = self.blocks["cell_cycle"]
        self.gain[cycle] = (variance[cycle] * (free.stop - free.start)).clamp(min=TINY).rsqrt()

    def fit_new_batches(self, z: torch.Tensor, covariates: torch.Tensor, added: torch.Tensor) -> None:
        """Take out what is alone that of batches which were added, given what was fitted to the others."""
        if not self.balanced:
            return
        means, n_cells = self._means_of_batches(z, covariates[:, : self.n_batches])
        before = self.shift.clone()
        self._fit_shift(means, n_cells, self.free_means.abs().sum(dim=1) > 0)
        self.shift[~added] = before[~added]

    def _means_of_batches(self, z: torch.Tensor, batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean of the free dimensions of cells by their most probable label, and how many these are, in each batch."""
        n_batches, n_labels, n_free = self.shift.shape
        means, n_cells = torch.zeros_like(self.shift), self.shift.new_zeros(n_batches, n_labels)
        if means.numel():
            sure, label = self.block(z, "labels").softmax(dim=1).max(dim=1)
            place = batch.argmax(dim=1) * n_labels + label
            n_cells.view(-1).index_add_(0, place, sure)
            means.view(-1, n_free).index_add_(0, place, sure[:, None] * self.block(z, "free"))
            means /= n_cells.clamp(min=TINY)[..., None]
        return means, n_cells

    def _fit_shift(self, means: torch.Tensor, n_cells: torch.Tensor, shared: torch.Tensor) -> None:
        """Offset of each label in each batch from its mean over batches, shrunk where it has few cells."""
        kept = (n_cells >= FEWEST_CELLS) & shared
        weight = torch.where(kept, n_cells / (n_cells + CELLS_FOR_HALF), 0.0)
        self.shift.copy_(weight[..., None] * (means - self.free_means))

    def fit_distance(self, z: torch.Tensor, label: torch.Tensor) -> None:
        """Fit where cells with each label are in the latent, how they spread around it, and how far they are from it.

        The spread is that within all labels, a tenth of it replaced by the same in all directions.

        Parameters
        ----------
        z, label
            Latents of cells and positions of their labels, shapes ``(n, n_latent)`` and ``(n,)``. A label of none of them
            stays where it was.
        """
        z, n_latent = z.double(), z.shape[1]
        member = nn.functional.one_hot(label, len(self.label_means)).double()
        n_cells = member.sum(dim=0)[:, None]
        means = torch.where(n_cells > 0, member.T @ z / n_cells.clamp(min=1), self.label_means.double())
        within = z - means[label]
        spread = within.T @ within / len(z)
        identity = torch.eye(n_latent, dtype=z.dtype, device=z.device)
        spread = (1 - SHRINKAGE) * spread + (SHRINKAGE * spread.trace() / n_latent + TINY) * identity
        self.label_means.copy_(means)
        self.whitening.copy_(torch.linalg.inv(torch.linalg.cholesky(spread)).T)
        own = (within @ self.whitening.double()).square().sum(dim=1)
        self.distance_moments.copy_(torch.stack([own.mean(), own.var(correction=0)]).clamp(min=TINY))

    def distance2(self, z: torch.Tensor) -> torch.Tensor:
        """Squared Mahalanobis distance of latents from the nearest label, shape ``(n,)``.

        Lee et al., A simple unified framework for detecting out-of-distribution samples, NeurIPS 2018.
        """
        return torch.cdist(z @ self.whitening, self.label_means @ self.whitening).square().amin(dim=1)

    def errors(self, cells: CellBatch, decoded: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Squared error of each modality, a mean over prepared features, shape ``(n,)``; 0 where it was not measured."""
        squares = {m: (h - decoded[m]).square().mean(dim=1) for m, h in cells["h"].items()}
        return {m: torch.where(cells["measured"][m], square, 0.0) for m, square in squares.items()}

    # training

    def _get_inference_input(self, tensors: CellBatch, **kwargs: Any) -> dict[str, Any]:
        return {"h": tensors["h"], "measured": tensors["measured"]}

    def inference(
        self, h: dict[str, torch.Tensor], measured: dict[str, torch.Tensor], guess: bool = False
    ) -> dict[str, torch.Tensor]:
        """Latents `z`, and with `guess` the probabilities of labels `p` when nothing is hidden or dropped."""
        outputs = {"z": self.encode(self._some(h, measured) if self.training else h)}
        if guess:
            training = self.training
            self.eval()
            with torch.no_grad():
                outputs["p"] = self.block(self.encode(h), "labels").softmax(dim=1)
            self.train(training)
        return outputs

    def _some(self, h: dict[str, torch.Tensor], measured: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Hide one modality of some of the cells that have more."""
        if not self.modality_dropout_rate or len(h) == 1:
            return h
        there = torch.stack(list(measured.values()), dim=1)
        hides = (torch.rand(len(there), device=there.device) < self.modality_dropout_rate) & (there.sum(dim=1) > 1)
        which = (torch.rand(there.shape, device=there.device) * there).argmax(dim=1)
        return {m: torch.where((hides & (which == i))[:, None], 0.0, x) for i, (m, x) in enumerate(h.items())}

    def _get_generative_input(
        self, tensors: CellBatch, inference_outputs: dict[str, torch.Tensor], **kwargs: Any
    ) -> dict[str, torch.Tensor]:
        return {"z": inference_outputs["z"], "covariates": tensors["covariates"]}

    def generative(self, z: torch.Tensor, covariates: torch.Tensor) -> dict[str, torch.Tensor]:
        """Prepared features of each modality."""
        return self.decode(z, covariates)

    def loss(
        self,
        tensors: CellBatch,
        inference_outputs: dict[str, torch.Tensor],
        generative_outputs: dict[str, torch.Tensor],
        told: bool = True,
    ) -> LossOutput:
        """Weighted sum of the terms; without `told` of the reconstruction alone."""
        z = inference_outputs["z"]
        errors = self.errors(tensors, generative_outputs)
        n_measured = torch.stack(list(tensors["measured"].values())).sum(dim=0)
        reconstruction = torch.stack(list(errors.values())).sum(dim=0) / n_measured
        terms = {"reconstruction": reconstruction.mean()}
        if told:
            terms |= self._terms_of_blocks(tensors, z, inference_outputs.get("p"))
        return LossOutput(
            loss=torch.stack([self.weights[name] * value for name, value in terms.items()]).sum(),
            reconstruction_loss=reconstruction,
            extra_metrics={name: value.detach() for name, value in terms.items()},
        )

    def _terms_of_blocks(self, tensors: CellBatch, z: torch.Tensor, p: torch.Tensor | None) -> dict[str, torch.Tensor]:
        """Terms of the blocks that there are."""
        blocks, terms = {name: self.block(z, name) for name in BLOCKS}, {}
        if blocks["labels"].shape[1]:
            label, weight = tensors["label"], (tensors["label"] >= 0).float()
            if p is not None:
                sure, guess = p.max(dim=1)
                counts = (label < 0) & (sure > self.guess_threshold)
                label, weight = torch.where(counts, guess, label), torch.where(counts, sure.square(), weight)
            error = smoothed_cross_entropy(blocks["labels"], label, self.label_smoothing)
            terms["label"] = weighted_mean(error, weight)
        if blocks["batch"].shape[1]:
            terms["batch"] = uniform_cross_entropy(blocks["batch"]).mean()
        if blocks["cell_cycle"].shape[1]:
            known = tensors["scores"].isfinite()
            error = (blocks["cell_cycle"] - torch.where(known, tensors["scores"], 0.0)).square()
            terms["cell_cycle"] = weighted_mean(error.flatten(), known.float().flatten())
        return terms
