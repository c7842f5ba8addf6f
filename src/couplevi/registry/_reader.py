from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import pandas as pd
import scipy.sparse as sp
from mudata import MuData

from couplevi._constants import Registry
from couplevi._streamed import StreamedMatrix
from couplevi._validate import (
    check_modality,
    check_single,
    check_var_names,
    empty_rows,
    expected,
    listing,
    looks_like_counts,
    stored_values,
    warn,
    warn_empty_rows,
)
from couplevi.registry._covariates import Design, registered_design
from couplevi.registry._places import FEWEST_FEATURES, column_names, stored, where_is

if TYPE_CHECKING:
    from anndata import AnnData

    from couplevi._streamed import Matrix
    from couplevi._types import BoolArray, FloatArray, MemoryMatrix

MAX_MISSING = 0.2
"""Share of the features that may be missing in new data, and are filled in."""


class Seen(NamedTuple):
    """What was seen of the values of a modality when the model was built."""

    low: float
    high: float
    whole: bool
    """Whether they look like counts."""
    empty: bool
    """Whether some cells had only zeros, or there are so few features that this means nothing."""

    @classmethod
    def of(cls, matrix: Matrix) -> Self | None:
        """Of a matrix; None if it is read in parts."""
        if isinstance(matrix, StreamedMatrix):
            return None
        values = stored_values(matrix)
        low, high = float(values.min(initial=0)), float(values.max(initial=0))
        few = matrix.shape[1] < FEWEST_FEATURES
        return cls(low, high, looks_like_counts(values), few or bool(empty_rows(matrix).any()))


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
    seen
        What was seen in training; data far from it are warned about. None compares with nothing.
    stand_in
        Value of each feature where data lack it, shape ``(n_vars,)``; None refuses such data.
    design
        Covariates of the model.
    """

    modality: str
    attribute: str
    key: str | None
    var_names: tuple[str, ...]
    seen: Seen | None = None
    stand_in: FloatArray | None = None
    design: Design = Design()

    def of_model(self, var_names: Iterable[str], seen: Seen | None, stand_in: FloatArray | None) -> Self:
        """The same place, read as a model wants it."""
        return replace(self, var_names=tuple(var_names), seen=seen, stand_in=stand_in)

    @property
    def where(self) -> str:
        """Place of the values, for messages."""
        return where_is(self.modality, self.attribute, self.key)

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
            If too many features are missing, or some are double, or values are NaN or infinite; in parts, when these
            are read.
        """
        adata = self.profiles(data)
        names, matrix = stored(adata, self.attribute, self.key)
        if not np.array_equal(names, self.var_names):
            matrix = self._ordered(names, matrix)
        if isinstance(matrix, StreamedMatrix):
            return matrix
        check_single(matrix, self.where)
        if self.seen is not None and matrix.shape[0]:
            self._compare(matrix, self.seen)
        return sp.csr_array(matrix) if sp.issparse(matrix) else np.asarray(matrix)

    def cells(self, mdata: MuData, names: Sequence[str] | pd.Index) -> AnnData:
        """Profiles of some cells of a MuData, by themselves: with the covariates that the model reads in their `obs`."""
        chosen = mdata[self.modality][names]
        if not self.design.covariates:
            return chosen
        told = {c.key: c.column(mdata, self.modality).loc[chosen.obs_names] for c in self.design.covariates}
        chosen = chosen.copy()
        chosen.obs = chosen.obs.assign(**told)
        return chosen

    def covariates(self, data: AnnData | MuData) -> FloatArray:
        """Covariates of the profiles, see :meth:`Design.rows`."""
        return self.design.rows(data, self.modality)

    def measured(self, data: AnnData | MuData) -> Matrix:
        """Values as :meth:`read`, for what they are compared with: nothing stands in for features that are missing."""
        return replace(self, stand_in=None).read(data)

    def absent(self, data: AnnData | MuData) -> BoolArray:
        """Which features of the model data lack, shape ``(n_vars,)``."""
        names, _ = stored(self.profiles(data), self.attribute, self.key)
        return names.get_indexer(pd.Index(self.var_names)) < 0

    def _ordered(self, names: pd.Index, matrix: Matrix) -> Matrix:
        """Values with the features of the model, those that are missing filled in."""
        check_var_names(names, self.where)
        columns = names.get_indexer(pd.Index(self.var_names))
        absent = columns < 0
        stand_in = None if isinstance(matrix, StreamedMatrix) else self.stand_in
        if absent.any():
            self._check_missing(absent, stand_in is not None)
        if isinstance(matrix, StreamedMatrix):
            return matrix.of_columns(columns)
        chosen = matrix[:, columns]  # an absent one is the last, and is replaced
        if stand_in is None or not absent.any():
            return chosen
        filled = np.where(absent, stand_in, 0).astype(np.float32)
        if not sp.issparse(chosen):
            return np.where(absent, filled, chosen)
        kept = sp.csr_array(chosen) @ sp.diags_array((~absent).astype(np.float32))
        return sp.csr_array(kept + sp.csr_array(np.broadcast_to(filled, chosen.shape)))

    def _check_missing(self, absent: BoolArray, can_fill: bool) -> None:
        """Warn of features that data lack; raise ValueError if they are too many, or nothing can stand in for them."""
        missing = np.asarray(self.var_names)[absent]
        few = len(missing) <= MAX_MISSING * len(absent)
        if can_fill and few:
            warn(
                f"{len(missing)} of the {len(absent)} features of {self.where} that the model was trained on are "
                f"missing, and have their mean in training: {listing(missing)}.",
            )
            return
        remedy = "Add them (further features are ignored, their order does not matter), or train without them."
        if can_fill:
            remedy += f" Up to {MAX_MISSING:.0%} are filled with their mean in training."
        what = f"all {len(absent)} features that the model was trained on in {self.where}"
        raise ValueError(expected(what, f"{len(missing)} missing: {listing(missing)}", remedy))

    def _compare(self, matrix: MemoryMatrix, seen: Seen) -> None:
        """Warn if values are of another kind than those seen in training, or far from them."""
        now = Seen.of(matrix)
        assert now is not None
        width = seen.high - seen.low
        kinds = {True: "whole numbers, like raw counts", False: "numbers with fractions, like transformed ones"}
        if now.whole and not seen.whole:
            cause = f"they are {kinds[True]}, and those in training were not. Transform them in the same way first"
        elif seen.whole and not now.whole and (stored_values(matrix) % 1 != 0).any():
            cause = f"they are {kinds[False]}, and those in training were whole. Name the layer of counts"
        elif now.high > seen.high + width or now.low < seen.low - width:
            cause = "these cells may be scaled or transformed in another way"
        else:
            cause = ""
        if cause:
            warn(
                f"Values of {self.where} go from {now.low:.4g} to {now.high:.4g}, in training from {seen.low:.4g} to "
                f"{seen.high:.4g}: {cause}.",
            )
        if now.empty and not seen.empty and self.attribute != "obsm":
            warn_empty_rows(matrix, self.where)


def registered_readers(registry: Mapping[str, Any], modalities: Iterable[str]) -> dict[str, ModalityReader]:
    """Readers of the values that scvi-tools has registered for these modalities, with their features as registered."""
    design = registered_design(registry)
    readers = {}
    for m in modalities:
        field = registry["field_registries"][Registry.values(m)]
        attribute, key = field["data_registry"]["attr_name"], field["data_registry"]["attr_key"]
        names = column_names(key, field["state_registry"]["column_names"])
        readers[m] = ModalityReader(m, attribute, key, tuple(names), design=design)
    return readers
