from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
import scipy.sparse as sp
from mudata import MuData

from couplevi._constants import Registry
from couplevi._streamed import StreamedMatrix
from couplevi._validate import check_finite, check_modality, check_var_names, expected, listing
from couplevi.registry._places import column_names, stored

if TYPE_CHECKING:
    from anndata import AnnData

    from couplevi._streamed import Matrix


@dataclass(frozen=True, eq=False)
class ModalityReader:
    """Reads the registered values of a modality from any data that holds them, features by name.

    Attributes
    ----------
    modality
        Name of the modality.
    attribute, key
        Where the values are: ``"X"`` and None, ``"layers"`` or ``"obsm"`` and the key there.
    var_names
        Features in the order of the model; columns of an ``obsm`` array are called ``key_0``, ``key_1``, ...
    """

    modality: str
    attribute: str
    key: str | None
    var_names: tuple[str, ...]

    def of_features(self, var_names: Iterable[str]) -> Self:
        """The same place, other features."""
        return replace(self, var_names=tuple(var_names))

    @property
    def where(self) -> str:
        """Place of the values, for messages."""
        slot = self.attribute if self.key is None else f"{self.attribute}[{self.key!r}]"
        return f"`{slot}` of modality {self.modality!r}"

    def profiles(self, data: AnnData | MuData) -> AnnData:
        """The modality's AnnData: `data` itself, or the part of a MuData."""
        if not isinstance(data, MuData):
            return data
        check_modality(data, self.modality)
        return data[self.modality]

    def read(self, data: AnnData | MuData) -> Matrix:
        """Values, cells by features in the order of the model: an array, CSR, or a matrix that is read in parts.

        Raises
        ------
        KeyError
            If the layer or representation is missing.
        ValueError
            If features are missing or double, or values are NaN or infinite; in parts, when these are read.
        """
        adata = self.profiles(data)
        names, matrix = stored(adata, self.attribute, self.key)
        if not np.array_equal(names, self.var_names):
            columns = self._columns(names)
            matrix = matrix.of_columns(columns) if isinstance(matrix, StreamedMatrix) else matrix[:, columns]
        if isinstance(matrix, StreamedMatrix):
            return matrix
        check_finite(matrix, self.where)
        return sp.csr_array(matrix) if sp.issparse(matrix) else np.asarray(matrix)

    def _columns(self, names: pd.Index) -> np.ndarray:
        check_var_names(names, self.where)
        columns = names.get_indexer(pd.Index(self.var_names))
        missing = [name for name, column in zip(self.var_names, columns, strict=False) if column < 0]
        if missing:
            raise ValueError(
                expected(
                    f"all {len(self.var_names)} features that the model was trained on in modality {self.modality!r}",
                    f"{len(missing)} missing: {listing(missing)}",
                    "Add them (further features are ignored, their order does not matter), or train without them.",
                )
            )
        return columns


def registered_readers(registry: Mapping[str, Any], modalities: Iterable[str]) -> dict[str, ModalityReader]:
    """Readers of the values that scvi-tools has registered for these modalities, with their features as registered."""
    readers = {}
    for m in modalities:
        field = registry["field_registries"][Registry.values(m)]
        attribute, key = field["data_registry"]["attr_name"], field["data_registry"]["attr_key"]
        names = column_names(key, field["state_registry"]["column_names"])
        readers[m] = ModalityReader(m, attribute, key, tuple(names))
    return readers
