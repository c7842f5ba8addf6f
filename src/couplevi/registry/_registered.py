from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Self

import numpy as np
from anndata import AnnData
from mudata import MuData

from couplevi._validate import check_obs_names, expected
from couplevi.registry._links import links_between, links_by_name, written_links

if TYPE_CHECKING:
    import pandas as pd
    import scipy.sparse as sp

    from couplevi._streamed import Matrix
    from couplevi._types import FloatArray, IntArray, ModalityPair
    from couplevi.registry._reader import ModalityReader


@dataclass(frozen=True, eq=False)
class Registered:
    """Data that hold what a model was set up for: its own, or others of the same kind.

    Attributes
    ----------
    data
        MuData with some of the modalities, or an AnnData of one.
    readers
        Reader of the values of each modality of the model, in alphabetical order of their names.
    keys
        Keys in ``mdata.obsp`` of each kind of links, ``"correspondence"`` or ``"match"``, by (rows, columns).

    Raises
    ------
    ValueError
        If there are no data, or a cell occurs twice in a modality of a MuData.
    """

    data: AnnData | MuData
    readers: Mapping[str, ModalityReader]
    keys: Mapping[str, Mapping[ModalityPair, str]]

    def __post_init__(self) -> None:
        if not isinstance(self.data, AnnData | MuData):
            found = "a model without data" if self.data is None else type(self.data).__name__
            raise ValueError(expected("an AnnData or a MuData", found, "Pass `adata=`, or load the model with it."))
        if isinstance(self.data, MuData):
            check_obs_names(self.data, self.present)

    @property
    def present(self) -> list[str]:
        """Modalities of the model that a MuData has; of an AnnData all, as it may be any of them."""
        return [m for m in self.readers if not isinstance(self.data, MuData) or m in self.data.mod]

    def of_present(self) -> Self:
        """The same data, of which nothing but what they have is asked."""
        return replace(self, readers={m: self.readers[m] for m in self.present if self.profiles(m).n_obs})

    @property
    def obs_names(self) -> pd.Index:
        """Names of the cells."""
        return self.data.obs_names

    def profiles(self, modality: str) -> AnnData:
        """The AnnData of a modality; raise KeyError without it."""
        return self.readers[modality].profiles(self.data)

    def values(self, modality: str) -> Matrix:
        """Values of a modality, see :meth:`ModalityReader.read`."""
        return self.readers[modality].read(self.data)

    @property
    def n_batches(self) -> int:
        """Number of batches, columns that come first in the covariates."""
        return len(next(iter(self.readers.values())).design.batches)

    def covariates(self, modality: str) -> FloatArray:
        """Covariates of the profiles of a modality, shape ``(n_profiles, n_covariates)``."""
        return self.readers[modality].covariates(self.data)

    def rows(self, modality: str) -> IntArray:
        """Row of the cell of each profile of a modality, shape ``(n_profiles,)``."""
        names = self.profiles(modality).obs_names
        return self.obs_names.get_indexer(names) if isinstance(self.data, MuData) else np.arange(len(names))

    def links(self, kind: str = "correspondence") -> dict[ModalityPair, sp.csr_array]:
        """Links between the modalities that are there, the first of each pair coming first in the alphabet.

        Pairs of modalities whose matrix was not registered, or is not in these data, are linked by name; of
        ``"match"`` there are none then. An AnnData has no links.
        """
        if not isinstance(self.data, MuData):
            return {}
        written = {
            pair: written_links(self.data, key, *pair)
            for pair, key in self.keys[kind].items()
            if key in self.data.obsp and set(pair) <= set(self.present)
        }
        links = {}
        for a, b in combinations(self.present, 2):
            if (a, b) in written or (b, a) in written:
                links[a, b] = links_between(written, a, b)
            elif kind == "correspondence":
                links[a, b] = links_by_name(self.data, a, b)
        return links
