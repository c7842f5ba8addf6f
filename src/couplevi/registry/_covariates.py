"""Covariates: columns of ``obs`` that say how a profile was measured, such as its batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from mudata import MuData
from scipy.linalg import block_diag

from couplevi._constants import Registry
from couplevi._labels import column_of, label_texts
from couplevi._validate import expected, listing
from couplevi.registry._field import Field

if TYPE_CHECKING:
    from anndata import AnnData

    from couplevi._types import BoolArray, FloatArray

Kind: TypeAlias = Literal["batch", "categorical", "continuous"]


class CovariateField(Field):
    """A column of ``mdata.obs``, or of the ``obs`` of the modalities.

    Parameters
    ----------
    kind
        ``"batch"``, ``"categorical"`` or ``"continuous"``.
    key
        Name of the column.
    modalities
        Modalities whose profiles have to have a value.
    """

    attr_name = "obs"

    def __init__(self, kind: Kind, key: str, modalities: Sequence[str]) -> None:
        super().__init__(Registry.covariate(kind, key), key)
        self._key = key
        self._kind = kind
        self._modalities = tuple(modalities)

    def validate_field(self, adata: MuData) -> None:
        self.register_field(adata)

    def register_field(self, adata: MuData) -> dict[str, Any]:
        state: dict[str, Any] = {"covariate": self._kind}
        if self._kind == "continuous":
            values = {m: _numbers(_column(adata, m, self._key), self._key) for m in self._modalities}
            pooled = np.concatenate(list(values.values()))
            sd = float(pooled.std()) if np.ptp(pooled) else 1.0  # rounding leaves a constant with one above 0
            return state | {"mean": float(pooled.mean()), "sd": sd}
        texts = {m: _texts(_column(adata, m, self._key), self._key) for m in self._modalities}
        measured = {m: sorted(set(values.tolist())) for m, values in texts.items()}
        return state | {"categories": sorted(set().union(*measured.values())), "measured": measured}

    def transfer_field(
        self,
        state_registry: dict[str, Any],
        adata_target: MuData,
        extend_categories: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        if not extend_categories or self._kind == "continuous":
            return state_registry
        here = self.register_field(adata_target)
        known, measured = state_registry["categories"], dict(state_registry["measured"])
        added = [name for name in here["categories"] if name not in known]
        for m, names in here["measured"].items():
            measured[m] = sorted({*measured.get(m, ()), *names})
        mapped = [*state_registry.get("mapped", ()), *state_registry.get("added", ())]
        state = {"categories": [*known, *added], "measured": measured, "added": added, "mapped": mapped}
        return {**state_registry, **state}

    def get_summary_stats(self, state_registry: dict[str, Any]) -> dict[str, int]:
        n = len(state_registry["categories"]) if "categories" in state_registry else 1
        return {f"n_{self._registry_key}": n}


@dataclass(frozen=True)
class Covariate:
    """One covariate as it was registered.

    Attributes
    ----------
    kind, key
        What it is, and the column it is read from.
    categories, added
        Its categories, and the last of them that came with data that were mapped; none of a continuous one.
    measured
        Categories in which each modality was measured, by modality.
    mean, sd
        What a continuous one is standardised with.
    mapped
        Those of its categories that came with data that were mapped before, to which the last were added.
    """

    kind: Kind
    key: str
    categories: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    measured: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    mean: float = 0.0
    sd: float = 1.0
    mapped: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """Number of columns in the design."""
        return len(self.categories) or 1

    def column(self, data: AnnData | MuData, modality: str) -> pd.Series:
        """Values for the profiles of a modality: of its own ``obs`` where ``mdata.obs`` has no such column."""
        return _column(data, modality, self.key)

    def columns(self, values: pd.Series) -> FloatArray:
        """Indicators of the categories, or the standardised value, shape ``(n, width)``.

        Raises
        ------
        ValueError
            If a value is missing, no number, or a category that was not there at set-up.
        """
        if self.kind == "continuous":
            return ((_numbers(values, self.key) - self.mean) / self.sd).astype(np.float32)[:, None]
        texts = _texts(values, self.key)
        codes = pd.Index(self.categories).get_indexer(pd.Index(texts))
        if (codes < 0).any():
            new = pd.unique(texts[codes < 0])
            remedy = "Train with cells of each category; `cvi.tl.map_query` maps JAMIE and JAE to new ones."
            what = f"categories of column {self.key!r} that the model was trained on, {listing(self.categories)}"
            raise ValueError(expected(what, f"also {listing(new)} in {(codes < 0).sum()} cells", remedy))
        return np.eye(self.width, dtype=np.float32)[codes]

    def from_reference(self, modality: str) -> FloatArray:
        """Weights of the columns before categories were added, of which each column now is the sum.

        A category that was there keeps its own; one that was added has the mean of those in which the modality was
        measured, shape ``(width, width before)``.
        """
        n_before = self.width - len(self.added)
        weights = np.eye(self.width, n_before, dtype=np.float32)
        there = [name in self.measured.get(modality, ()) for name in self.categories[:n_before]]
        weights[n_before:, there] = 1 / max(sum(there), 1)
        return weights


@dataclass(frozen=True)
class Design:
    """Covariates of a model, as columns that its networks read beside the features; those of the batch come first.

    Attributes
    ----------
    covariates
        Its covariates; the batch, if there is one, is the first.
    """

    covariates: tuple[Covariate, ...] = ()

    @property
    def width(self) -> int:
        """Number of columns."""
        return sum(c.width for c in self.covariates)

    @property
    def batches(self) -> tuple[str, ...]:
        """Names of the batches, in the order of their columns."""
        return self._batch.categories

    @property
    def trained_batches(self) -> tuple[str, ...]:
        """Batches that the model was first trained with."""
        later = {*self._batch.mapped, *self._batch.added}
        return tuple(b for b in self.batches if b not in later)

    @property
    def _batch(self) -> Covariate:
        return next((c for c in self.covariates if c.kind == "batch"), Covariate("batch", ""))

    @property
    def added(self) -> BoolArray:
        """Whether a column is that of a category that came with data that were mapped, shape ``(width,)``."""
        parts = [[name in c.added for name in c.categories] or [False] for c in self.covariates]
        return np.array(sum(parts, []), dtype=bool)

    def from_reference(self, modality: str) -> FloatArray:
        """Weights of the columns before categories were added, see :meth:`Covariate.from_reference`."""
        return block_diag(np.empty((0, 0), np.float32), *[c.from_reference(modality) for c in self.covariates])

    def rows(self, data: AnnData | MuData, modality: str) -> FloatArray:
        """Covariates of the profiles of a modality, shape ``(n_profiles, width)``, float32.

        Parameters
        ----------
        data
            MuData with the modality, or its AnnData alone.

        Raises
        ------
        KeyError
            If a column is missing.
        ValueError
            See :meth:`Covariate.columns`.
        """
        n_obs = data[modality].n_obs if isinstance(data, MuData) else data.n_obs
        parts = [c.columns(c.column(data, modality)) for c in self.covariates]
        return np.hstack([np.empty((n_obs, 0), dtype=np.float32), *parts])

    def batches_of(self, modality: str) -> list[int]:
        """Columns of the batches in which a modality was measured."""
        return [self.batches.index(b) for b in self._batch.measured.get(modality, ())]

    def is_paired(self, batch: int, source: str, target: str) -> bool:
        """Whether two modalities were measured in a batch when the model was first trained."""
        known = self.batches[batch] in self.trained_batches
        return known and all(batch in self.batches_of(m) for m in (source, target))

    def batch_columns(self, names: str | Sequence[str] | None, modality: str) -> list[int]:
        """Columns of some batches; None stands for those in which a modality was measured.

        Raises
        ------
        ValueError
            If the model knows no such batch.
        """
        if names is None:
            return self.batches_of(modality)
        wanted = [names] if isinstance(names, str) else [str(name) for name in names]
        unknown = [name for name in wanted if name not in self.batches]
        if unknown or not wanted:
            what = f"`transform_batch` to name one or more of the model's batches, {listing(self.batches) or 'none'}"
            raise ValueError(expected(what, repr(names), "Set the data up with `batch_key`."))
        return [self.batches.index(name) for name in wanted]


def covariate_fields(
    batch_key: str | None,
    categorical: Sequence[str] | None,
    continuous: Sequence[str] | None,
    modalities: Sequence[str],
) -> list[CovariateField]:
    """Fields of the covariates that a user names.

    Raises
    ------
    TypeError
        If a list of columns is something else.
    ValueError
        If a column is named twice.
    """
    fields = [] if batch_key is None else [CovariateField("batch", batch_key, modalities)]
    lists: dict[Kind, Sequence[str] | None] = {"categorical": categorical, "continuous": continuous}
    for kind, keys in lists.items():
        if isinstance(keys, str) or not isinstance(keys or [], Sequence):
            remedy = f"For example [{keys!r}]."
            raise TypeError(expected(f"`{kind}_covariate_keys` to be a list of columns", repr(keys), remedy))
        fields += [CovariateField(kind, key, modalities) for key in keys or []]
    names = [f.attr_key for f in fields]
    if len(set(names)) < len(names):
        raise ValueError(expected("each covariate once", f"columns {names}"))
    return fields


def registered_design(registry: Mapping[str, Any]) -> Design:
    """Covariates that scvi-tools has registered."""
    found = []
    for registered in registry["field_registries"].values():
        state = registered["state_registry"]
        if "covariate" not in state:
            continue
        key, kind = registered["data_registry"]["attr_key"], state["covariate"]
        if kind == "continuous":
            found.append(Covariate(kind, key, mean=state["mean"], sd=state["sd"]))
        else:
            measured = {m: tuple(names) for m, names in state["measured"].items()}
            added, mapped = (tuple(state.get(name, ())) for name in ("added", "mapped"))
            found.append(Covariate(kind, key, tuple(state["categories"]), added, measured, mapped=mapped))
    return Design(tuple(sorted(found, key=lambda c: c.kind != "batch")))


def _column(data: AnnData | MuData, modality: str, key: str) -> pd.Series:
    """Values of a column for the profiles of a modality: its own where ``mdata.obs`` has none of that name."""
    if not isinstance(data, MuData):
        if key not in data.obs:
            remedy = "It says how the cells were measured; add it, or pass the MuData."
            raise KeyError(expected(f"column {key!r} in `adata.obs`", f"columns {list(data.obs)}", remedy))
        return data.obs[key]
    profiles = data[modality]
    if key not in data.obs and key in profiles.obs:
        return profiles.obs[key]
    return column_of(data, key).loc[profiles.obs_names]


def _texts(values: pd.Series, key: str) -> np.ndarray:
    texts = label_texts(values, frozenset())
    _check_known(pd.isna(texts), key)
    return texts.astype(str)


def _numbers(values: pd.Series, key: str) -> FloatArray:
    if not pd.api.types.is_numeric_dtype(values.dtype) or pd.api.types.is_bool_dtype(values.dtype):
        remedy = "Pass its name in `categorical_covariate_keys`."
        raise TypeError(expected(f"numbers in column {key!r}", f"dtype {values.dtype}", remedy))
    numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    _check_known(~np.isfinite(numbers), key)
    return numbers


def _check_known(missing: np.ndarray, key: str) -> None:
    if missing.any():
        remedy = "Give these cells a value (a category of their own, such as 'unknown'), or leave them out."
        raise ValueError(expected(f"a value for each cell in column {key!r}", f"{missing.sum()} missing", remedy))
