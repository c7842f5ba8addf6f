"""One voice for errors: what was expected, what was found, what to do."""

from __future__ import annotations

import difflib
import inspect
import math
import traceback
import warnings
from collections.abc import Iterable, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from mudata import MuData

if TYPE_CHECKING:
    from couplevi._types import MemoryMatrix

SMALLEST = 1e-12
"""Least value of what must be above 0."""

LARGEST = float(np.finfo(np.float32).max)
"""Largest number of single precision, in which models compute."""

LARGE_COUNT = 5
"""Whole numbers above it, and none below 0, look like counts."""

MAX_DENSE_LINKS = 10_000
"""Cells above which a dense matrix of links is refused: it would hold 800 MB of float64 or more."""


def expected(what: str, found: object, remedy: str = "") -> str:
    """Text of an error message: expected, found, what to do."""
    return f"Expected {what}, found {found}. {remedy}".strip()


def warn(text: str) -> None:
    """Warn the user, at the line that called into the package."""
    level = 1
    for distance, (caller, _) in enumerate(traceback.walk_stack(inspect.currentframe()), start=1):
        if caller.f_globals.get("__name__", "").split(".")[0] == __package__:
            level = distance
    warnings.warn(text, UserWarning, stacklevel=level + 1)


def listing(names: Iterable[object], limit: int = 10) -> str:
    """The first names of a list, and how many more there are."""
    names = [str(n) for n in names]
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f"{names[:limit]}{more}"


def nearest_first(name: str, names: Iterable[str]) -> list[str]:
    """Names in the order of the alphabet, after those that are spelled like one that is not among them."""
    others = sorted(names)
    similar = difflib.get_close_matches(name, others, n=3, cutoff=0.5)
    return [*similar, *(other for other in others if other not in similar)]


def named(keys: Iterable[str | None]) -> list[str]:
    """Keys of ``layers`` without that of ``X``, which anndata lists as None from 0.13 on."""
    return [key for key in keys if key is not None]


def check_option(value: object, options: Sequence[object], name: str) -> None:
    """Raise ValueError unless `value` is one of `options`."""
    if value not in options:
        raise ValueError(expected(f"`{name}` to be one of {list(options)}", repr(value)))


def check_slot(name: object, argument: str) -> None:
    """Raise TypeError or ValueError unless a name can be part of a slot: a text without a slash."""
    if not isinstance(name, str):
        raise TypeError(expected(f"`{argument}` to be a text", repr(name)))
    if not name or "/" in name:
        remedy = "It becomes a key in the data, and files take a slash for a folder: choose another name."
        raise ValueError(expected(f"a name without a slash as `{argument}`", repr(name), remedy))


def check_rows(rows: Any, n: int, what: str) -> np.ndarray:
    """Positions of rows as an array; raise unless they are whole numbers within ``range(-n, n)``, or a mask."""
    chosen = np.asarray(rows)
    if chosen.ndim == 1 and (chosen.dtype == bool and len(chosen) == n):
        return np.flatnonzero(chosen)
    if chosen.size == 0:
        return chosen.astype(np.int64)
    if chosen.ndim != 1 or chosen.dtype.kind not in "iu":
        found = f"an array of {chosen.dtype} and shape {chosen.shape}"
        remedy = "For names take `obs_names.get_indexer(names)`."
        raise TypeError(expected(f"`indices` to be positions of {what}, or a mask of {n}", found, remedy))
    if chosen.min() < -n or chosen.max() >= n:
        raise IndexError(expected(f"`indices` below {n}, the number of {what}", f"{chosen.min()} to {chosen.max()}"))
    return chosen


def check_fraction(value: object, name: str) -> None:
    """Raise ValueError unless `value` is a number in [0, 1)."""
    if not _is_number(value) or not 0 <= value < 1:
        raise ValueError(expected(f"`{name}` to be at least 0 and below 1", repr(value)))


def check_number(value: object, name: str, minimum: float = 0.0, maximum: float = math.inf) -> None:
    """Raise ValueError unless `value` is a finite number between `minimum` and `maximum`."""
    if not _is_number(value) or not math.isfinite(value) or not minimum <= value <= maximum:
        limits = f"of at least {minimum:g}" if maximum == math.inf else f"from {minimum:g} to {maximum:g}"
        raise ValueError(expected(f"`{name}` to be a number {limits}", repr(value)))


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, Real) and not isinstance(value, bool)


