"""From rows of ``mdata.obs`` to rows of a modality: links as (n_a, n_b) matrices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from couplevi._constants import Key
from couplevi._validate import check_confidences, check_measured, expected

if TYPE_CHECKING:
    from mudata import MuData

    from couplevi._types import IntArray, ModalityPair


def rows_in_obs(mdata: MuData, modality: str) -> IntArray:
    """Row of ``mdata.obs`` of each profile of a modality, shape ``(n_profiles,)``."""
    return mdata.obs_names.get_indexer(mdata[modality].obs_names)


def profiles_of_obs(mdata: MuData, modality: str) -> IntArray:
    """Row of the modality of each cell, shape ``(n_obs,)``; -1 where the cell was not measured in it."""
    return mdata[modality].obs_names.get_indexer(mdata.obs_names)


def links_by_name(mdata: MuData, a: str, b: str) -> sp.csr_array:
    """Links of confidence 1 between profiles of the same name, shape ``(n_a, n_b)``."""
    columns = mdata[b].obs_names.get_indexer(mdata[a].obs_names)
    rows = np.flatnonzero(columns >= 0)
    return sp.csr_array(
        (np.ones(len(rows), dtype=np.float32), (rows, columns[rows])), shape=(mdata[a].n_obs, mdata[b].n_obs)
    )


def written_links(mdata: MuData, key: str, a: str, b: str) -> sp.csr_array:
    """Links in ``mdata.obsp[key]`` between profiles of `a` (rows) and `b` (columns), shape ``(n_a, n_b)``.

    Raises
    ------
    KeyError
        If the key is missing.
    ValueError
        If the matrix was written for another pair of modalities or the other way round, has values outside
        [0, 1], or links a cell that was not measured in the modality.
    """
    if key not in mdata.obsp:
        raise KeyError(
            expected(
                f"a matrix of links in `mdata.obsp[{key!r}]`",
                f"keys {list(mdata.obsp)}",
                f"Write it with `cvi.pp.link(mdata, modalities=({a!r}, {b!r}), key_added={key!r})`.",
            )
        )
    orientation = mdata.uns.get(key, {}).get(Key.uns.MODALITIES)
    if orientation is not None and list(orientation) != [a, b]:
        raise ValueError(
            expected(
                f"`mdata.uns[{key!r}]['modalities']` to be {[a, b]} (rows, columns)",
                list(orientation),
                "Name the modalities in that order at set-up, or link them again with `cvi.pp.link`.",
            )
        )
    where = f"`mdata.obsp[{key!r}]`"
    links = check_confidences(mdata.obsp[key], where)
    check_measured(mdata, links, (a, b), where)
    coo = links.tocoo()
    index = tuple(profiles_of_obs(mdata, m)[i] for m, i in zip((a, b), coo.coords, strict=True))
    return sp.csr_array((coo.data, index), shape=(mdata[a].n_obs, mdata[b].n_obs))


def links_between(links: Mapping[ModalityPair, sp.csr_array], a: str, b: str) -> sp.csr_array:
    """Links with profiles of `a` as rows, whichever way round they are kept."""
    return links[a, b] if (a, b) in links else sp.csr_array(links[b, a].T)
