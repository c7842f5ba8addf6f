"""Where the values of a modality are, and under which names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from couplevi._arrays import full_precision
from couplevi._constants import SINGLE
from couplevi._streamed import StreamedMatrix, in_memory
from couplevi._validate import check_single, expected, listing, named, warn_empty_rows

if TYPE_CHECKING:
    from anndata import AnnData
    from mudata import MuData

    from couplevi._streamed import Matrix


FEWEST_FEATURES = 5
"""Number of features from which on a cell of zeros stands out."""


def value_places(
    data: Mapping[str, AnnData] | MuData,
    modalities: Sequence[str],
    layers: Mapping[str, str | None] | None,
    use_rep: Mapping[str, str] | None,
) -> dict[str, tuple[str, str | None]]:
    """Attribute and key of each modality's values, all of them checked."""
    for name, given in (("layers", layers), ("use_rep", use_rep)):
        if given is not None and not isinstance(given, Mapping):
            remedy = f"For example {{{modalities[0]!r}: {given!r}}}."
            raise TypeError(expected(f"`{name}` to map modalities to keys", repr(given), remedy))
    layers, use_rep = dict(layers or {}), dict(use_rep or {})
    for name, given in (("layers", layers), ("use_rep", use_rep)):
        unknown = set(given) - set(modalities)
        if unknown:
            raise ValueError(expected(f"`{name}` for modalities {list(modalities)}", f"also {sorted(unknown)}"))
    places: dict[str, tuple[str, str | None]] = {}
    for m in modalities:
        layer, rep = layers.get(m), use_rep.get(m)
        if layer is not None and rep is not None:
            what = "a layer or a representation" + ("" if m == SINGLE else f" for modality {m!r}")
            raise ValueError(expected(what, f"both: {layer!r}, {rep!r}"))
        places[m] = ("layers", layer) if layer else ("obsm", rep) if rep else ("X", None)
        try:
            values = stored(data[m], *places[m])[1]
        except (KeyError, ValueError, TypeError) as error:
            raise type(error)(error.args[0] if m == SINGLE else f"In modality {m!r}: {error.args[0]}") from None
        where = where_is(m, *places[m])
        if values.shape[1] == 0:
            raise ValueError(expected(f"at least one feature in {where}", "none"))
        if not isinstance(values, StreamedMatrix):
            check_single(values, where)
            if places[m][0] != "obsm" and values.shape[1] >= FEWEST_FEATURES:
                warn_empty_rows(values, where)
    return places


def where_is(modality: str, attribute: str, key: str | None) -> str:
    """Place of the values of a modality, for messages."""
    slot = f"`{attribute}`" if key is None else f"`{attribute}[{key!r}]`"
    return slot if modality == SINGLE else f"{slot} of modality {modality!r}"


def stored(adata: AnnData, attribute: str, key: str | None) -> tuple[pd.Index, Matrix]:
    """Feature names and values at a place of an AnnData; values that are not in memory are read in parts."""
    if attribute == "X":
        if adata.X is None:
            raise ValueError(
                expected("values in `X`", "none", "Name a layer: `layers={modality: layer}`, `layer=` of an AnnData.")
            )
        return adata.var_names, _readable(adata.X, "`X`")
    container = getattr(adata, attribute)
    if key not in container:
        remedy = (
            "Data need their values under the name that was set up; new data are transformed as those in training. At "
            "set-up, name no layer to take `X`."
        )
        raise KeyError(expected(f"`{attribute}[{key!r}]`", f"keys {named(container)}", remedy))
    values = container[key]
    if attribute == "layers":
        return adata.var_names, _readable(values, f"`layers[{key!r}]`")
    if isinstance(values, pd.DataFrame):
        return pd.Index(column_names(key, values.columns)), full_precision(_numbers(values, f"`obsm[{key!r}]`"))
    if values.ndim != 2:
        raise ValueError(expected(f"a matrix in `obsm[{key!r}]`", f"{values.ndim} dimensions"))
    return pd.Index(column_names(key, range(values.shape[1]))), _readable(values, f"`obsm[{key!r}]`")


def _numbers(table: pd.DataFrame, where: str) -> np.ndarray:
    """Values of a table, of nullable columns, too; raise TypeError for columns of something else."""
    other = [name for name, kind in table.dtypes.items() if not pd.api.types.is_numeric_dtype(kind)]
    if other:
        remedy = "Take them out of the table, or convert them."
        raise TypeError(expected(f"numbers in each column of {where}", f"others in {listing(other)}", remedy))
    values = table.to_numpy()
    return table.to_numpy(dtype=np.float64, na_value=np.nan) if values.dtype.kind == "O" else values


def _readable(values: Any, where: str) -> Matrix:
    if not in_memory(values):
        return StreamedMatrix(values, where)
    if not sp.issparse(values):
        return full_precision(values)
    if values.dtype == np.float16:
        remedy = "Convert them with `.astype(np.float32)`."
        raise TypeError(expected(f"values in {where} that scipy computes with", "sparse ones of float16", remedy))
    return values


def column_names(key: str | None, columns: Iterable[object]) -> list[str]:
    """Names of the columns of a representation; numbers get its key in front."""
    return [f"{key}_{c}" if isinstance(c, int | np.integer) else str(c) for c in columns]
