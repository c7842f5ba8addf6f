from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import nn

from couplevi._validate import find_names
from couplevi.model.jamie.module import mean_over_batches, within
from couplevi.nn import Derivable, Derivative, Mean, Route, UnitGaussianHead, chain, frozen_copy, linear, one_layer

if TYPE_CHECKING:
    from couplevi._types import FloatArray, IntArray
    from couplevi.model.jamie.module import JAMIEModule
    from couplevi.nn import Decoder, Encoder


def make_route(
    module: JAMIEModule,
    var_names: Mapping[str, Sequence[str]],
    source: str,
    target: str | None,
    features: Sequence[str] | None,
    batches: Sequence[int] = (),
) -> Route:
    """Route from a modality to its latent or another modality, see :meth:`~couplevi.model.JAMIE.route`."""
    names = [str(k) for k in range(module.n_latent)] if target is None else list(var_names[target])
    what = "latent" if target is None else target
    columns = np.arange(len(names)) if features is None else find_names(names, features, f"the outputs of {what!r}")
    encoder = frozen_copy(module.encoder(source))
    parts: list[nn.Module] = [Shared(encoder, module.n_latent, module.n_covariates if target is not None else 0)]
    mix: FloatArray | None = None
    offset: FloatArray = np.zeros(len(columns))
    if target is None:
        if features is not None:
            parts.append(linear(np.eye(len(names))[:, columns]))
    else:
        decoder = Decoded(frozen_copy(module.decoder(target)), module, target, batches)
        if module.linear_path(source, target).share > 0:  # which it is not of counts
            parts = [Blended(nn.Sequential(*parts, decoder), module, source, target, batches)]
        else:
            parts.append(decoder)
        if not module.observation(target).is_count:
            readout, mix, offset = _readout(module, target, columns)
            parts += readout
        elif features is not None:
            parts.append(Columns(columns))
    network = nn.Sequential(*parts).to(module.device).eval()
    observation = module.observation(source)
    return Route(
        observation.preparation.record(),
        network,
        mix,
        offset,
        [names[c] for c in columns],
        columns,
        len(names),
        module.n_covariates,
        observation.to_prepare,
    )


class Shared(Derivable):
    """Shared latents, and covariates behind them, of features and covariates."""

    def __init__(self, encoder: Encoder, n_latent: int, n_covariates: int) -> None:
        super().__init__()
        self.encoder = Mean(encoder)
        self.n_latent, self.n_covariates = n_latent, n_covariates

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Latents of prepared features and covariates, shape ``(n, n_latent + n_covariates)``."""
        return self._told(self.encoder(x)[:, : self.n_latent], x)

    def derivative(self, n_passes: int) -> Derivative | None:
        """See :class:`~couplevi.nn.Derivable`."""
        encoder = cast("Encoder", self.encoder.module)
        latent = one_layer(encoder.hidden, encoder.mean, encoder.n_in, self.n_latent, n_passes)
        if latent is None:
            return None

        def derivative(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            z, slopes = latent(x)
            return self._told(z, x), slopes

        return derivative

    def _told(self, z: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Latents, and the covariates that stand behind the features."""
        return torch.cat([z, x[:, x.shape[1] - self.n_covariates :]], dim=1) if self.n_covariates else z


