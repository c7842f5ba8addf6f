"""Type aliases used across the package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, TypedDict

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

FloatArray: TypeAlias = NDArray[np.floating[Any]]
IntArray: TypeAlias = NDArray[np.integer[Any]]
BoolArray: TypeAlias = NDArray[np.bool_]
MemoryMatrix: TypeAlias = "FloatArray | IntArray | sp.spmatrix | sp.sparray"
"""Cells by features: a two-dimensional array or any scipy sparse matrix."""

ModalityPair: TypeAlias = tuple[str, str]
"""Two modality names; a matrix of links has profiles of the first as rows and of the second as columns."""

PresetName: TypeAlias = Literal["default", "integration", "paper"]


class ProfileBatch(NamedTuple):
    """Profiles of one modality in a minibatch."""

    h: torch.Tensor
    """What the module reads: prepared features, shape ``(n, n_prepared)``, or features, ``(n, n_vars)``."""
    drawn: torch.Tensor
    """True for a profile that was drawn, False for a partner that came along for its links, shape ``(n,)``."""
    covariates: torch.Tensor
    """Indicators of the batch and other covariates, shape ``(n, n_covariates)``."""
    counts: torch.Tensor | None = None
    """Counts that are explained beside what is read, shape ``(n, n_vars)``; None where none are."""

    @property
    def rows_drawn(self) -> torch.Tensor | slice:
        """Index of the profiles that were drawn: all of them, which copies nothing, or where `drawn` is true."""
        return slice(None) if self.drawn.all() else self.drawn


class LinkBatch(NamedTuple):
    """Block of a matrix of links, rows and columns counted within the minibatch."""

    row: torch.Tensor
    col: torch.Tensor
    confidence: torch.Tensor
    """In (0, 1], shape ``(n_links,)``, like all above."""
    row_weight: torch.Tensor
    col_weight: torch.Tensor
    """Confidence divided by the sum of the full row (column), where that exceeds 1."""
    row_known: torch.Tensor
    col_known: torch.Tensor
    """Whether a profile has a link at all, in the batch or not, shapes ``(n_a,)`` and ``(n_b,)``."""


class Batch(TypedDict):
    """One minibatch of profiles by modality, with the blocks of their links by pair of modalities."""

    profiles: dict[str, ProfileBatch]
    links: dict[ModalityPair, LinkBatch]
    matches: dict[ModalityPair, LinkBatch]


class CellBatch(TypedDict):
    """Cells of a minibatch, all their modalities in one row."""

    h: dict[str, torch.Tensor]
    """Prepared features by modality, shape ``(n, n_prepared)``; 0 where a cell was not measured in it."""
    measured: dict[str, torch.Tensor]
    """Whether a cell was measured in a modality, shape ``(n,)``."""
    covariates: torch.Tensor
    """Indicators of the batch and other covariates, shape ``(n, n_covariates)``."""
    label: torch.Tensor
    """Position of its label, -1 where it has none, shape ``(n,)``."""
    scores: torch.Tensor
    """Further values that are known of it, NaN where they are not, shape ``(n, n_scores)``."""
