"""What cells are coloured by: columns or features, and the colours of categories."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.colors import is_color_like

from couplevi._arrays import dense
from couplevi._labels import column_of, holders, label_codes, label_texts, labels_of
from couplevi._streamed import StreamedMatrix, in_memory
from couplevi._validate import check_var_names, expected, named
from couplevi.pl._figure import palette

if TYPE_CHECKING:
    from mudata import MuData

    from couplevi._types import FloatArray


class Colored(NamedTuple):
    """What cells are coloured by.

    Attributes
    ----------
    values
        By name of the cell: finite numbers, or the text of a category; NaN where there is none.
    colors
        Of each category that occurs, in their order; None for numbers.
    """

    values: pd.Series
    colors: dict[str, Any] | None


def colored_by(mdata: MuData, name: str, modalities: Sequence[str], layers: Mapping[str, str | None]) -> Colored:
    """Find a column or else a feature, those of some modalities first.

    Parameters
    ----------
    name
        Of a column of ``mdata.obs`` or of a modality, or of a feature; ``"rna:Gad1"`` is that of one modality.
    layers
        Layer of each modality to read features from; ``X`` for those left out.

    Raises
    ------
    KeyError
        If there is neither, or not the layer.
    ValueError
        If several modalities have such a feature, or one has it twice.
    """
    if not holders(mdata, name):
        return Colored(_feature(mdata, name, modalities, layers), None)
    column = column_of(mdata, name)
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        numbers = column.astype("Float64").to_numpy(dtype=float, na_value=np.nan)
        return Colored(pd.Series(np.where(np.isfinite(numbers), numbers, np.nan), column.index), None)
    texts = pd.Series(label_texts(column, missing=frozenset()), column.index, dtype=object)
    return Colored(texts, category_colors(mdata, name, in_order(texts, column)))


def ordered_labels(mdata: MuData, labels: str, cells: pd.Index) -> pd.Series:
    """Labels of cells as categories in their order, those that do not occur left out; NaN where missing."""
    texts = labels_of(mdata, labels, cells)
    return pd.Series(pd.Categorical(texts, in_order(texts, column_of(mdata, labels))), texts.index, name=labels)


def in_order(texts: pd.Series, column: pd.Series) -> list[str]:
    """Texts that occur, in the order of the column that they stand for: of its categories, of numbers, or by alphabet."""
    occur = set(texts.dropna())
    is_categorical = isinstance(column.dtype, pd.CategoricalDtype)
    order = label_texts(column.cat.categories, missing=frozenset()) if is_categorical else label_codes(column)[1]
    return [*(text for text in order if text in occur), *sorted(occur.difference(order))]


def category_colors(data: AnnData | MuData, column: str, categories: Sequence[str]) -> dict[str, Any]:
    """A colour for each category, as scanpy keeps them: ``uns["{column}_colors"]``, one per category of the column.

    If these are too few, or no colours, they are chosen anew.
    """
    kept: dict[str, Any] = {}
    for holder, name in [(data, column)] if isinstance(data, AnnData) else holders(data, column):
        colors = holder.uns.get(f"{name}_colors", [])
        if isinstance(holder.obs[name].dtype, pd.CategoricalDtype) and all(map(is_color_like, colors)):
            names = label_texts(holder.obs[name].cat.categories, missing=frozenset())
            kept = {**dict(zip(names, colors, strict=False)), **kept}
    return {c: kept[c] for c in categories} if kept.keys() >= set(categories) else palette(categories)


def _feature(mdata: MuData, name: str, modalities: Sequence[str], layers: Mapping[str, str | None]) -> pd.Series:
    """Values of a feature by cell, NaN for cells that were not measured."""
    found = _having(mdata, name, modalities) or _having(mdata, name, mdata.mod)
    if not found:
        what = f"`mdata.obs[{name!r}]`, or {name!r} among the columns and the features of a modality"
        raise KeyError(expected(what, f"columns {list(mdata.obs)}"))
    if len(found) > 1:
        remedy = "Say which: " + " or ".join(repr(f"{m}:{feature}") for m, feature in found) + "."
        raise ValueError(expected(f"one modality with feature {name!r}", [m for m, _ in found], remedy))
    [(m, feature)] = found
    adata = mdata[m]
    return pd.Series(_values(adata, m, feature, layers.get(m)), adata.obs_names).reindex(mdata.obs_names)


def _having(mdata: MuData, name: str, modalities: Iterable[str]) -> list[tuple[str, str]]:
    """Modalities that have a feature, and its name there."""
    names = {m: [name, *([name.removeprefix(f"{m}:")] if name.startswith(f"{m}:") else [])] for m in modalities}
    return [(m, n) for m, wanted in names.items() for n in wanted if n in mdata[m].var_names]


def _values(adata: AnnData, modality: str, feature: str, layer: str | None) -> FloatArray:
    if layer is not None and layer not in adata.layers:
        remedy = "Name it in `layers`; without one it is `X`."
        found = f"layers {named(adata.layers)}"
        raise KeyError(expected(f"`mdata[{modality!r}].layers[{layer!r}]`", found, remedy))
    matrix = adata.X if layer is None else adata.layers[layer]
    where = f"mdata[{modality!r}]"
    if matrix is None:
        raise KeyError(
            expected(f"values in `{where}.X`", "none", f"Name a layer of {named(adata.layers)} in `layers`.")
        )
    columns = np.flatnonzero(adata.var_names == feature)
    check_var_names(adata.var_names[columns], where)
    values = matrix[:, columns] if in_memory(matrix) else StreamedMatrix(matrix, where, columns)[:]
    return np.asarray(dense(values), dtype=float).ravel()
