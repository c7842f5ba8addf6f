"""Distributions of counts: denoised rates, and draws of what would be measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import torch
from scvi.distributions import NegativeBinomial
from torch.distributions import Gamma

from couplevi.model.jamie.inference import posteriors
from couplevi.model.jamie.module import mean_over_batches
from couplevi.preparation import library_size

SMALLEST_RATE = 1e-6

if TYPE_CHECKING:
    from anndata import AnnData

    from couplevi._types import FloatArray
    from couplevi.model.jamie.module import JAMIEModule
    from couplevi.registry import ModalityReader


@torch.inference_mode()
def denoised(
    module: JAMIEModule,
    reader: ModalityReader,
    profiles: AnnData,
    covariates: FloatArray,
    batches: Sequence[int],
    size: float | Literal["latent"],
    n_samples: int,
    batch_size: int | None,
) -> Iterator[tuple[slice, FloatArray]]:
    """Rows, and samples of the rates of their counts, shape ``(n_samples, n, n_vars)``; one is that of the mean latent.

    Scaled to a library of some `size`, or to the measured one if it is ``"latent"``.
    """
    matrix, m = reader.read(profiles), reader.modality
    for rows, _, c, q in posteriors(module, reader, profiles, covariates, batch_size):
        measured = torch.from_numpy(library_size(matrix[rows])[:, None]).to(c)
        library = measured if size == "latent" else torch.full_like(measured, float(size))
        latents = torch.cat([q.loc] if n_samples == 1 else [q.sample() for _ in range(n_samples)])

        def decoded(told: torch.Tensor, z: torch.Tensor = latents, library: torch.Tensor = library) -> torch.Tensor:
            px = module.decode(m, module.shared(z), told, module.private(z), library.repeat(n_samples, 1))
            return px.mu if isinstance(px, NegativeBinomial) else px.mean  # without the further zeros of some

        rates = mean_over_batches(decoded, c.repeat(n_samples, 1), module.n_batches, batches)
        yield rows, rates.reshape(n_samples, len(c), -1).cpu().numpy()


@torch.inference_mode()
def drawn(
    module: JAMIEModule,
    reader: ModalityReader,
    profiles: AnnData,
    covariates: FloatArray,
    target: str,
    batches: Sequence[int],
    n_samples: int,
    batch_size: int | None,
) -> Iterator[tuple[slice, FloatArray]]:
    """Rows, and draws of what would be measured of a target, shape ``(n, n_vars, n_samples)``, each in one of the batches."""
    source = reader.modality
    of_draw = torch.randint(max(len(batches), 1), (n_samples,)).tolist()
    for rows, h, c, q in posteriors(module, reader, profiles, covariates, batch_size):
        z, found = module.shared(q.loc), []
        for i in of_draw:
            mean = module.predict(source, target, h, z, c, [batches[i]] if batches else [])
            found.append(_draw(module, source, target, mean))
        yield rows, torch.stack(found, dim=2).cpu().numpy()


def _draw(module: JAMIEModule, source: str, target: str, mean: torch.Tensor) -> torch.Tensor:
    """One draw of each count, shape ``(n, n_vars)``."""
    if module.observation(target).is_binary:
        return torch.bernoulli(mean)
    shape = 1 / module.residual_variance(source, target)
    return torch.poisson(Gamma(shape.expand_as(mean), shape / mean.clamp(min=SMALLEST_RATE)).sample())