class Decoded(Derivable):
    """Mean of a decoder over batches, given shared latents and covariates."""

    library_range: torch.Tensor

    def __init__(self, decoder: Decoder, module: JAMIEModule, target: str, batches: Sequence[int]) -> None:
        super().__init__()
        self.decoder = Mean(decoder)
        self.has_library = module.has_library(target)
        self.register_buffer("library_range", module.library_range(target).clone())
        self.n_latent, self.n_private, self.n_batches = module.n_latent, module.n_private, module.n_batches
        self.batches = list(batches)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Mean of what is explained of the target: prepared features, or counts of the library that is expected."""
        z, covariates = x[:, : self.n_latent], x[:, self.n_latent :]
        private = z.new_zeros(len(z), self.n_private)

        def decoded(told: torch.Tensor) -> torch.Tensor:
            mean = self.decoder(torch.cat([z, private, told], dim=1))
            return within(mean, self.library_range) if self.has_library else mean

        return mean_over_batches(decoded, covariates, self.n_batches, self.batches)

    def derivative(self, n_passes: int) -> Derivative | None:
        """See :class:`~couplevi.nn.Derivable`."""
        decoder = cast("Decoder", self.decoder.module)
        layer = one_layer(decoder.hidden, decoder.output, self.n_latent, decoder.head.n_out, n_passes)
        if layer is None or not isinstance(decoder.head, UnitGaussianHead):  # whose mean is what the layer gives
            return None

        def derivative(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            z, covariates = x[:, : self.n_latent], x[:, self.n_latent :]
            private = z.new_zeros(len(z), self.n_private)

            def both(told: torch.Tensor) -> torch.Tensor:
                mean, slopes = layer(torch.cat([z, private, told], dim=1))
                return torch.cat([slopes, mean[:, :, None]], dim=2)

            slopes_and_mean = mean_over_batches(both, covariates, self.n_batches, self.batches)
            return slopes_and_mean[:, :, -1], slopes_and_mean[:, :, :-1]

        return derivative


class Columns(nn.Module):
    """Some of the features."""

    columns: torch.Tensor

    def __init__(self, columns: IntArray) -> None:
        super().__init__()
        self.register_buffer("columns", torch.from_numpy(columns))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features chosen, shape ``(n, n_columns)``."""
        return x[:, self.columns]


class Blended(Derivable):
    """Decoder and linear path together, by the share of the latter, given prepared features and covariates.

    The path being linear, its mean over batches is that of the mean of their covariates.
    """

    def __init__(
        self, network: nn.Module, module: JAMIEModule, source: str, target: str, batches: Sequence[int]
    ) -> None:
        super().__init__()
        path = module.linear_path(source, target)
        weight = path.share * torch.cat([path.weight, path.source_effects, path.target_effects], dim=1)
        self.network, self.path = network, linear(weight.T.cpu().numpy(), (path.share * path.bias).cpu().numpy())
        self.decoder_share = 1 - float(path.share)
        self.n_covariates, self.n_batches, self.batches = module.n_covariates, module.n_batches, list(batches)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Mean of the prepared features of the target."""
        return self.decoder_share * self.network(x) + self._along_path(x)

    def derivative(self, n_passes: int) -> Derivative | None:
        """See :class:`~couplevi.nn.Derivable`."""
        decoded = chain(self.network, n_passes)
        if decoded is None:
            return None

        def derivative(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            mean, slopes = decoded(x)
            of_path = self.path.weight[:, : x.shape[1] - self.n_covariates]
            return self.decoder_share * mean + self._along_path(x), torch.add(of_path, slopes, alpha=self.decoder_share)

        return derivative

    def _along_path(self, x: torch.Tensor) -> torch.Tensor:
        covariates = x[:, x.shape[1] - self.n_covariates :]
        told = mean_over_batches(lambda c: c, covariates, self.n_batches, self.batches)
        return self.path(torch.cat([x, told], dim=1))


def _readout(
    module: JAMIEModule, target: str, columns: IntArray
) -> tuple[list[nn.Module], FloatArray | None, FloatArray]:
    """Prepared features to those in their own units: a linear step, left to the mix where that is cheaper."""
    record = module.observation(target).preparation.record()
    gain = record.scale[columns] * np.float32(record.rms)
    offset = record.mean[columns].astype(np.float64)
    if record.components is None:
        mix = np.zeros((record.n_prepared, len(columns)), dtype=np.float32)
        mix[columns, np.arange(len(columns))] = gain
    else:
        mix = record.components[:, columns] * gain
    if len(columns) < len(mix):
        return [linear(mix)], None, offset
    return [], mix, offset
