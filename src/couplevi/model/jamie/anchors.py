"""Pairs whose counts tell what a small panel would measure of a profile: which they are, and how near is near."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from couplevi.model.jamie.module import SMALLEST_RATE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from couplevi._types import IntArray
    from couplevi.dataloaders import CoupledDataset
    from couplevi.model.jamie.module import JAMIEModule, Mixture

BANDWIDTHS = (1.0, 2.0, 4.0, 8.0, 16.0)
OVERDISPERSION_RANGE, N_OVERDISPERSIONS = (0.01, 3.0), 10
"""Of counts around the rates of an anchor."""
TYPICAL = 0.1
"""One of these, with which bandwidths are compared."""
JOINT_FACTORS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Of the overdispersion, for all features of a profile together: what is near in each need not be so in all."""
MAX_TRIED = 200
"""Profiles that these are chosen on."""


@torch.inference_mode()
def fill_anchors(module: JAMIEModule, dataset: CoupledDataset, units: IntArray, *, known_alone: bool = False) -> None:
    """Take pairs among some units as anchors, of all predicted panels or of those whose bandwidth was chosen."""
    module.eval()
    for source, target in module.pairs:
        if not (module.is_anchored if known_alone else module.has_anchors)(source, target):
            continue
        anchors = module.anchors(source, target)
        columns = [dataset.modalities.index(m) for m in (source, target)]
        pairs = units[(dataset.units[units][:, columns] >= 0).all(axis=1)]
        some = np.random.default_rng(0).permutation(pairs)[: len(anchors.latents)]
        anchors.fill(*ends(module, dataset, source, target, some))


def ends(
    module: JAMIEModule, dataset: CoupledDataset, source: str, target: str, units: IntArray
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Shared latents of the source, and counts and covariates of the target, of units measured in both."""
    table = dict(zip(dataset.modalities, dataset.units[units].T, strict=True))
    both = (table[source] >= 0) & (table[target] >= 0)
    h, own, x, told = (
        torch.from_numpy(np.asarray(rows[m][table[m][both]])).to(module.device)
        for m, rows in (
            (source, dataset.rows),
            (source, dataset.covariates),
            (target, dataset.counts),
            (target, dataset.covariates),
        )
    )
    return module.shared(module.encode(source, h, own).loc), x, told


@torch.inference_mode()
def fit_anchors(
    module: JAMIEModule, dataset: CoupledDataset, source: str, target: str, units: IntArray
) -> torch.Tensor:
    """Choose the bandwidth, and return overdispersions around the rates of anchors, shape ``(n_vars,)``.

    The likeliest for pairs that are no anchors: for each feature by itself; and one factor of the overdispersions for
    all features together.
    """
    anchors, (z, x, told) = module.anchors(source, target), ends(module, dataset, source, target, units[:MAX_TRIED])
    tried = torch.from_numpy(np.geomspace(*OVERDISPERSION_RANGE, N_OVERDISPERSIONS)).to(x.device)
    gain = []
    for bandwidth in BANDWIDTHS:
        anchors.bandwidth.fill_(bandwidth)
        mixture = module.mixture(source, target, z, told, None)
        gain.append(marginal(mixture, x, torch.full_like(x[0], TYPICAL)).sum())
    anchors.bandwidth.fill_(BANDWIDTHS[int(torch.stack(gain).argmax())])
    mixture = module.mixture(source, target, z, told, None)
    found = tried[torch.stack([marginal(mixture, x, a.expand(x.shape[1])).sum(dim=0) for a in tried]).argmax(dim=0)]
    together = torch.stack([joint(mixture, x, found * factor).sum() for factor in JOINT_FACTORS])
    anchors.joint_factor.fill_(JOINT_FACTORS[int(together.argmax())])
    return found


def marginal(mixture: Mixture, x: torch.Tensor, overdispersion: torch.Tensor) -> torch.Tensor:
    """Logarithm of the probability of each count by itself, shape ``(n, n_vars)``."""
    parts = _of_features(mixture, x, overdispersion)
    return torch.stack([torch.logsumexp(mixture.log_weights + part, dim=1) for part in parts], dim=1)


def joint(mixture: Mixture, x: torch.Tensor, overdispersion: torch.Tensor) -> torch.Tensor:
    """Logarithm of the probability of all counts of each profile together, shape ``(n,)``."""
    total = mixture.log_weights.double()
    for part in _of_features(mixture, x, overdispersion):
        total = total + part
    return torch.logsumexp(total, dim=1)


def _of_features(mixture: Mixture, x: torch.Tensor, overdispersion: torch.Tensor) -> Iterator[torch.Tensor]:
    """Log-probability of the counts of each feature given each anchor, shape ``(n, n_anchors)``."""
    columns = (part.double().T for part in (x, mixture.root, mixture.rates))
    for count, root, rate, a in zip(*columns, overdispersion.double(), strict=True):
        shape, mean = 1 / a, torch.outer(root, rate.clamp(min=SMALLEST_RATE))
        constant = torch.lgamma(count + shape) - torch.lgamma(shape) - torch.lgamma(count + 1) + shape * shape.log()
        yield constant[:, None] + count[:, None] * mean.log() - (count + shape)[:, None] * (mean + shape).log()
