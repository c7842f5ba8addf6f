"""A model for data of batches that it was not trained on: how it begins, and the little of it that is trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from couplevi.model.jamie.module import JAMIEModule
    from couplevi.registry import Design


def mapped_weights(
    module: JAMIEModule, reference: Mapping[str, torch.Tensor], design: Design
) -> dict[str, torch.Tensor]:
    """Weights of a reference, with those of the categories that were added to its covariates.

    Networks read such a category like the mean of those in which their modality was measured.

    Parameters
    ----------
    module
        Module that they are for.
    reference
        Weights of the reference.
    design
        Covariates of the module.
    """
    weights = dict(reference)
    for m in module.index:
        sums = torch.from_numpy(design.from_reference(m))
        n_before = sums.shape[1]
        for name in module.covariate_weights(m):
            features, covariates = reference[name].tensor_split([reference[name].shape[1] - n_before], dim=1)
            weights[name] = torch.cat([features, covariates @ sums.T.to(covariates)], dim=1)
    for source, target in permutations(module.index, 2):
        name = module.inflation_name(source, target)
        unknown = torch.full((module.n_batches - len(reference[name]),), math.nan).to(reference[name])
        weights[name] = torch.cat([reference[name], unknown])
    return weights


def frozen_in_mapping(module: JAMIEModule) -> Callable[[str], bool]:
    """Whether an entry of the module's state stays as it is when it is fitted to new batches."""
    trained = {name for m in module.index for name in module.covariate_weights(m)}
    measured = {module.inflation_name(*pair) for pair in permutations(module.index, 2)}
    return lambda name: name not in trained | measured


@contextmanager
def only_added(module: JAMIEModule, design: Design) -> Iterator[None]:
    """Inside the block only the weights of categories that were added have a gradient, of those that read covariates."""
    hooks = []
    for m in module.index:
        for weight in module.covariate_weights(m).values():
            kept = np.zeros(weight.shape[1], dtype=np.float32)
            kept[len(kept) - design.width :] = design.added
            mask = torch.from_numpy(kept)
            hooks.append(weight.register_hook(lambda gradient, mask=mask: gradient * mask.to(gradient)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
