"""From registered data to the dataset that is trained on, and to what is read of them outside of training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import scipy.sparse as sp
import torch

from couplevi._arrays import dense
from couplevi._streamed import StreamedMatrix
from couplevi._validate import are_counts, listing, stored_values, warn
from couplevi.dataloaders import CoupledDataset, Links
from couplevi.preparation import fingerprints, fit_coupled, fit_preparation

if TYPE_CHECKING:
    from anndata import AnnData
    from mudata import MuData
    from scvi.module.base import BaseModuleClass

    from couplevi._streamed import Matrix
    from couplevi._types import FloatArray, IntArray, ModalityPair
    from couplevi.dataloaders import Rows
    from couplevi.preparation import Preparation
    from couplevi.registry import ModalityReader, Registered

CHUNK = 4096
"""Profiles that are read at a time outside of training, unless `batch_size` says otherwise."""
FEW_ROWS = 1000
"""Rows of a matrix that is read in parts, by which it is told whether it holds counts."""


def fit_modality(
    matrix: Matrix,
    reader: ModalityReader,
    n_components: int | None,
    weights: Literal["communality", "equal", "variance"],
) -> Preparation:
    """Fit scaling and PCA of one modality; constant features are named in a warning and stay constant."""
    return _told(fit_preparation(matrix, n_components, weights), reader)


def fit_modalities(
    registered: Registered,
    matrices: Mapping[str, Matrix],
    n_components: Mapping[str, int | None],
    weights: Literal["coupled", "communality", "equal"],
    links: Mapping[ModalityPair, sp.csr_array],
) -> dict[str, Preparation]:
    """Fit scaling and PCA of each modality; ``"coupled"``: by what profiles of the others with these links know, too."""
    if weights != "coupled":
        return {
            m: fit_modality(matrices[m], reader, n_components[m], weights) for m, reader in registered.readers.items()
        }
    n = registered.n_batches
    batches = {m: registered.covariates(m)[:, :n].argmax(axis=1) for m in matrices} if n else None
    records = fit_coupled(matrices, links, n_components, batches)
    return {m: _told(record, registered.readers[m]) for m, record in records.items()}


def links_without(
    registered: Registered, dataset: CoupledDataset, order: Mapping[str, IntArray], units: IntArray
) -> dict[ModalityPair, sp.csr_array]:
    """Links of the data, but those of profiles in these units."""
    keep = {m: np.ones(len(rows), dtype=np.float32) for m, rows in order.items()}
    for m, places in dataset.places(units).items():
        keep[m][order[m][places]] = 0
    links = {}
    for (a, b), t in registered.links().items():
        links[a, b] = sp.csr_array(sp.diags_array(keep[a]) @ t @ sp.diags_array(keep[b]))
        links[a, b].eliminate_zeros()
    return links


def _told(preparation: Preparation, reader: ModalityReader) -> Preparation:
    """The same, after constant features were named in a warning."""
    constant = np.asarray(reader.var_names)[preparation.scale == 0]
    if len(constant):
        warn(
            f"{len(constant)} features of {reader.where} are constant and carry no information: {listing(constant)}. "
            "They are kept, and stay constant in what is decoded.",
        )
    return preparation


def is_counted(reader: ModalityReader, data: AnnData | MuData) -> bool:
    """Whether values are counts, and no representation; of a matrix that is read in parts by its first rows."""
    if reader.attribute == "obsm":
        return False
    matrix = reader.read(data)
    return are_counts(stored_values(matrix[:FEW_ROWS] if isinstance(matrix, StreamedMatrix) else matrix))


def preparation_of(record: Preparation, registered: Registered, modality: str, counted: bool) -> Preparation:
    """How a modality is prepared: of counts, features that the data lack, and so read as 0, have their mean."""
    if not counted:
        return record
    absent = registered.readers[modality].absent(registered.data)
    return replace(record, mean=np.where(absent, 0, record.mean).astype(np.float32))


def coupled_dataset(
    registered: Registered, rows_of: Callable[[str, Matrix, IntArray], Rows]
) -> tuple[CoupledDataset, dict[str, IntArray]]:
    """Profiles, sorted by their values, and their links; and the rows of each modality in that order."""
    rows, order = sorted_rows(registered, rows_of)
    links, matches = (sorted_links(registered, order, kind) for kind in ("correspondence", "match"))
    covariates = {m: registered.covariates(m)[order[m]] for m in rows}
    return CoupledDataset(rows, links, matches, covariates, registered.n_batches), order


def sorted_rows(
    registered: Registered, rows_of: Callable[[str, Matrix, IntArray], Rows]
) -> tuple[dict[str, Rows], dict[str, IntArray]]:
    """Profiles of each modality, sorted by their values, and the rows of the modality in that order.

    `rows_of` makes what is read in training of a modality, its matrix and the order. Sorting makes training independent
    of the order and the names of cells.
    """
    rows, order = {}, dict[str, "IntArray"]()
    for m in registered.readers:
        matrix = registered.values(m)
        order[m] = np.argsort(fingerprints(matrix), kind="stable")
        rows[m] = rows_of(m, matrix, order[m])
    return rows, order


def sorted_links(registered: Registered, order: Mapping[str, IntArray], kind: str) -> dict[ModalityPair, Links]:
    """Links of a kind between profiles in this order."""
    return {(a, b): Links(t[order[a]][:, order[b]].sorted_indices()) for (a, b), t in registered.links(kind).items()}


def cells_of_units(
    registered: Registered, dataset: CoupledDataset, order: Mapping[str, IntArray], units: IntArray
) -> IntArray:
    """Rows of the data's ``obs`` with a profile in these units, sorted."""
    cells = [registered.rows(m)[order[m][places]] for m, places in dataset.places(units).items()]
    return np.unique(np.concatenate(cells))


def chunks(
    matrix: Matrix, preparation: Preparation | None, batch_size: int = CHUNK
) -> Iterator[tuple[slice, FloatArray]]:
    """Rows and their prepared features, or the features themselves, float32, a batch at a time."""
    for start in range(0, matrix.shape[0], batch_size):
        rows = slice(start, min(start + batch_size, matrix.shape[0]))
        values = matrix[rows]
        yield rows, np.asarray(dense(values), np.float32) if preparation is None else preparation.transform(values)


def batches(module: BaseModuleClass, rows: Rows, places: IntArray) -> Iterator[tuple[slice, torch.Tensor]]:
    """Profiles of a dataset as the module reads them, and where they lie in `places`."""
    module.eval()
    for start in range(0, len(places), CHUNK):
        part = slice(start, start + CHUNK)
        yield part, torch.from_numpy(np.asarray(rows[places[part]])).to(module.device)
