from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from couplevi._arrays import dense
from couplevi._constants import Key
from couplevi._validate import check_cells, check_modality, expected, find_names, listing, named
from couplevi.metrics import auroc_per_feature
from couplevi.pl._colors import ordered_labels

if TYPE_CHECKING:
    from anndata import AnnData
    from mudata import MuData

    from couplevi._types import BoolArray, FloatArray

MOSTLY = 0.75
"""Share of zeros from which a feature is open or closed in a cell rather than more or less."""
FEWEST_CELLS = 3
"""Cells from which a correlation says anything."""


class ImputedValues(NamedTuple):
    """Measured and imputed values of the cells that have both, shapes ``(n_cells, n_features)``.

    Attributes
    ----------
    fitted
        Which cells have a pair that the model was trained on, shape ``(n_cells,)``; None if that is not known.
    """

    cells: pd.Index
    features: pd.Index
    measured: FloatArray
    imputed: dict[str, FloatArray]
    fitted: BoolArray | None

    def of(self, rows: BoolArray) -> ImputedValues:
        """Those of some cells."""
        return self._replace(
            cells=self.cells[rows],
            measured=self.measured[rows],
            imputed={key: x[rows] for key, x in self.imputed.items()},
            fitted=None if self.fitted is None else self.fitted[rows],
        )

    @property
    def told(self) -> str:
        """How many cells there are, and whether the model was trained on their pairs."""
        n = f"{len(self.cells)} cells"
        if self.fitted is None:
            return f"{n}, perhaps trained on"
        n_fitted = int(self.fitted.sum())
        some = f"{n_fitted} trained on"
        return f"{n}, " + {0: "held out", len(self.cells): "trained on"}.get(n_fitted, some)


def imputed_values(
    mdata: MuData,
    source: str,
    target: str,
    keys: Sequence[str],
    *,
    layer: str | None,
    features: Sequence[str] | str | None = None,
    cells: Sequence[str] | None = None,
) -> ImputedValues:
    """Read what `keys` imputed beside what was measured.

    Parameters
    ----------
    keys
        The `key_added` of one or several imputations.
    layer
        Layer of the target that was registered; None is ``X``.
    features
        Features to read; None takes those that all imputations know.
    cells
        Cells to read; None takes those that have both values and whose pairs no model was trained on, or all that have
        both if fewer than 3 are held out.

    Raises
    ------
    KeyError
        If the imputations, the layer, features or cells are missing.
    ValueError
        If no cell has both values, or a feature was not imputed.
    """
    check_modality(check_cells(mdata, [source, target]), target, "target")
    check_modality(mdata, source, "source")
    if not keys:
        raise ValueError(expected("at least one imputation in `keys`", "none"))
    profiles = mdata[target]
    slots = {key: Key.layers.imputed(key, source) for key in keys}
    call = f"(mdata, model, source={source!r}, target={target!r})`"
    remedies = dict.fromkeys(
        slots.values(),
        f"Run `cvi.tl.impute{call} or `cvi.tl.impute_baseline{call} first; for modalities registered by `use_rep` "
        "there is no such layer.",
    )
    if layer is not None:
        remedies[layer] = "Name the layer that was registered; None is `X`."
    for name, remedy in remedies.items():
        if name not in profiles.layers:
            raise KeyError(
                expected(f"`mdata[{target!r}].layers[{name!r}]`", f"layers {named(profiles.layers)}", remedy)
            )
    imputed = {key: np.asarray(profiles.layers[slot]) for key, slot in slots.items()}
    finite = np.logical_and.reduce([np.isfinite(x) for x in imputed.values()])
    rows = np.flatnonzero(finite.any(axis=1))
    fitted = _fitted(profiles, [Key.obs.fitted(key, source) for key in keys])
    if cells is not None:
        rows = np.intersect1d(rows, find_names(profiles.obs_names, cells, f"cells of {target!r}"))
    elif fitted is not None and (~fitted[rows]).sum() >= FEWEST_CELLS:
        rows = rows[~fitted[rows]]
    if not len(rows):
        raise ValueError(expected(f"cells measured in {source!r} and {target!r}", "none"))
    columns = np.flatnonzero(finite[rows].all(axis=0))
    if features is not None:
        columns = find_names(profiles.var_names, features, f"features of modality {target!r}")
        if not finite[np.ix_(rows, columns)].all():
            found = f"others among {listing(profiles.var_names[columns])}"
            raise ValueError(expected("features that were imputed", found))
    measured = dense((profiles.layers[layer] if layer else profiles.X)[rows][:, columns])
    return ImputedValues(
        profiles.obs_names[rows],
        profiles.var_names[columns],
        np.asarray(measured, dtype=float),
        {key: x[np.ix_(rows, columns)] for key, x in imputed.items()},
        None if fitted is None else fitted[rows],
    )


def _fitted(profiles: AnnData, columns: Sequence[str]) -> BoolArray | None:
    """Which cells have a pair that one of some models was trained on; None unless that is known of all models."""
    if not all(column in profiles.obs for column in columns):
        return None
    return np.logical_or.reduce([profiles.obs[column].to_numpy(dtype=bool) for column in columns])


def is_mostly_zero(measured: FloatArray) -> BoolArray:
    """Which features are 0 or one other value, or 0 in most cells, as those of chromatin are, shape ``(n_features,)``."""
    zero = measured == 0
    is_binary = (zero | (measured == measured.max(axis=0))).all(axis=0)
    return (measured >= 0).all(axis=0) & zero.any(axis=0) & (is_binary | (zero.mean(axis=0) >= MOSTLY))


def auroc_of_open(measured: FloatArray, imputed: FloatArray) -> FloatArray:
    """Area under the ROC curve of telling cells above 0 from those at 0, NaN of features with one kind alone."""
    closed = (measured == 0).astype(float)
    few_closed = auroc_per_feature(closed, -imputed)  # the metric needs the kind that fewer cells are of to be 1
    return np.where(closed.mean(axis=0) < 0.5, few_closed, auroc_per_feature(1 - closed, imputed))


def shown_labels(mdata: MuData, labels: str, cells: pd.Index) -> pd.Series:
    """Labels of cells as categories in their order, NaN where missing.

    Raises
    ------
    KeyError
        Without the column.
    ValueError
        Without a label.
    """
    found = ordered_labels(mdata, labels, cells)
    if found.isna().all():
        raise ValueError(expected(f"cells with a label in `mdata.obs[{labels!r}]`", "none"))
    return found


def written(data: AnnData | MuData, key: str, slot: str) -> Any:
    """What :func:`couplevi.tl.cplmixvae` wrote to a slot of ``uns[key]``; raise KeyError without it."""
    found = data.uns.get(key, {})
    if slot not in found:
        remedy = f"Run `cvi.tl.cplmixvae(data, n_categories=..., key_added={key!r})`, with two arms or more."
        raise KeyError(expected(f"`uns[{key!r}][{slot!r}]`", f"keys {list(found or data.uns)}", remedy))
    return found[slot]


def check_columns(frame: pd.DataFrame, columns: Sequence[str], remedy: str) -> None:
    """Raise KeyError unless a table has all of `columns`."""
    if not set(columns) <= set(frame):
        raise KeyError(expected(f"columns {list(columns)}", f"{list(frame)}", remedy))
