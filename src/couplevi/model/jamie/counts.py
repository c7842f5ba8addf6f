"""What of the likelihoods of counts is fitted in closed form: where training starts, dispersions, scale of the error."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn

from couplevi.losses import deviance, overdispersion
from couplevi.nn import CountHead, NegativeBinomialHead
from couplevi.preparation import library_size

if TYPE_CHECKING:
    import lightning.pytorch as pl

    from couplevi._types import IntArray
    from couplevi.dataloaders import CoupledDataset
    from couplevi.model.jamie.module import JAMIEModule

MAX_VALUES = 2**23
"""Counts that are looked at, if they were dense: 32 MB."""
REFITTED_AT = (0.1, 0.25, 0.5, 0.75)
"""Shares of the epochs after which dispersions are fitted again, besides at the end."""


def counted(module: JAMIEModule) -> Iterator[str]:
    """Modalities whose counts are explained."""
    return (m for m in module.index if module.observation(m).is_count)


@torch.no_grad()
def start_counts(module: JAMIEModule, dataset: CoupledDataset, units: IntArray) -> None:
    """Let decoders of counts start from the mean of each feature, and change it along components."""
    for m in counted(module):
        x, _, _ = _some(module, dataset, units, m)
        log_library = library_size(x).log()
        module.library_range(m).copy_(torch.stack([log_library.min(), log_library.max()]))
        decoder = module.decoder(m)
        layers = cast("list[nn.Linear]", [part for part in decoder.output.modules() if isinstance(part, nn.Linear)])
        first, last = layers[0], layers[-1]
        first.weight.zero_()
        first.bias.zero_()
        last.bias.copy_(cast("CountHead", decoder.head).outputs(x.mean(dim=0)))
        record = module.observation(m).preparation.record()
        if record.components is not None:
            last.weight[: record.n_vars] = torch.from_numpy(record.rms * record.components.T)
    fit_dispersions(module, dataset, units)


@torch.no_grad()
def fit_dispersions(module: JAMIEModule, dataset: CoupledDataset, units: IntArray) -> None:
    """Fit the overdispersion of negative binomials, and measure the deviance that errors are relative to.

    The former to whole profiles, as training sees mixtures of two; the latter is that of a model which knows the mean
    shares alone.

    Parameters
    ----------
    module
        Module that explains them.
    dataset, units
        Dataset, and the rows of its `units` that are looked at.
    """
    was_training = module.training
    module.eval()
    for m in counted(module):
        x, h, covariates = _some(module, dataset, units, m)
        z, head = module.encode(m, h, covariates).loc, cast("CountHead", module.decoder(m).head)
        library = library_size(x)[:, None]
        if module.observation(m).likelihood == "nb":
            px = module.decode(m, module.shared(z), covariates, module.private(z), library)
            cast("NegativeBinomialHead", head).log_inverse_dispersion.copy_(-overdispersion(x, px.mean).log())
        outputs = head.outputs(x.mean(dim=0)).expand(len(x), -1)
        module.null_deviance[module.index[m]] = deviance(head(outputs, library), x).mean().clamp(min=1e-6)
    module.train(was_training)


def _some(module: JAMIEModule, dataset: CoupledDataset, units: IntArray, modality: str) -> tuple[torch.Tensor, ...]:
    """Counts, prepared features and covariates of profiles of some units, as many as fit into memory."""
    places = dataset.places(units)[modality]
    n = max(1, min(len(places), MAX_VALUES // module.observation(modality).n_explained))
    places = np.sort(np.random.default_rng(0).choice(places, n, replace=False))
    parts = (dataset.counts, dataset.rows, dataset.covariates)
    return tuple(torch.from_numpy(np.asarray(rows[modality][places])).to(module.device) for rows in parts)


class Dispersions(Callback):
    """Fits dispersions again in some epochs, on the units trained on.

    Parameters
    ----------
    module, dataset
        As for :func:`fit_dispersions`.
    """

    def __init__(self, module: JAMIEModule, dataset: CoupledDataset) -> None:
        self.module, self.dataset = module, dataset

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Fit them."""
        epochs = {math.ceil(share * (trainer.max_epochs or 1)) for share in REFITTED_AT}
        if trainer.current_epoch in epochs:
            data: Any = trainer.datamodule  # type: ignore[attr-defined]
            fit_dispersions(self.module, self.dataset, data.train_idx)
