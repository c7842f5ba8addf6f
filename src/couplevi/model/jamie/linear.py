"""Linear paths between modalities: fitted to links in closed form, and weighed against the decoders."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

if TYPE_CHECKING:
    from couplevi._types import BoolArray, FloatArray, IntArray, ModalityPair
    from couplevi.dataloaders import CoupledDataset
    from couplevi.model.jamie.module import JAMIEModule

MAX_LINKS = 20_000
"""Links that a path is fitted to."""
READ_AT_ONCE = 4096
FEWEST_LINKS = 20
"""Links held back that the share of a path is chosen on."""
CAUTION = 1 / 3
"""Factor of the best share while pairs are held back: the decoder is trained for as long again, and on more pairs."""


class Ends(NamedTuple):
    """Both ends of links between two modalities, by modality, and the confidence of each link."""

    places: dict[str, IntArray]
    confidence: FloatArray


def links_inside(dataset: CoupledDataset, pair: ModalityPair, units: IntArray) -> Ends:
    """Links between profiles of some units, a part of them where they are many."""
    inside = dataset.inside(units)
    a, b = pair if pair in dataset.links else pair[::-1]
    table = dataset.links[a, b].matrix.tocoo()
    row, col = table.coords
    kept = np.flatnonzero(inside[a][row] & inside[b][col])
    if len(kept) > MAX_LINKS:
        kept = np.sort(np.random.default_rng(0).choice(kept, MAX_LINKS, replace=False))
    return Ends({a: row[kept], b: col[kept]}, table.data[kept].astype(np.float64))


@torch.inference_mode()
def fit_linear_paths(module: JAMIEModule, dataset: CoupledDataset, units: IntArray) -> None:
    """Fit each path to prepared features to the links of some units; without links it stays as it is."""
    for source, target in module.pairs:
        ends = links_inside(dataset, (source, target), units)
        if module.observation(target).is_count or len(ends.confidence) < 2:
            continue
        x, y = (np.asarray(dataset.rows[m][ends.places[m]], dtype=np.float64) for m in (source, target))
        own, told = (dataset.covariates[m][ends.places[m]].astype(np.float64) for m in (source, target))
        module.linear_path(source, target).fit(x, y, own, told, ends.confidence)


@torch.inference_mode()
def weigh_linear_paths(module: JAMIEModule, dataset: CoupledDataset, held_back: IntArray) -> None:
    """Choose the share of each path in what is predicted by its error, and that of the decoder, on pairs held back."""
    for source, target in module.pairs:
        ends = links_inside(dataset, (source, target), held_back)
        if module.observation(target).is_count or len(ends.confidence) < FEWEST_LINKS:
            continue
        path = module.linear_path(source, target)
        gain = scale = 0.0
        for start in range(0, len(ends.confidence), READ_AT_ONCE):
            part = slice(start, start + READ_AT_ONCE)
            x, own = _tensors(module, dataset, source, ends.places[source][part])
            y, told = _tensors(module, dataset, target, ends.places[target][part])
            z = module.shared(module.encode(source, x, own).loc)
            decoded = module.decode(target, z, told).mean
            step = path(x, own, told) - decoded
            weight = torch.from_numpy(ends.confidence[part]).to(step)[:, None]
            gain += float((weight * step * (y - decoded)).sum())
            scale += float((weight * step.square()).sum())
        path.share.fill_(CAUTION * float(np.clip(gain / scale, 0, 1)) if scale > 0 else 0.0)


@torch.inference_mode()
def fit_added(module: JAMIEModule, dataset: CoupledDataset, added: BoolArray) -> None:
    """Let each path predict of profiles with categories that were added the mean that the decoder does.

    Their effect on what is read of the source is not known to the path, and was fitted by the encoder.

    Parameters
    ----------
    module, dataset
        Mapped module, and the profiles that it was fitted to.
    added
        Columns of the covariates, shape ``(n_covariates,)``.
    """
    for source, target in module.pairs:
        if source not in dataset.rows or module.observation(target).is_count:
            continue
        own = dataset.covariates[source]
        places = np.flatnonzero(own[:, added].any(axis=1))
        path, left = module.linear_path(source, target), []
        for start in range(0, len(places), READ_AT_ONCE):
            x, covariates = _tensors(module, dataset, source, places[start : start + READ_AT_ONCE])
            decoded = module.decode(target, module.shared(module.encode(source, x, covariates).loc), covariates).mean
            left.append((decoded - path(x, covariates, covariates)).cpu().numpy())
        effects = np.linalg.lstsq(own[places][:, added], np.concatenate(left), rcond=None)[0]
        path.source_effects[:, torch.from_numpy(added)] += torch.from_numpy(effects.T).to(path.source_effects)


def _tensors(
    module: JAMIEModule, dataset: CoupledDataset, modality: str, places: IntArray
) -> tuple[torch.Tensor, torch.Tensor]:
    """What a batch holds of some profiles, and their covariates."""
    x, covariates = (np.asarray(rows[modality][places]) for rows in (dataset.rows, dataset.covariates))
    return torch.from_numpy(x).to(module.device), torch.from_numpy(covariates).to(module.device)
