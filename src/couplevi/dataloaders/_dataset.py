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
    covariates
        Covariates by modality, shape ``(n_profiles, n_covariates)``; None where there are none.
    n_batches
        Number of their columns, the first, that say which batch a profile is of.

    Attributes
    ----------
    rows
        Prepared profiles by modality; they may be replaced by as many others.
    counts
        Counts of modalities that are explained beside `rows`, which are read; empty at first.
    kept_apart
        Units whose links nothing was fitted to so far: the first to be held back for calibration.
    """

    def __init__(
        self,
        rows: Mapping[str, Rows],
        links: Mapping[ModalityPair, Links],
        matches: Mapping[ModalityPair, Links] | None = None,
        covariates: Mapping[str, FloatArray] | None = None,
        n_batches: int = 0,
    ) -> None:
        self.rows = dict(rows)
        self.links = dict(links)
        self.matches = dict(matches or {})
        self.covariates = covariates or {m: np.empty((len(r), 0), dtype=np.float32) for m, r in self.rows.items()}
        self.counts: dict[str, Rows] = {}
        self.n_batches = n_batches
        self.kept_apart: IntArray = np.empty(0, dtype=np.int64)
        self.units = make_units({m: len(r) for m, r in self.rows.items()}, self.links)

    @property
    def modalities(self) -> Sequence[str]:
        """Names of the modalities, in the order of the columns of `units`."""
        return list(self.rows)

    def places(self, units: IntArray) -> dict[str, IntArray]:
        """Places of the profiles of some units, by modality."""
        columns = dict(zip(self.rows, self.units[units].T, strict=True))
        return {m: column[column >= 0] for m, column in columns.items()}

    def batches(self, units: IntArray) -> IntArray:
        """Batch of each profile of some units, -1 where a unit has none, shape ``(n_units, n_modalities)``."""
        if not self.n_batches:
            return np.where(self.units[units] >= 0, 0, -1)
        columns = zip(self.modalities, self.units[units].T, strict=True)
        codes = [
            np.where(place >= 0, self.covariates[m][place, : self.n_batches].argmax(axis=1), -1) for m, place in columns
        ]
        return np.stack(codes, axis=1)

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
            share = torch.from_numpy(part.share)[:, None]
            counts = [self.counts[m]] if m in self.counts else []
            h, covariates, *mixed = (
                torch.lerp(own[part.other], own, share)
                for own in (
                    torch.from_numpy(np.asarray(rows[part.position]))
                    for rows in (self.rows[m], self.covariates[m], *counts)
                )
            )
            profiles[m] = ProfileBatch(h, torch.from_numpy(part.drawn), covariates, *mixed)
        blocks = [
            {(a, b): table.block(draw[a].position, draw[b].position) for (a, b), table in tables.items()}
            for tables in (self.links, self.matches)
        ]
        return {"profiles": profiles, "links": blocks[0], "matches": blocks[1]}
