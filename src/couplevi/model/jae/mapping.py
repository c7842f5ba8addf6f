"""What of a joint autoencoder belongs to batches, and so changes when it is mapped to other data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

from couplevi.model._mapping import with_added

if TYPE_CHECKING:
    from couplevi.model.jae.module import JAEModule
    from couplevi.registry import Design


def mapped_weights(module: JAEModule, reference: Mapping[str, torch.Tensor], design: Design) -> dict[str, torch.Tensor]:
    """Weights of a reference, whose decoder reads categories that were added like the mean of those that it knows.

    Parameters
    ----------
    module
        Module that they are for.
    reference
        Weights of the reference.
    design
        Covariates of the module.
    """
    unread = design.width - module.n_covariates
    sums = np.mean([design.from_reference(m) for m in module.index], axis=0)
    sums = sums[unread:, unread - design.added[:unread].sum() :]
    known = reference["shift"]
    shift = torch.cat([known, known.new_zeros(module.n_batches - len(known), *known.shape[1:])])
    read = {name: with_added(reference[name], sums) for name in module.covariate_weights()}
    return {**reference, **read, "shift": shift}


def frozen_in_mapping(module: JAEModule) -> Callable[[str], bool]:
    """Whether an entry of the module's state stays as it is when it is fitted to new batches."""
    return lambda name: name != "shift" and name not in module.covariate_weights()
