from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from couplevi._constants import CORRESPONDENCE, Key
from couplevi._validate import (
    check_confidences,
    check_fraction,
    check_measured,
    check_modalities,
    check_mudata,
    check_obs_names,
    check_slot,
    expected,
    listing,
)

if TYPE_CHECKING:
    from mudata import MuData

    from couplevi._types import IntArray

CONFIDENCE = "confidence"


def link(
    mdata: MuData,
    *,
    modalities: Sequence[str],
    pairs: pd.DataFrame | Any | None = None,
    hide: float = 0.0,
    seed: int = 0,
    key_added: str = CORRESPONDENCE,
) -> None:
    """Write which profiles of two modalities belong together, and how certainly.

    Parameters
    ----------
    mdata
        MuData with both modalities.
    modalities
        Modality of the rows and modality of the columns.
    pairs
        One of

        - a data frame with a column of cell names for each modality, called as the modality, and optionally
          ``"confidence"`` in [0, 1] (1 if absent);
        - a matrix of confidences in [0, 1], sparse or up to 10,000 cells dense, of shape ``(n_obs, n_obs)`` in the
          order of ``mdata.obs_names`` or ``(n_first, n_second)`` in the orders of the modalities; refused where
          both are possible and differ;
        - None: every cell measured in both is linked to itself.
    hide
        Share of the links, in [0, 1), that is left out at random: for tests of what the model makes of the rest.
    seed
        Reproduces which links are hidden, whatever the order of the cells.
    key_added
        Where to write.

    Returns
    -------
    Nothing; writes ``mdata.obsp[key_added]``, CSR float32 of shape ``(n_obs, n_obs)`` whose rows are cells of the
    first modality and columns cells of the second, and ``mdata.uns[key_added]["modalities"]``. Pass the key to
    ``setup_mudata`` as ``correspondence_key``; then only what is in the matrix is linked.

    Raises
    ------
    TypeError
        If `mdata` is not a MuData.
    KeyError
        If a modality or column is missing.
    ValueError
        If a name is unknown in its modality, a link is given twice, confidences are not in [0, 1], the matrix has
        another shape, or links cells that were not measured.

    Examples
    --------
    >>> import couplevi as cvi
    >>> mdata = cvi.data.branching_manifold(n_obs=100)
    >>> cvi.pp.link(mdata, modalities=("rna", "ephys"), hide=0.25, seed=0)
    >>> mdata.obsp["correspondence"].nnz
    75
    """
    check_mudata(mdata)
    check_slot(key_added, "key_added")
    names = check_modalities(mdata, modalities)
    if len(names) != 2:
        raise ValueError(expected("two `modalities`, rows and columns", list(names), "Call it once for each pair."))
    check_obs_names(mdata, names)
    check_fraction(hide, "hide")
    if pairs is None:
        both = mdata[names[0]].obs_names.intersection(mdata[names[1]].obs_names)
        links = _as_matrix(mdata, names, both, both, np.ones(len(both)))
    elif isinstance(pairs, pd.DataFrame):
        links = _from_table(mdata, names, pairs)
    else:
        links = _from_matrix(mdata, names, pairs)
    mdata.obsp[key_added] = sp.csr_matrix(_hide(mdata, links, hide, seed))
    mdata.uns[key_added] = {Key.uns.MODALITIES: list(names)}


def _from_table(mdata: MuData, modalities: tuple[str, ...], table: pd.DataFrame) -> sp.csr_array:
    for m in modalities:
        if m not in table:
            raise KeyError(expected(f"columns {list(modalities)} in the table of pairs", list(table.columns)))
        unknown = pd.Index(table[m].astype(str)).difference(mdata[m].obs_names)
        if len(unknown):
            raise ValueError(
                expected(f"cells of modality {m!r} in column {m!r}", f"{len(unknown)} unknown: {listing(unknown, 3)}")
            )
    if table.duplicated(list(modalities)).any():
        twice = table[table.duplicated(list(modalities))][list(modalities)].iloc[0].tolist()
        raise ValueError(expected("each link once", f"{twice} more than once"))
    confidence = _confidences(table) if CONFIDENCE in table else np.ones(len(table))
    rows, columns = (pd.Index(table[m].astype(str)) for m in modalities)
    return _as_matrix(mdata, modalities, rows, columns, confidence)


def _confidences(table: pd.DataFrame) -> np.ndarray:
    """Confidences of a table; raise TypeError for text, ValueError for one that is missing or out of range."""
    given = table[CONFIDENCE]
    numbers = pd.to_numeric(given, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    remedy = "Fill or scale it, or leave the link out of the table; 1 means the same cell."
    bad = ~((numbers >= 0) & (numbers <= 1))
    if bad.any():
        first = given[bad].iloc[0]
        kind = TypeError if np.isnan(numbers[bad][0]) and isinstance(first, str) else ValueError
        what = f"a number between 0 and 1 in each row of column {CONFIDENCE!r}"
        raise kind(
            expected(
                what,
                f"{first if kind is ValueError else repr(first)} in {int(bad.sum())} of {len(numbers)} rows",
                remedy,
            )
        )
    return numbers


def _as_matrix(
    mdata: MuData, modalities: tuple[str, ...], rows: pd.Index, columns: pd.Index, confidence: np.ndarray
) -> sp.csr_array:
    index = tuple(mdata.obs_names.get_indexer(names) for names in (rows, columns))
    matrix = sp.coo_array((confidence, index), shape=(mdata.n_obs, mdata.n_obs))
    return check_confidences(matrix, "the table of pairs")


def _from_matrix(mdata: MuData, modalities: tuple[str, ...], matrix: Any) -> sp.csr_array:
    links = check_confidences(matrix, "`pairs`")
    shape = tuple(mdata[m].n_obs for m in modalities)
    if links.shape == shape == (mdata.n_obs, mdata.n_obs):
        for m in modalities:
            if not mdata[m].obs_names.equals(mdata.obs_names):
                remedy = "Pass a data frame of cell names, or bring the modality's cells into that order."
                found = "another: rows of `pairs` might follow either"
                raise ValueError(expected(f"cells of modality {m!r} in the order of `mdata.obs_names`", found, remedy))
    if links.shape == (mdata.n_obs, mdata.n_obs):
        check_measured(mdata, links, modalities, "`pairs`")
        return links
    if links.shape != shape:
        raise ValueError(expected(f"`pairs` of shape {(mdata.n_obs, mdata.n_obs)} or {shape}", f"shape {links.shape}"))
    coo = links.tocoo()
    index = tuple(
        mdata.obs_names.get_indexer(mdata[m].obs_names)[i] for m, i in zip(modalities, coo.coords, strict=True)
    )
    return sp.csr_array((coo.data, index), shape=(mdata.n_obs, mdata.n_obs))


def _hide(mdata: MuData, links: sp.csr_array, share: float, seed: int) -> sp.csr_array:
    """Leave out a random share of the links, the same ones for any order of the cells."""
    coo = links.tocoo()
    names = mdata.obs_names.to_numpy().astype(str)
    order: IntArray = np.lexsort(tuple(names[i] for i in coo.coords[::-1]))
    n_keep = coo.nnz - round(share * coo.nnz)
    keep = order[np.random.default_rng(seed).permutation(coo.nnz)[:n_keep]]
    return sp.csr_array((coo.data[keep], tuple(i[keep] for i in coo.coords)), shape=coo.shape)
