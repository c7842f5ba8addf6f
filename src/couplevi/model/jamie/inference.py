"""What a trained module makes of registered data, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

from couplevi._validate import check_count, check_modality, check_mudata, expected
from couplevi.dataloaders import Links
from couplevi.model._dataset import CHUNK, chunks

if TYPE_CHECKING:
    from anndata import AnnData
    from torch.distributions import Normal

    from couplevi._types import FloatArray
    from couplevi.model.jamie.module import JAMIEModule
    from couplevi.model.jamie.uncertainty import Uncertainty
    from couplevi.registry import ModalityReader, Registered


@torch.inference_mode()
def posteriors(
    module: JAMIEModule, reader: ModalityReader, profiles: AnnData, batch_size: int | None
) -> Iterator[tuple[slice, torch.Tensor, Normal]]:
    """Rows, prepared features and posterior of the profiles of a modality."""
    matrix = reader.read(profiles)
    preparation = module.observation(reader.modality).preparation.record()
    module.eval()
    step = CHUNK if batch_size is None else batch_size
    check_count(step, "batch_size")
    for rows, x in chunks(matrix, preparation, step):
        h = torch.from_numpy(x).to(module.device)
        yield rows, h, module.encode(reader.modality, h)


def latents_of_profiles(
    module: JAMIEModule, reader: ModalityReader, profiles: AnnData, give_mean: bool, batch_size: int | None
) -> FloatArray:
    """Latents of the profiles of a modality, each by itself, shape ``(n, n_latent)``."""
    z = np.empty((profiles.n_obs, module.n_latent), dtype=np.float32)
    for rows, _, q in posteriors(module, reader, profiles, batch_size):
        z[rows] = (q.loc if give_mean else q.sample()).cpu().numpy()
    return z


@torch.inference_mode()
def latents_of_cells(
    module: JAMIEModule, registered: Registered, give_mean: bool, batch_size: int | None
) -> FloatArray:
    """Mean over the modalities of a cell of latents averaged over all links; NaN for a cell with none of them."""
    z = {
        m: torch.from_numpy(
            latents_of_profiles(module, registered.readers[m], registered.profiles(m), give_mean, batch_size)
        )
        for m in registered.present
    }
    links, matches = (
        {pair: Links(matrix).all() for pair, matrix in registered.links(kind).items()}
        for kind in ("correspondence", "match")
    )
    weights = module.aggregation_weights()
    total = np.zeros((len(registered.obs_names), module.n_latent))
    weight = np.zeros((len(total), 1))
    for m, aggregated in module.aggregate(z, links, matches).items():
        rows = registered.rows(m)
        total[rows] += weights[m].item() * aggregated.cpu().numpy()
        weight[rows] += weights[m].item()
    return np.divide(total, weight, out=np.full_like(total, np.nan), where=weight > 0).astype(np.float32)


@torch.inference_mode()
def imputed(
    module: JAMIEModule,
    reader: ModalityReader,
    profiles: AnnData,
    target: str,
    uncertainty: Uncertainty | None,
    batch_size: int | None,
) -> Iterator[tuple[slice, FloatArray, FloatArray | None]]:
    """Rows, features of the target, and with `uncertainty` their standard deviations."""
    for rows, _, q in posteriors(module, reader, profiles, batch_size):
        mean = module.features(target, q.loc)
        yield rows, mean, None if uncertainty is None else uncertainty.sd(reader.modality, target, q, mean)


@torch.inference_mode()
def errors(
    module: JAMIEModule, registered: Registered, batch_size: int | None
) -> dict[str, tuple[FloatArray, FloatArray]]:
    """Reconstruction error and divergence of each profile, by modality; all of them have to be there."""
    mdata = check_mudata(registered.data)
    found = {}
    for m, reader in registered.readers.items():
        check_modality(mdata, m)
        if not mdata[m].n_obs:
            raise ValueError(expected(f"at least one cell of modality {m!r}", "none"))
        parts = [module.profile_errors(m, h, q) for _, h, q in posteriors(module, reader, mdata[m], batch_size)]
        error, kl = (torch.cat(part).cpu().numpy() for part in zip(*parts, strict=True))
        found[m] = error, kl
    return found
