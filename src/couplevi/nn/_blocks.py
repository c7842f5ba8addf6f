from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.distributions import Distribution, Normal

from couplevi.nn._heads import Head

LOG_VARIANCE_RANGE = (-10.0, 10.0)
"""Bounds of the log-variance of the latent, so that its exponential neither vanishes nor overflows."""
N_LEVELS = 2**16
"""Values of 16 random bits."""


class BatchNorm1d(nn.BatchNorm1d):  # of that name, as shap tells layers by the names of their classes
    """Batch normalisation that uses its running statistics for a training batch of one row."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training and len(x) < 2:
            return nn.functional.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        return super().forward(x)


class Dropout(nn.Dropout):  # of that name, too
    """Dropout whose masks are cheap to draw on a CPU, where that of PyTorch takes longer than the layers around it.

    Four entries of a mask come from one draw of 64 random bits; the probability is rounded to a multiple of 1 / 65,536.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or self.p == 0 or x.device.type != "cpu" or torch.compiler.is_compiling():
            return super().forward(x)
        n_kept = max(1, round((1 - self.p) * N_LEVELS))
        bits = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        kept = (
            bits.view(torch.int16)[: x.numel()].view(x.shape).lt_(n_kept - N_LEVELS // 2)
        )  # in place: 4 times as fast
        return x * kept.to(x.dtype).mul_(N_LEVELS / n_kept)


NORMALIZATIONS: dict[str, type[nn.Module]] = {"batch": BatchNorm1d, "layer": nn.LayerNorm}
ACTIVATIONS: dict[str, type[nn.Module]] = {"gelu": nn.GELU, "leaky_relu": nn.LeakyReLU}


def hidden_layers(
    n_in: int, widths: Sequence[int], *, normalization: str, activation: str, dropout_rate: float
) -> nn.Sequential:
    """Linear, normalisation, activation and dropout for each width."""
    layers: list[nn.Module] = []
    for before, after in pairwise([n_in, *widths]):
        layers += [
            nn.Linear(before, after),
            NORMALIZATIONS[normalization](after),
            ACTIVATIONS[activation](),
            Dropout(dropout_rate),
        ]
    return nn.Sequential(*layers)


class Encoder(nn.Module):
    """Approximate posterior of the latent given the prepared features of a profile.

    Parameters
    ----------
    n_in, n_latent
        Number of prepared features and of latent dimensions.
    widths
        Widths of the hidden layers.
    input_dropout_rate
        Probability in [0, 1) that a prepared feature is hidden from the encoder in training.
    n_covariates
        Number of covariates that are read beside the features, and never hidden.
    **hidden
        `normalization`, `activation` and `dropout_rate` of the hidden layers.
    """

    def __init__(
        self,
        n_in: int,
        n_latent: int,
        widths: Sequence[int],
        *,
        input_dropout_rate: float = 0.0,
        n_covariates: int = 0,
        **hidden: Any,
    ) -> None:
        super().__init__()
        self.input_dropout = Dropout(input_dropout_rate)
        self.n_in = n_in
        self.hidden = hidden_layers(n_in + n_covariates, widths, **hidden)
        n_hidden = [n_in + n_covariates, *widths][-1]
        self.mean = nn.Linear(n_hidden, n_latent)
        self.log_variance = nn.Linear(n_hidden, n_latent)

    def forward(self, x: torch.Tensor) -> Normal:
        """Posterior given features, and covariates behind them, shape ``(n, n_in + n_covariates)``."""
        h, covariates = x[:, : self.n_in], x[:, self.n_in :]
        hidden = self.hidden(torch.cat([self.input_dropout(h), covariates], dim=1))
        log_variance = self.log_variance(hidden).clamp(*LOG_VARIANCE_RANGE)
        return Normal(self.mean(hidden), (0.5 * log_variance).exp(), validate_args=False)


class Decoder(nn.Module):
    """Distribution of the prepared features of a profile given its latent.

    Parameters
    ----------
    n_latent, widths
        Number of latent dimensions, widths of the hidden layers.
    output
        Module from ``(n, widths[-1])`` to the parameters of the distribution.
    head
        Module from these to the distribution.
    **hidden
        `normalization`, `activation` and `dropout_rate` of the hidden layers.
    """

    def __init__(self, n_latent: int, widths: Sequence[int], output: nn.Module, head: Head, **hidden: Any) -> None:
        super().__init__()
        self.hidden = hidden_layers(n_latent, widths, **hidden)
        self.output = output
        self.head = head
        self.by_row = hidden["normalization"] != "batch"

    def forward(self, z: torch.Tensor, library: torch.Tensor | None = None) -> Distribution:
        return self.head(self.output(self.hidden(z)), library)

    def each(self, parts: Sequence[tuple[torch.Tensor, torch.Tensor | None]]) -> list[Distribution]:
        """Distribution of each of several latents and library sizes, in one pass unless it would mix their statistics."""
        if not self.by_row:
            return [self(*part) for part in parts]
        eta = self.output(self.hidden(torch.cat([z for z, _ in parts]))).split([len(z) for z, _ in parts])
        return [self.head(e, library) for e, (_, library) in zip(eta, parts, strict=True)]


class ResidualLayers(nn.Module):
    """Layers of two steps, the second of which is added to the first: ``relu(u + W norm(dropout(u)))``, ``u = relu(V x)``.

    Parameters
    ----------
    n_in, widths
        Number of inputs, and width of each layer.
    dropout_rate
        Probability in [0, 1) that a hidden unit is dropped between the steps.

    References
    ----------
    Liu, Zeng and Xu, the joint autoencoder (JAE), in Lance et al., Multimodal single cell data integration challenge,
    PMLR 2022.
    """

    def __init__(self, n_in: int, widths: Sequence[int], *, dropout_rate: float) -> None:
        super().__init__()
        sizes = list(pairwise([n_in, *widths]))
        self.first = nn.ModuleList(nn.Linear(before, after) for before, after in sizes)
        self.second = nn.ModuleList(
            nn.Sequential(Dropout(dropout_rate), BatchNorm1d(after), nn.Linear(after, after)) for _, after in sizes
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for first, second in zip(self.first, self.second, strict=True):
            u = torch.relu(first(x))
            x = torch.relu(u + second(u))
        return x
