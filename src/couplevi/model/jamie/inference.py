"""What a trained module makes of registered data, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from couplevi._validate import check_count, check_modality, check_mudata, expected
from couplevi.dataloaders import Links
from couplevi.model._dataset import CHUNK, chunks
from couplevi.preparation import FeatureRows

if TYPE_CHECKING:
    from anndata import AnnData
    from torch.distributions import Normal

    from couplevi._types import FloatArray
    from couplevi.model.jamie.module import JAMIEModule
    from couplevi.model.jamie.uncertainty import Uncertainty
    from couplevi.registry import ModalityReader, Registered


PARTS = ("shared", "private", "joint")


@torch.inference_mode()
def part_of_latents(module: JAMIEModule, z: torch.Tensor, private: Mapping[str, torch.Tensor], part: str) -> FloatArray:
    """One of the `PARTS` of latents, the first columns of which are the shared ones."""
    if part == "shared":
        return module.shared(z).cpu().numpy()
    found = (
        torch.cat(list(private.values()), dim=1) if part == "private" else module.embedding(module.shared(z), private)
    )
    return found.cpu().numpy()


@torch.inference_mode()
def posteriors(
    module: JAMIEModule,
    reader: ModalityReader,
    profiles: AnnData,
    covariates: FloatArray,
    batch_size: int | None,
) -> Iterator[tuple[slice, torch.Tensor, torch.Tensor, Normal]]:
    """Rows, prepared features, covariates and posterior of the profiles of a modality."""
    observation = module.observation(reader.modality)
    matrix = observation.to_prepare(reader.read(profiles), reader.where)
    module.eval()
    step = CHUNK if batch_size is None else batch_size
    check_count(step, "batch_size")
    for rows, x in chunks(matrix, observation.preparation.record(), step):
        h, c = (torch.from_numpy(part).to(module.device) for part in (x, covariates[rows]))
        yield rows, h, c, module.encode(reader.modality, h, c)


def latents_of_profiles(
    module: JAMIEModule,
    reader: ModalityReader,
    profiles: AnnData,
    covariates: FloatArray,
    give_mean: bool,
    batch_size: int | None,
) -> torch.Tensor:
    """Shared and private latents of the profiles of a modality, each by itself, ``(n, n_latent + n_private)``."""
    z = torch.empty(profiles.n_obs, module.n_latent + module.n_private, device=module.device)
    for rows, _, _, q in posteriors(module, reader, profiles, covariates, batch_size):
        z[rows] = q.loc if give_mean else q.sample()
    return z


@torch.inference_mode()
def latents_of_cells(
    module: JAMIEModule, registered: Registered, part: str, give_mean: bool, batch_size: int | None
) -> FloatArray:
    """One of the `PARTS` of the latents of cells; the private ones of modalities are in alphabetical order.

    The shared one is the mean over the modalities of a cell of latents averaged over all links; NaN for a cell with
    none of them. The private one of a modality that was not measured is what is expected given the shared one.
    """
    both = {
        m: latents_of_profiles(
            module, registered.readers[m], registered.profiles(m), registered.covariates(m), give_mean, batch_size
        )
        for m in registered.present
    }
    z = {m: module.shared(part) for m, part in both.items()}
    links, matches = (
        {pair: Links(matrix).all() for pair, matrix in registered.links(kind).items()}
        for kind in ("correspondence", "match")
    )
    weights = module.cell_weights()
    total = np.zeros((len(registered.obs_names), module.n_latent))
    weight = np.zeros((len(total), 1))
    for m, aggregated in module.aggregate(z, links, matches).items():
        rows = registered.rows(m)
        total[rows] += weights[m].item() * aggregated.cpu().numpy()
        weight[rows] += weights[m].item()
    mean = np.divide(total, weight, out=np.full_like(total, np.nan), where=weight > 0)
    shared = torch.from_numpy(mean.astype(np.float32)).to(module.device)
    private = {m: module.embedding.expected_private(m, shared) for m in registered.readers}
    for m, latents in both.items():
        private[m][torch.from_numpy(registered.rows(m))] = module.private(latents)
    return part_of_latents(module, shared, private, part)


@torch.inference_mode()
def imputed(
    module: JAMIEModule,
    reader: ModalityReader,
    profiles: AnnData,
    covariates: FloatArray,
    target: str,
    batches: Sequence[int],
    library_size: float | None,
    uncertainty: Uncertainty | None,
    batch_size: int | None,
) -> Iterator[tuple[slice, FloatArray, FloatArray | None]]:
    """Rows, features of the target as measured in some batches, and with `uncertainty` their standard deviations."""
    source = reader.modality
    for rows, h, c, q in posteriors(module, reader, profiles, covariates, batch_size):
        library = None if library_size is None else h.new_full((len(h), 1), library_size)
        predicted = module.predict(source, target, h, module.shared(q.loc), c, batches, library)
        mean = module.observation(target).features(predicted)
        sd = None if uncertainty is None else uncertainty.sd(source, target, h, q, c, batches, library, mean)
        yield rows, mean, sd


@torch.inference_mode()
def decoded(module: JAMIEModule, places: FloatArray, modality: str, part: str, batches: Sequence[int]) -> FloatArray:
    """Features of a modality of places in the shared or the joint space; raise ValueError if they are of another one."""
    width = module.n_latent + (module.n_private * len(module.embedding.index) if part == "joint" else 0)
    if places.ndim != 2 or places.shape[1] != width:
        raise ValueError(expected(f"places (n, {width}) of the {part} space", f"shape {places.shape}"))
    module.eval()
    cells = torch.from_numpy(places).to(module.device)
    shared, private = module.embedding.inverse(cells, modality) if part == "joint" else (cells, None)
    covariates = torch.zeros(len(cells), module.n_covariates, device=module.device)
    return np.asarray(module.features(modality, shared, covariates, batches, private), dtype=np.float32)


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
        found_posteriors = posteriors(module, reader, mdata[m], registered.covariates(m), batch_size)
        explained = FeatureRows(reader.read(mdata[m]), np.arange(mdata[m].n_obs), module.observation(m).is_binary)
        parts = []
        for rows, h, c, q in found_posteriors:
            counted = module.observation(m).is_count
            x = torch.from_numpy(explained[np.arange(mdata[m].n_obs)[rows]]).to(h) if counted else h
            parts.append(module.profile_errors(m, x, c, q))
        error, kl = (torch.cat(part).cpu().numpy() for part in zip(*parts, strict=True))
        found[m] = error, kl
    return found
