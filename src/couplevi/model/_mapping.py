"""A model for data of batches that it was not trained on: how it begins, and the little of it that is trained."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from couplevi._validate import expected, listing
from couplevi.model._base import Model, device_of

if TYPE_CHECKING:
    from mudata import MuData
    from scvi.module.base import BaseModuleClass

    from couplevi._types import BoolArray, FloatArray
    from couplevi.registry import Design

M = TypeVar("M", bound=Model)


def mapped_model(
    cls: type[M],
    mdata: MuData,
    reference: M | str | os.PathLike[str],
    accelerator: str,
    device: int | str,
    weights: Callable[[Any, Mapping[str, torch.Tensor], Design], Mapping[str, torch.Tensor]],
) -> M:
    """A copy of a reference, or of the one in a folder, for other data, with their batches added to it.

    Parameters
    ----------
    cls
        Class of both.
    mdata
        Data with some of the modalities of the reference.
    reference
        Trained model, or its folder.
    accelerator, device
        Where to put the model.
    weights
        Weights of its module, given the module, those of the reference, and the covariates with what was added.

    Raises
    ------
    TypeError
        If `mdata` is not a MuData, or the reference is of another class.
    RuntimeError
        If the reference is not trained.
    KeyError, ValueError, FileNotFoundError
        As set-up and `load`.
    """
    if isinstance(reference, str | os.PathLike):
        reference = cls.load(reference, adata=False)
    if not isinstance(reference, cls):
        found = f"{type(reference).__module__}.{type(reference).__name__}"
        raise TypeError(expected(f"a {cls.__name__} model, or the folder of one", found))
    if not reference.is_trained:
        raise RuntimeError(expected("a trained reference", "one that is not", "Call its `train` first."))
    target = device_of(accelerator, device)
    registry = reference.registry_
    cls.setup_mudata(mdata, source_registry=registry, extend_categories=True, **registry["setup_args"])
    attributes = {name: copy.deepcopy(getattr(reference, name)) for name in cls.saved}
    units = dict.fromkeys(("train_indices_", "validation_indices_", "test_indices_"))
    model = cls._of(mdata, registry, attributes | units | {"history_": {}, "mapped_": True})
    model.module.load_state_dict(weights(model.module, reference.module.state_dict(), design_of(model)))
    model.to_device(target)
    return model


def design_of(model: Model) -> Design:
    """Covariates of a model."""
    return model.reader(model.modalities_[0]).design


def check_added(added: BoolArray, design: Design) -> None:
    """Raise ValueError if no column of the covariates that a model reads was added: there is nothing to fit then."""
    if added.any():
        return
    found = f"batches {listing(design.batches)} only" if design.batches else "a reference without covariates"
    remedy = (
        "Use the model as it is: it places these cells. To fit it to them, set the reference up with `batch_key`, and "
        "give these cells a batch of their own."
    )
    raise ValueError(expected("cells of a batch that the reference does not know", found, remedy))


def with_added(weight: torch.Tensor, sums: FloatArray) -> torch.Tensor:
    """Weights whose last columns are those of covariates, with columns for the categories that were added.

    Parameters
    ----------
    weight
        Weights of the reference.
    sums
        Weights of the columns before of which each column now is the sum, see
        :meth:`~couplevi.registry.Design.from_reference`.
    """
    n_before = sums.shape[1]
    features, covariates = weight.tensor_split([weight.shape[1] - n_before], dim=1)
    return torch.cat([features, covariates @ torch.from_numpy(sums).T.to(covariates)], dim=1)


@contextmanager
def only_added(module: BaseModuleClass, names: Iterable[str], added: BoolArray) -> Iterator[None]:
    """Inside the block, of these weights only those of the last columns that were added have a gradient."""
    hooks = []
    for name in names:
        weight = module.get_parameter(name)
        kept = np.zeros(weight.shape[1], dtype=np.float32)
        kept[len(kept) - len(added) :] = added
        mask = torch.from_numpy(kept)
        hooks.append(weight.register_hook(lambda gradient, mask=mask: gradient * mask.to(gradient)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
