"""Pairs whose counts tell what a small panel would measure of a profile: which they are, and how near is near."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from couplevi._types import IntArray
    from couplevi.dataloaders import CoupledDataset
    from couplevi.model.jamie.module import JAMIEModule
    from couplevi.nn import Anchors

BANDWIDTHS = (1.0, 2.0, 4.0, 8.0, 16.0)
OVERDISPERSIONS = torch.tensor(np.geomspace(0.01, 3, 10))
"""Of counts around those of an anchor."""
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
def fit_anchors(anchors: Anchors, z: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Choose the bandwidth, and return overdispersions around the counts of anchors, shape ``(n_vars,)``.

    The likeliest for pairs that are no anchors, of latents and counts ``(n, n_latent)`` and ``(n, n_vars)``: for each
    feature by itself; and one factor of the overdispersions for all features together.
    """
    z, x = z[:MAX_TRIED].double(), x[:MAX_TRIED].double()
    middle = OVERDISPERSIONS[len(OVERDISPERSIONS) // 2].expand(x.shape[1])
    gain = [marginal(anchors.log_weights(z, b), x, anchors.rates, middle).sum() for b in BANDWIDTHS]
    anchors.bandwidth.fill_(BANDWIDTHS[int(torch.stack(gain).argmax())])
    weights = anchors.log_weights(z, anchors.bandwidth)
    tried = torch.stack([marginal(weights, x, anchors.rates, a.expand(x.shape[1])) for a in OVERDISPERSIONS])
    found = OVERDISPERSIONS[tried.sum(dim=1).argmax(dim=0)]
    together = [joint(weights, x, anchors.rates, found * factor).sum() for factor in JOINT_FACTORS]
    anchors.joint_factor.fill_(JOINT_FACTORS[int(torch.stack(together).argmax())])
    return found


def marginal(
    log_weights: torch.Tensor, x: torch.Tensor, rates: torch.Tensor, overdispersion: torch.Tensor
) -> torch.Tensor:
    """Logarithm of the probability of each count, shape ``(n, n_vars)``, in a mixture of negative binomials."""
    columns = zip(x.T, rates.T, overdispersion, strict=True)
    return torch.stack([torch.logsumexp(log_weights + _of_feature(*c), dim=1) for c in columns], dim=1)


def joint(
    log_weights: torch.Tensor, x: torch.Tensor, rates: torch.Tensor, overdispersion: torch.Tensor
) -> torch.Tensor:
    """Logarithm of the probability of all counts of each profile together, shape ``(n,)``."""
    total = log_weights.double()
    for column in zip(x.T, rates.T, overdispersion, strict=True):
        total = total + _of_feature(*column)
    return torch.logsumexp(total, dim=1)


def _of_feature(x: torch.Tensor, rate: torch.Tensor, overdispersion: torch.Tensor) -> torch.Tensor:
    """Log-probability of counts, ``(n,)``, given each of some rates, ``(n_anchors,)``: one product of matrices."""
    x, rate, shape = x.double(), rate.double().clamp(min=1e-8), 1 / overdispersion.double()
    constant = torch.lgamma(x + shape) - torch.lgamma(shape) - torch.lgamma(x + 1) + shape * shape.log()
    return constant[:, None] + torch.outer(x, rate.log()) - torch.outer(x + shape, (rate + shape).log())
