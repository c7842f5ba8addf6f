"""Columns of ``obs`` that say what a cell is, such as its perturbation or type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mudata import MuData

from couplevi._constants import Registry
from couplevi._labels import column_of, label_texts
from couplevi._validate import expected
from couplevi.registry._field import Field

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from anndata import AnnData


class ColumnField(Field):
    """A column of labels, of an AnnData or of the cells of a MuData; other data need not have it.

    Parameters
    ----------
    role
        What it says, such as ``"state"``.
    key
        Name of the column.
    """

    attr_name = "obs"

    def __init__(self, role: str, key: str) -> None:
        super().__init__(Registry.column(role), key)
        self._key = key

    def validate_field(self, adata: AnnData | MuData) -> None:
        column_texts(adata, self._key)

    def register_field(self, adata: AnnData | MuData) -> dict[str, Any]:
        self.validate_field(adata)
        return {}

    def transfer_field(
        self, state_registry: dict[str, Any], adata_target: AnnData | MuData, **kwargs: Any
    ) -> dict[str, Any]:
        return state_registry

    def get_summary_stats(self, state_registry: dict[str, Any]) -> dict[str, int]:
        return {}


def column_fields(columns: Mapping[str, str | None]) -> list[ColumnField]:
    """Fields of the columns of each role for which one is named."""
    return [ColumnField(role, key) for role, key in columns.items() if key is not None]


def registered_column(registry: Mapping[str, Any], role: str) -> str | None:
    """Name of the column that was registered in a role; None if there is none."""
    field = registry["field_registries"].get(Registry.column(role))
    return None if field is None else field["data_registry"]["attr_key"]


def column_texts(data: AnnData | MuData, key: str) -> np.ndarray:
    """Labels of the cells as texts, NaN where there is none, shape ``(n_obs,)``; raise KeyError without the column."""
    return label_texts(column_values(data, key))


def column_values(data: AnnData | MuData, key: str) -> pd.Series:
    """A column of the cells; raise KeyError without it."""
    if isinstance(data, MuData):
        return column_of(data, key)
    if key not in data.obs:
        raise KeyError(expected(f"column {key!r} in `adata.obs`", f"columns {list(data.obs)}"))
    return data.obs[key]
