from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

if TYPE_CHECKING:
    from couplevi._types import IntArray, ModalityPair
    from couplevi.dataloaders._links import Links


def make_units(n_profiles: Mapping[str, int], links: Mapping[ModalityPair, Links]) -> IntArray:
    """Group profiles into the units that are drawn and split: a pair (or more, over modalities), or one profile.

    Profiles that are linked with confidence 1, and so to nothing else, are the same cell. Where such links lead from
    a modality back to another profile of it, all profiles involved are drawn singly.

    Returns
    -------
    Position of each unit's profile in each modality, in the order of `n_profiles`, shape
    ``(n_units, n_modalities)``; -1 where the unit has none.
    """
    names = list(n_profiles)
    offset = dict(zip(names, np.cumsum([0, *n_profiles.values()]), strict=False))
    n_all = sum(n_profiles.values())
    ends = [
        np.stack([row + offset[a], col + offset[b]]) for (a, b), link in links.items() for row, col in [link.pairs()]
    ]
    row, col = np.concatenate(ends, axis=1) if ends else np.empty((2, 0), dtype=np.int64)
    graph = sp.coo_array((np.ones(len(row), dtype=bool), (row, col)), shape=(n_all, n_all))
    n_components, component = connected_components(graph, directed=False)

    modality = np.repeat(np.arange(len(names)), list(n_profiles.values()))
    position = np.arange(n_all) - np.repeat(list(offset.values()), list(n_profiles.values()))
    crowded = np.zeros(n_components, dtype=bool)
    for m in range(len(names)):
        crowded |= np.bincount(component[modality == m], minlength=n_components) > 1
    single = crowded[component]
    component = np.where(single, n_components + np.arange(n_all), component)
    _, unit = np.unique(component, return_inverse=True)

    units = np.full((unit.max(initial=-1) + 1, len(names)), -1, dtype=np.int64)
    units[unit, modality] = position
    return units[np.lexsort(units.T[::-1])]
