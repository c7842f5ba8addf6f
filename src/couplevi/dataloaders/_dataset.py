from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import torch
from torch.utils.data import Dataset

from couplevi._types import Batch, BoolArray, IntArray, ProfileBatch
from couplevi.dataloaders._units import make_units

if TYPE_CHECKING:
    from couplevi._types import FloatArray, ModalityPair
    from couplevi.dataloaders._links import Links

Draw: TypeAlias = dict[str, tuple[IntArray, BoolArray]]
"""For each modality the positions of the profiles of a batch, and whether each was drawn or came as a partner."""


class Rows(Protocol):
    """Prepared profiles of a modality: an array, or anything that reads rows."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> FloatArray: ...


class CoupledDataset(Dataset[Batch]):
    """Prepared profiles of several modalities and the links between them.

    Reading a batch is a pure function of the draw, so workers need no random state.

    Parameters
    ----------
    rows
        Prepared profiles by modality.
    links, matches
        Given and inferred links by pair of modalities.
    """

    def __init__(
        self,
        rows: Mapping[str, Rows],
        links: Mapping[ModalityPair, Links],
        matches: Mapping[ModalityPair, Links] | None = None,
    ) -> None:
        self.rows = dict(rows)
        self.links = dict(links)
        self.matches = dict(matches or {})
        self.units = make_units({m: len(r) for m, r in self.rows.items()}, self.links)

    @property
    def modalities(self) -> Sequence[str]:
        """Names of the modalities, in the order of the columns of `units`."""
        return list(self.rows)

    def __len__(self) -> int:
        return len(self.units)

    def __getitem__(self, draw: Draw) -> Batch:
        profiles = {
            m: ProfileBatch(torch.from_numpy(np.asarray(self.rows[m][index])), torch.from_numpy(drawn))
            for m, (index, drawn) in draw.items()
        }
        blocks = [
            {(a, b): table.block(draw[a][0], draw[b][0]) for (a, b), table in tables.items()}
            for tables in (self.links, self.matches)
        ]
        return {"profiles": profiles, "links": blocks[0], "matches": blocks[1]}