def check_count(value: object, name: str, minimum: int = 1) -> None:
    """Raise ValueError unless `value` is a whole number of at least `minimum`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < minimum:
        raise ValueError(expected(f"`{name}` to be a whole number of at least {minimum}", repr(value)))


def check_known(given: Iterable[str], names: Sequence[str]) -> None:
    """Raise TypeError, with the nearest name, for a setting that does not exist."""
    for name in given:
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            hint = f"Did you mean `{close[0]}`?" if close else f"Settings are {list(names)}."
            raise TypeError(expected("a setting of the model", f"`{name}`", hint))


def check_mudata(mdata: object) -> MuData:
    """Raise TypeError unless `mdata` is a MuData; an AnnData is told how to become one."""
    if isinstance(mdata, MuData):
        return mdata
    remedy = "Read one with `mudata.read_h5mu(path)`."
    if isinstance(mdata, AnnData):
        remedy = (
            'Put each modality into its own AnnData and join them: `mudata.MuData({"rna": rna, "ephys": ephys})`; '
            "rows with the same name are the same cell."
        )
    raise TypeError(expected("a MuData", f"{type(mdata).__module__}.{type(mdata).__name__}", remedy))


def check_modality(mdata: MuData, modality: str, name: str = "modality") -> None:
    """Raise KeyError unless `modality` is in `mdata`."""
    if modality not in mdata.mod:
        raise KeyError(expected(f"`{name}` to be one of {list(mdata.mod)}", repr(modality)))


def check_different(source: str, target: str) -> None:
    """Raise ValueError if source and target are the same modality."""
    if source == target:
        raise ValueError(expected("`target` to differ from `source`", repr(target)))


def check_modalities(mdata: MuData, modalities: Sequence[str], fewest: int = 2) -> tuple[str, ...]:
    """Raise unless `modalities` names at least two, or `fewest`, different modalities of `mdata`."""
    if isinstance(modalities, str) or not isinstance(modalities, Sequence):
        raise TypeError(
            expected("`modalities` to be a sequence of names", repr(modalities), 'For example ("rna", "ephys").')
        )
    if len(modalities) < fewest:
        what, alone = "one or more `modalities`", ""
        if fewest > 1:
            what, alone = "at least two `modalities`", "; for one alone use a model of an AnnData, such as `CplMixVAE`"
        raise ValueError(expected(what, list(modalities), f"The MuData has {list(mdata.mod)}{alone}."))
    if len(set(modalities)) < len(modalities):
        raise ValueError(expected("`modalities` to be different", list(modalities)))
    for modality in modalities:
        check_modality(mdata, modality, "modalities")
        if not isinstance(mdata[modality], AnnData):
            remedy = "Build a MuData of its own from the modalities in it."
            raise TypeError(expected(f"an AnnData as modality {modality!r}", type(mdata[modality]).__name__, remedy))
    return tuple(modalities)


def check_texts(names: pd.Index, where: str) -> None:
    """Raise TypeError unless names of cells or features are texts."""
    kind = (names.categories if isinstance(names, pd.CategoricalIndex) else names).inferred_type
    if len(names) and kind != "string":
        remedy = "Files hold names as texts: convert them with `.astype(str)` before a MuData is built of them."
        raise TypeError(expected(f"texts as {where}", f"{kind}, such as {names[0]!r}", remedy))


def check_obs_names(mdata: MuData, modalities: Sequence[str]) -> None:
    """Raise ValueError if rows of the MuData are not cells, or a cell occurs twice in a modality or not in `mdata`."""
    if mdata.axis != 0:
        remedy = "Build it with `mudata.MuData(modalities)`."
        raise ValueError(expected("a MuData that shares cells (`axis=0`)", f"`axis={mdata.axis}`", remedy))
    for modality in modalities:
        names = mdata[modality].obs_names
        check_texts(names, f"`mdata[{modality!r}].obs_names`")
        if not names.is_unique:
            double = names[names.duplicated()].unique()
            raise ValueError(
                expected(
                    f"each cell once in `mdata[{modality!r}].obs_names`",
                    f"{listing(double, 3)} more than once",
                    "Rename the cells (equal names in two modalities mean the same cell) and build the MuData again.",
                )
            )
        unknown = names.difference(mdata.obs_names)
        if len(unknown):
            raise ValueError(
                expected(
                    f"all {len(names)} cells of modality {modality!r} among `mdata.obs_names`",
                    f"{len(unknown)} that are not: {listing(unknown, 3)}",
                    "The modality was changed after the MuData was made: call `mdata.update()` first.",
                )
            )


def check_cells(mdata: object, modalities: Sequence[str]) -> MuData:
    """Raise unless `mdata` is a MuData that knows the cells of those of its modalities that are named."""
    checked = check_mudata(mdata)
    check_obs_names(checked, [m for m in modalities if m in checked.mod])
    return checked


def find_names(names: Sequence[str] | pd.Index, chosen: Sequence[str] | str, what: str) -> np.ndarray:
    """Positions of the chosen names; raise KeyError for an unknown one, ValueError for none, or one that is repeated."""
    index, wanted = pd.Index(names), pd.Index([chosen] if isinstance(chosen, str) else list(chosen))
    if not len(wanted):
        raise ValueError(expected(f"at least one of {what}", "none"))
    positions = index.get_indexer(wanted)
    unknown = wanted[positions < 0]
    if len(unknown):
        remedy = "" if wanted.inferred_type == "string" else "Pass names, not positions or a mask: `names[mask]`."
        raise KeyError(expected(f"{what}, such as {listing(index, 3)}", f"unknown ones: {listing(unknown)}", remedy))
    if not wanted.is_unique:
        double = wanted[wanted.duplicated()].unique()
        raise ValueError(expected(f"each of {what} once", f"{listing(double, 3)} more than once"))
    return positions


def check_var_names(names: pd.Index, where: str) -> None:
    """Raise TypeError if names of features are not texts, ValueError if one occurs twice."""
    check_texts(names, f"names of the features of {where}")
    if not names.is_unique:
        double = names[names.duplicated()].unique()
        remedy = "Call `.var_names_make_unique()` on the AnnData, or rename the columns of a data frame."
        raise ValueError(expected(f"each feature of {where} once", f"{listing(double, 3)} more than once", remedy))


def warn_generic_names(mdata: MuData, modalities: Sequence[str]) -> None:
    """Warn if cells are named "0", "1", ... everywhere: equal names would pair them by accident."""
    names = [mdata[m].obs_names for m in modalities]
    if all(n.str.fullmatch(r"\d+").all() for n in names):
        warn(
            f"All cells of {list(modalities)} are named by plain numbers (such as {names[0][0]!r}), as AnnData does by "
            "default. Equal names are taken for the same cell. If that is not meant, give the cells names of "
            "their own, or pass `correspondence_key=`.",
        )


def stored_values(matrix: Any) -> np.ndarray:
    """The values that a matrix stores: all of them if it is dense, the explicit ones if it is sparse."""
    if sp.issparse(matrix):
        return matrix.data if matrix.format in ("csr", "csc", "coo") else matrix.tocsr().data
    return np.asarray(matrix)


def check_finite(matrix: MemoryMatrix, where: str) -> None:
    """Raise ValueError if a matrix holds NaN, infinite or masked values, TypeError if it holds no numbers."""
    values = stored_values(matrix)
    remedy = "Leave out or fill these features or cells first; a cell without the modality is not a row of it."
    if values.dtype.kind not in "fiub":
        raise TypeError(expected(f"numbers in {where}", f"values of type {values.dtype}"))
    if np.ma.is_masked(matrix):
        raise ValueError(expected(f"values in {where}", f"{np.ma.count_masked(matrix)} that are masked", remedy))
    with np.errstate(over="ignore", invalid="ignore"):
        if values.dtype.kind != "f" or np.isfinite(values.sum(dtype=np.float64)):
            return  # a finite sum has finite terms, and needs no array of its own
    bad = int((~np.isfinite(values)).sum())
    if bad:
        raise ValueError(
            expected(
                f"finite values in {where}",
                f"{bad} that are NaN or infinite",
                remedy,
            )
        )


def check_single(matrix: MemoryMatrix, where: str) -> None:
    """Raise as :func:`check_finite`, and ValueError if a matrix holds values beyond single precision."""
    check_finite(matrix, where)
    values = stored_values(matrix)
    if values.dtype.itemsize > 4 and max(values.max(initial=0), -values.min(initial=0)) > LARGEST:
        remedy = "Models compute in single precision: correct these values, or scale the feature."
        large = int((abs(values) > LARGEST).sum())
        raise ValueError(expected(f"values below {LARGEST:.1e} in {where}", f"{large} beyond it", remedy))


def check_counts(matrix: MemoryMatrix, where: str) -> None:
    """Raise ValueError unless a matrix holds counts: whole numbers of at least 0."""
    values = stored_values(matrix)
    if (values < 0).any() or (values.dtype.kind == "f" and (values != np.floor(values)).any()):
        raise ValueError(
            expected(
                f"counts in {where}, whole numbers of at least 0",
                f"values from {values.min():g} to {values.max():g}",
                "Name the layer of raw counts, or use a Gaussian likelihood for transformed values.",
            )
        )


def are_counts(values: np.ndarray) -> bool:
    """Whether values are whole numbers of at least 0."""
    return bool(values.size and values.min() >= 0 and (values.dtype.kind != "f" or (values == np.floor(values)).all()))


def looks_like_counts(values: np.ndarray) -> bool:
    """Whether values are whole numbers of at least 0 and up to more than a few."""
    first = values.ravel()[:10_000]
    if not values.size or (first != np.floor(first)).any():
        return False
    return bool(values.min() >= 0 and values.max() > LARGE_COUNT and (values == np.floor(values)).all())


def warn_counts(values: np.ndarray, where: str, remedy: str) -> None:
    """Warn of values that look like raw counts, where measurements with Gaussian noise are expected."""
    if looks_like_counts(values):
        warn(
            f"{where} looks like raw counts, up to {values.max():g}, which the Gaussian likelihood does not suit. "
            f"{remedy}",
        )


def empty_rows(matrix: MemoryMatrix) -> np.ndarray:
    """Which rows hold nothing but zeros, shape ``(n_rows,)``."""
    if sp.issparse(matrix):
        return np.asarray(abs(sp.csr_array(matrix)).sum(axis=1)).ravel() == 0
    return np.asarray(~np.asarray(matrix).any(axis=1))


def warn_empty_rows(matrix: MemoryMatrix, where: str) -> None:
    """Warn of cells whose values are all zero: some mark those that were not measured in this way."""
    n_empty = int(empty_rows(matrix).sum())
    if n_empty:
        warn(
            f"{n_empty} of {matrix.shape[0]} cells have only zeros in {where}, which are taken for measurements. If "
            "these cells were not measured, leave them out of the modality: a MuData holds cells that lack some.",
        )


def check_confidences(matrix: Any, where: str) -> sp.csr_array:
    """Raise unless `matrix` holds confidences in [0, 1]; return a float32 CSR copy without explicit zeros."""
    if not sp.issparse(matrix):
        matrix = np.asarray(matrix)
        if matrix.ndim != 2:
            raise ValueError(expected(f"{where} to be a matrix", f"{matrix.ndim} dimensions"))
        if max(matrix.shape) > MAX_DENSE_LINKS:
            raise ValueError(
                expected(
                    f"{where} to be sparse above {MAX_DENSE_LINKS} cells",
                    f"a dense {matrix.shape[0]} x {matrix.shape[1]} array",
                    "Keep the few links that matter and pass `scipy.sparse.csr_matrix`.",
                )
            )
    if matrix.dtype.kind not in "fiub":
        raise TypeError(expected(f"numbers in {where}", f"values of type {matrix.dtype}"))
    csr = sp.csr_array(matrix, copy=True)
    csr.sum_duplicates()
    data = csr.data.astype(np.float64)
    if not ((data >= 0) & (data <= 1)).all():
        what, n_nan = f"confidences between 0 and 1 in {where}", int(np.isnan(data).sum())
        found = f"NaN in {n_nan} entries" if n_nan else f"values from {data.min():g} to {data.max():g}"
        remedy = "Scale them; 1 means the same cell, no entry means no link."
        if (data == -1).any() or (n_nan and where.startswith("`mdata.obsp")):
            remedy = (
                "`mdata.update()` writes -1 or NaN for cells that were added after the matrix: write the links with "
                "`cvi.pp.link` after the last cell or modality was added; no entry means no link."
            )
        raise ValueError(expected(what, found, remedy))
    csr = sp.csr_array((data.astype(np.float32), csr.indices, csr.indptr), shape=csr.shape)
    csr.eliminate_zeros()
    csr.sort_indices()
    return csr


def check_measured(mdata: MuData, links: sp.csr_array, modalities: Sequence[str], where: str) -> None:
    """Raise ValueError unless rows and columns of (n_obs, n_obs) links are cells of the two modalities."""
    for modality, index, side in zip(modalities, links.tocoo().coords, ("row", "column"), strict=True):
        absent = ~mdata.obs_names.isin(mdata[modality].obs_names)[index]
        if absent.any():
            raise ValueError(
                expected(
                    f"the {side}s of {where} to be cells measured in {modality!r}",
                    f"entries for {listing(mdata.obs_names[np.unique(index[absent])], 3)}, which were not",
                    f"Rows are cells of {modalities[0]!r}, columns cells of {modalities[1]!r}; transpose or remove them.",
                )
            )
