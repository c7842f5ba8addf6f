"""What of a JAMIE model belongs to batches, and so changes when it is mapped to other data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch

from couplevi.model._mapping import with_added

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
        for name in module.covariate_weights(m):
            weights[name] = with_added(reference[name], design.from_reference(m))
    for i, (source, target) in enumerate(module.pairs):
        for path in (f"linear_paths.{i}", f"widths.{i}.path"):
            for side, m in (("source", source), ("target", target)):
                name = f"{path}.{side}_effects"
                weights[name] = with_added(reference[name], design.from_reference(m))
        name = module.inflation_name(source, target)
        unknown = torch.full((module.n_batches - len(reference[name]),), math.nan).to(reference[name])
        weights[name] = torch.cat([reference[name], unknown])
    return weights


def trained_in_mapping(module: JAMIEModule) -> set[str]:
    """Weights whose columns of new batches are fitted."""
    return {name for m in module.index for name in module.covariate_weights(m)}


def frozen_in_mapping(module: JAMIEModule) -> Callable[[str], bool]:
    """Whether an entry of the module's state stays as it is when it is fitted to new batches."""
    measured = {module.inflation_name(*pair) for pair in module.pairs}
    measured |= {f"linear_paths.{i}.source_effects" for i in range(len(module.pairs))}
    return lambda name: name not in trained_in_mapping(module) | measured
