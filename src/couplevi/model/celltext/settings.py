from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any, Literal

from couplevi._docs import fill_docs
from couplevi._validate import SMALLEST, check_count, check_fraction, check_known, check_number, check_option, expected


@fill_docs
@dataclass(frozen=True, kw_only=True)
class CellTextSettings:
    """Space, objective and schedule of a CellText model.

    Attributes
    ----------
    n_pcs
        Principal components of the features, of which the space of cells has as many dimensions; None uses the
        standardised features themselves, as does data with no more than that many.
    shrinkage
        Share, in (0, 1], of the spread of cells within types that is taken to be the same in all directions.
    projector
        What is learned of cells on top of the linear place: ``"mlp"``, of their components; ``"qformer"``, of the
        tokens that a cell encoder gives, by queries that attend to them.
    n_hidden
        Width of the hidden layers of both projectors, and of the queries.
    n_queries
        Number of queries of ``"qformer"``.
    dropout_rate
        Probability in [0, 1) that an input or a hidden unit of a projector is dropped in training.
    name_dropout_rate
        Probability in [0, 1) that a text loses its first sentence, which names the type, in a step of training.
    batch_size
        Largest number of cells drawn per step.
    n_steps
        Optimiser steps of a training, of more if these are not 20 passes through the data, but then at most 10,000; None
        if `max_epochs` is given.
    max_epochs
        Epochs of a training; None if `n_steps` is given.
    %(optimiser)s
    gradient_clip
        Largest norm of the gradient.
    %(patience)s

    Examples
    --------
    >>> import couplevi as cvi
    >>> settings = cvi.model.CellTextSettings(n_pcs=10, max_epochs=2, n_steps=None)
    >>> mdata = cvi.data.count_clusters(n_obs=100)
    >>> adata = mdata["rna"].copy()
    >>> adata.obs["type"] = mdata.obs["cell_type"].astype(str)
    >>> cvi.model.CellText.setup_anndata(adata, labels_key="type")
    >>> model = cvi.model.CellText(adata, settings)
    >>> model.train(enable_progress_bar=False)
    >>> model.get_latent_representation().shape
    (100, 10)
    """

    n_pcs: int | None = 50
    shrinkage: float = 0.1
    projector: Literal["mlp", "qformer"] = "mlp"
    n_hidden: int = 128
    n_queries: int = 8
    dropout_rate: float = 0.2
    name_dropout_rate: float = 0.1
    batch_size: int = 256
    n_steps: int | None = 200
    max_epochs: int | None = None
    lr: float = 1e-3
    weight_decay: float = 0.1
    lr_schedule: Literal["constant", "one_cycle"] = "constant"
    gradient_clip: float = 1.0
    patience: int | None = None

    def __post_init__(self) -> None:
        for name in ("n_hidden", "n_queries", "batch_size"):
            check_count(getattr(self, name), name)
        for name in ("n_pcs", "n_steps", "max_epochs", "patience"):
            if getattr(self, name) is not None:
                check_count(getattr(self, name), name)
        for name in ("dropout_rate", "name_dropout_rate"):
            check_fraction(getattr(self, name), name)
        check_number(self.shrinkage, "shrinkage", SMALLEST, 1)
        check_number(self.weight_decay, "weight_decay")
        for name in ("lr", "gradient_clip"):
            check_number(getattr(self, name), name, SMALLEST)
        check_option(self.projector, ("mlp", "qformer"), "projector")
        check_option(self.lr_schedule, ("constant", "one_cycle"), "lr_schedule")
        if (self.n_steps is None) == (self.max_epochs is None):
            raise ValueError(expected("one of `n_steps` and `max_epochs`", f"{self.n_steps} and {self.max_epochs}"))


CELLTEXT_PRESETS: Mapping[str, CellTextSettings] = MappingProxyType({"default": CellTextSettings()})


def make_celltext_settings(preset: str | CellTextSettings, overrides: Mapping[str, Any]) -> CellTextSettings:
    """Settings of a preset, or given ones, with some fields replaced; raise TypeError for an unknown field."""
    if not isinstance(preset, CellTextSettings):
        check_option(preset, list(CELLTEXT_PRESETS), "preset")
        preset = CELLTEXT_PRESETS[preset]
    check_known(overrides, [field.name for field in fields(CellTextSettings)])
    given = dict(overrides)
    for name, other in (("n_steps", "max_epochs"), ("max_epochs", "n_steps")):
        if given.get(name) is not None:
            given.setdefault(other, None)
    return replace(preset, **given)
