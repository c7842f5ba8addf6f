from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import torch
from torch.utils.data import Dataset

from couplevi._types import Batch, BoolArray, FloatArray, IntArray, ProfileBatch
from couplevi.dataloaders._units import make_units

if TYPE_CHECKING:
    from couplevi._types import ModalityPair
    from couplevi.dataloaders._links import Links


class ProfileDraw(NamedTuple):
    """Profiles of one modality that make up a batch, all of shape ``(n,)``."""

    position: IntArray
    """Place in the dataset."""
    drawn: BoolArray
    """Whether a profile was drawn, or came along as a partner."""
    other: IntArray
    """Place in the batch of the profile that it is mixed with."""
    share: FloatArray
    """Its own share in the mixture, in [0.5, 1]."""


Draw: TypeAlias = dict[str, ProfileDraw]
"""A batch: its profiles by modality."""


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

    def places(self, units: IntArray) -> dict[str, IntArray]:
        """Places of the profiles of some units, by modality."""
        columns = dict(zip(self.rows, self.units[units].T, strict=True))
        return {m: column[column >= 0] for m, column in columns.items()}

    def inside(self, units: IntArray) -> dict[str, BoolArray]:
        """Whether a profile is of some units, shape ``(n_profiles,)``, by modality."""
        inside = {m: np.zeros(len(rows), dtype=bool) for m, rows in self.rows.items()}
        for m, places in self.places(units).items():
            inside[m][places] = True
        return inside

    def __len__(self) -> int:
        return len(self.units)

    def __getitem__(self, draw: Draw) -> Batch:
        profiles = {}
        for m, part in draw.items():
            h = torch.from_numpy(np.asarray(self.rows[m][part.position]))
            share = torch.from_numpy(part.share)[:, None]
            profiles[m] = ProfileBatch(torch.lerp(h[part.other], h, share), torch.from_numpy(part.drawn))
        blocks = [
            {(a, b): table.block(draw[a].position, draw[b].position) for (a, b), table in tables.items()}
            for tables in (self.links, self.matches)
        ]
        return {"profiles": profiles, "links": blocks[0], "matches": blocks[1]}
