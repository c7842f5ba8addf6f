"""Distributions of counts: denoised rates, draws of what would be measured, and how likely is what was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from scvi.distributions import NegativeBinomial
from torch.distributions import Bernoulli

from couplevi._arrays import dense
from couplevi.model.jamie.anchors import joint
from couplevi.model.jamie.inference import posteriors
from couplevi.model.jamie.module import SMALLEST_RATE, mean_over_batches
from couplevi.preparation import library_size, presence

if TYPE_CHECKING:
    from anndata import AnnData

    from couplevi._types import FloatArray, IntArray
    from couplevi.model.jamie.module import JAMIEModule
    from couplevi.registry import ModalityReader, Registered


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
            batch = [batches[i]] if batches else []
            found.append(_draw(module, source, target, h, z, c, batch))
        yield rows, torch.stack(found, dim=2).cpu().numpy()


def _draw(
    module: JAMIEModule,
    source: str,
    target: str,
    h: torch.Tensor,
    z: torch.Tensor,
    covariates: torch.Tensor,
    batch: Sequence[int],
) -> torch.Tensor:
    """One draw of each count, shape ``(n, n_vars)``."""
    if module.is_anchored(source, target):
        mixture = module.mixture(source, target, z, covariates, batch[0] if batch else None)
        mean = mixture.root * mixture.rates[torch.multinomial(mixture.log_weights.exp(), 1)[:, 0]]
    else:
        mean = module.predict(source, target, h, z, covariates, batch)
    if module.observation(target).is_binary:
        return torch.bernoulli(mean)
    shape = 1 / module.residual_variance(source, target)
    gamma = torch.distributions.Gamma(shape.expand_as(mean), shape / mean.clamp(min=SMALLEST_RATE))
    return torch.poisson(gamma.sample())


@torch.inference_mode()
def log_likelihoods(
    module: JAMIEModule, registered: Registered, source: str, target: str, batch_size: int | None
) -> tuple[IntArray, FloatArray]:
    """Cells measured in both modalities, rows of ``obs``, and the log-probability of the counts of each, given the source."""
    reader, explained = registered.readers[source], registered.readers[target]
    profiles, measured = registered.profiles(source), registered.profiles(target)
    place = np.full(len(registered.obs_names), -1)
    place[registered.rows(target)] = np.arange(measured.n_obs)
    place, found = place[registered.rows(source)], np.full(profiles.n_obs, np.nan)
    counts, observation = explained.read(measured), module.observation(target)
    for rows, h, c, q in posteriors(module, reader, profiles, registered.covariates(source), batch_size):
        both = np.flatnonzero(place[rows] >= 0)
        if not len(both):
            continue
        values = counts[place[rows][both]]
        x = torch.from_numpy(np.asarray(dense(presence(values) if observation.is_binary else values), np.float32)).to(h)
        z, h, c = (part[both] for part in (module.shared(q.loc), h, c))
        found[rows][both] = _log_likelihood(module, source, target, h, z, c, x).cpu().numpy()
    known = ~np.isnan(found)
    return registered.rows(source)[known], found[known]


def _log_likelihood(
    module: JAMIEModule,
    source: str,
    target: str,
    h: torch.Tensor,
    z: torch.Tensor,
    covariates: torch.Tensor,
    x: torch.Tensor,
) -> torch.Tensor:
    """Log-probability of all counts of each profile, shape ``(n,)``."""
    overdispersion = module.residual_variance(source, target)
    if module.is_anchored(source, target):
        factor = module.anchors(source, target).joint_factor
        return joint(module.mixture(source, target, z, covariates, None), x, overdispersion * factor)
    mean = module.predict(source, target, h, z, covariates, ()).double()
    if module.observation(target).is_binary:
        return Bernoulli(mean.clamp(SMALLEST_RATE, 1 - SMALLEST_RATE)).log_prob(x.double()).sum(dim=1)
    px = NegativeBinomial(mu=mean.clamp(min=SMALLEST_RATE), theta=1 / overdispersion.double())
    return px.log_prob(x.double()).sum(dim=1)
