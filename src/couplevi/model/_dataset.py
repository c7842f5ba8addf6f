"""From a MuData to the dataset that is trained on, and back to the names of what was fitted."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from mudata import MuData

from couplevi._validate import listing
from couplevi.data import rows_in_obs
from couplevi.dataloaders import CoupledDataset, Links
from couplevi.preparation import fingerprints, fit_preparation

if TYPE_CHECKING:
    import scipy.sparse as sp
    from anndata import AnnData

    from couplevi._types import IntArray, Matrix, ModalityPair
    from couplevi.dataloaders import Rows
    from couplevi.model._reader import ModalityReader
    from couplevi.preparation import Preparation

PAIR_SEPARATOR = "|"


def fit_modality(
    matrix: Matrix, reader: ModalityReader, n_components: int | None, weights: Literal["communality", "equal"]
) -> Preparation:
    """Fit scaling and PCA of one modality; constant features are named in a warning and stay constant."""
    preparation = fit_preparation(matrix, n_components, weights)
    constant = np.asarray(reader.var_names)[preparation.scale == 0]
    if len(constant):
        warnings.warn(
            f"{len(constant)} features of {reader.where} are constant and carry no information: {listing(constant)}. "
            "They are kept, and stay constant in what is decoded.",
            UserWarning,
            stacklevel=4,
        )
    return preparation


def coupled_dataset(
    mdata: AnnData | MuData,
    readers: Mapping[str, ModalityReader],
    rows_of: Callable[[str, Matrix, IntArray], Rows],
    links: Mapping[ModalityPair, sp.csr_array],
    matches: Mapping[ModalityPair, sp.csr_array],
) -> tuple[CoupledDataset, dict[str, IntArray]]:
    """Profiles, sorted by their values, and their links; and the rows of each modality in that order.

    `rows_of` makes what is read in training of a modality, its matrix and the order. Sorting makes training independent of the order and the names of cells.
    """
    rows, order = {}, dict[str, "IntArray"]()
    for m, reader in readers.items():
        matrix = reader.read(mdata)
        order[m] = np.argsort(fingerprints(matrix), kind="stable")
        rows[m] = rows_of(m, matrix, order[m])
    sort = lambda tables: {(a, b): Links(t[order[a]][:, order[b]].sorted_indices()) for (a, b), t in tables.items()}
    return CoupledDataset(rows, sort(links), sort(matches)), order


def cells_of_units(
    mdata: AnnData | MuData, dataset: CoupledDataset, order: Mapping[str, IntArray], units: IntArray
) -> IntArray:
    """Rows of ``mdata.obs`` with a profile in these units, sorted."""
    table = dataset.units[units]
    cells = []
    for i, m in enumerate(dataset.modalities):
        rows = order[m][table[:, i][table[:, i] >= 0]]
        cells.append(rows_in_obs(mdata, m)[rows] if isinstance(mdata, MuData) else rows)
    return np.unique(np.concatenate(cells))


def fitted_links(
    mdata: MuData, dataset: CoupledDataset, order: Mapping[str, IntArray], units: IntArray
) -> dict[str, IntArray]:
    """Hashed names of both ends of every link within `units`, shape ``(n_links, 2)``, by ``"a|b"``."""
    table = dataset.units[units]
    inside = {}
    for i, m in enumerate(dataset.modalities):
        inside[m] = np.zeros(len(dataset.rows[m]), dtype=bool)
        inside[m][table[:, i][table[:, i] >= 0]] = True
    fitted = {}
    for (a, b), links in dataset.links.items():
        row, col = links.matrix.tocoo().coords
        keep = inside[a][row] & inside[b][col]
        ends = [hashed(mdata[m].obs_names)[order[m]][index[keep]] for m, index in ((a, row), (b, col))]
        fitted[PAIR_SEPARATOR.join((a, b))] = np.stack(ends, axis=1)
    return fitted


def hashed(names: pd.Index) -> IntArray:
    """A 64-bit number per name, the same on every machine, so that a saved model holds no names of cells."""
    return pd.util.hash_array(names.astype(str).to_numpy(dtype=object), categorize=False).view(np.int64)
