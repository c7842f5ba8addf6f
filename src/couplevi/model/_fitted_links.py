from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import pandas as pd
import scipy.sparse as sp

from couplevi.registry import links_between

if TYPE_CHECKING:
    from couplevi._types import BoolArray, IntArray
    from couplevi.dataloaders import CoupledDataset
    from couplevi.registry import Registered

SEPARATOR = "|"


@dataclass(frozen=True, eq=False)
class FittedLinks:
    """Links that a model was trained on, by the names of both ends.

    Attributes
    ----------
    ends
        Hashed names, shape ``(n_links, 2)``, by ``"a|b"`` with a before b in the alphabet.
    """

    ends: Mapping[str, IntArray]

    @classmethod
    def within(
        cls, registered: Registered, dataset: CoupledDataset, order: Mapping[str, IntArray], units: IntArray
    ) -> Self:
        """Links both ends of which lie in some units of a dataset, whose profiles are rows `order` of the data."""
        inside = dataset.inside(units)
        ends = {}
        for (a, b), links in dataset.links.items():
            row, column = links.matrix.tocoo().coords
            keep = inside[a][row] & inside[b][column]
            names = [hashed(registered.profiles(m).obs_names)[order[m]][i[keep]] for m, i in ((a, row), (b, column))]
            ends[SEPARATOR.join((a, b))] = np.stack(names, axis=1)
        return cls(ends)

    def together(self, other: Self) -> Self:
        """These links and those of another training."""
        joined = {}
        for pair, ends in other.ends.items():
            joined[pair] = np.unique(np.concatenate([self.ends.get(pair, ends[:0]), ends]), axis=0)
        return type(self)({**self.ends, **joined})

    def between(self, a: str, b: str) -> IntArray:
        """Hashed names of the ends, those of `a` first, shape ``(n_links, 2)``."""
        first, second = sorted((a, b))
        ends = self.ends.get(SEPARATOR.join((first, second)), np.empty((0, 2), dtype=np.int64))
        return ends if first == a else ends[:, ::-1]

    def hold(self, obs_names: pd.Index, a: str, b: str) -> BoolArray:
        """Whether a cell's own profiles in two modalities are linked, shape ``(n_cells,)``."""
        ends = self.between(a, b)
        return np.isin(hashed(obs_names), ends[ends[:, 0] == ends[:, 1], 0])

    def of(self, registered: Registered, a: str, b: str) -> sp.csr_array:
        """Confidences of these links as far as some data hold them, shape ``(n_a, n_b)``."""
        known = links_between(registered.links(), a, b)
        row, column = (
            pd.Index(hashed(registered.profiles(m).obs_names)).get_indexer(names)
            for m, names in zip((a, b), self.between(a, b).T, strict=True)
        )
        here = (row >= 0) & (column >= 0)
        fitted = sp.coo_array((np.ones(here.sum(), dtype=np.float32), (row[here], column[here])), shape=known.shape)
        return sp.csr_array(known.multiply(fitted))


def hashed(names: pd.Index) -> IntArray:
    """A 64-bit number per name, the same on every machine, so that a saved model holds no names of cells."""
    return pd.util.hash_array(names.astype(str).to_numpy(dtype=object), categorize=False).view(np.int64)
