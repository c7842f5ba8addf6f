"""Cell labels, some of which are missing, in ``mdata.obs`` or in the modalities."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from couplevi._constants import NO_LABEL
from couplevi._validate import expected

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from anndata import AnnData
    from mudata import MuData
    from numpy.typing import ArrayLike

    from couplevi._types import IntArray


def holders(mdata: MuData, column: str | None) -> list[tuple[AnnData | MuData, str]]:
    """What has a column in its `obs`, and the name it has there: `mdata` or, failing that, its modalities.

    mudata writes ``"rna:cell_type"`` for a column of one modality, and so may the user.
    """
    if column in mdata.obs:
        return [(mdata, str(column))]
    names = ((m, adata, name) for m, adata in mdata.mod.items() for name in adata.obs)
    return [(adata, name) for m, adata, name in names if column in (name, f"{m}:{name}")]


def column_of(mdata: MuData, column: str | None) -> pd.Series:
    """A column of ``mdata.obs`` or, where it has none of that name, of its modalities.

    Parameters
    ----------
    column
        Its name; ``"rna:cell_type"`` is that of one modality.

    Returns
    -------
    A value per cell of `mdata`, missing where none is known; if two modalities know one, the first counts.

    Raises
    ------
    KeyError
        If there is no such column.
    """
    parts = [holder.obs[name] for holder, name in holders(mdata, column)]
    if not parts:
        what = f"`mdata.obs[{column!r}]`, or column {column!r} in the `obs` of a modality"
        in_modalities = {m: list(adata.obs) for m, adata in mdata.mod.items()}
        found = f"columns {list(mdata.obs)}, and in the modalities {in_modalities}"
        raise KeyError(expected(what, found, "Name the column of labels."))
    if all(isinstance(part.dtype, pd.CategoricalDtype) for part in parts):
        categories = list(dict.fromkeys(category for part in parts for category in part.cat.categories))
        parts = [part.cat.set_categories(categories, ordered=False) for part in parts]
    known = [part.dropna() for part in parts]
    values = pd.concat([part for part in known if len(part)] or known[:1])
    return values[~values.index.duplicated()].reindex(mdata.obs_names)


def labels_of(mdata: MuData, labels: str | None, cells: pd.Index) -> pd.Series:
    """Labels of cells as strings, missing ones as NaN; raise KeyError without the column."""
    column = column_of(mdata, labels).loc[cells]
    return pd.Series(label_texts(column), column.index, dtype=object, name=column.name)


def check_classes(column: pd.Series, name: str | None) -> None:
    """Raise ValueError if a column holds measurements, of which each would be a class of its own."""
    if column.dtype.kind == "f" and (column.dropna() % 1 != 0).any():
        remedy = "Cut it into classes with `pandas.cut`."
        raise ValueError(expected(f"labels in column {name!r}", "numbers that are not whole", remedy))


def label_texts(values: ArrayLike | Sequence[Any], missing: AbstractSet[str] = NO_LABEL) -> np.ndarray:
    """Labels of any type as text, NaN where there is none.

    Parameters
    ----------
    values
        One label per cell: text, numbers, booleans, categories, a nullable type or a mixture. None, NaN, NaT and NA
        are missing.
    missing
        Spellings of a missing label.

    Returns
    -------
    Objects, shape ``(n_cells,)``; the same text for 1 and 1.0, which integers become beside a NaN.

    Raises
    ------
    ValueError
        If `values` is a matrix.
    """
    objects = _objects(values)
    texts = pd.Series([_text(value) for value in objects], dtype=object)
    return texts.mask(pd.isna(objects) | texts.isin(missing)).to_numpy()


def label_codes(*sides: ArrayLike | Sequence[Any]) -> tuple[list[IntArray], list[str]]:
    """Position of each label among the sorted names of all sides, -1 where it is missing; and these names.

    Names are in the order of the numbers if all labels are numbers, in alphabetical order otherwise.
    """
    texts = [label_texts(side) for side in sides]
    values = dict(
        pair for side, text in zip(sides, texts, strict=True) for pair in zip(text, _objects(side), strict=True)
    )
    values = {text: value for text, value in values.items() if isinstance(text, str)}
    numbers = all(isinstance(value, Real) for value in values.values())
    names = sorted(values, key=values.__getitem__ if numbers else None)
    return [pd.Index(names, dtype=object).get_indexer(text) for text in texts], names


def _objects(values: ArrayLike | Sequence[Any]) -> np.ndarray:
    if getattr(values, "ndim", 1) != 1:
        raise ValueError(expected("one label per cell", f"an array of shape {np.shape(values)}"))
    return pd.Series(values, dtype=object).to_numpy()


def _text(value: Any) -> str:
    if isinstance(value, str | bool):
        return str(value)
    whole = isinstance(value, Real) and float(value).is_integer()
    return str(int(value)) if whole else str(value)
