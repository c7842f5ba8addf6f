"""Cell labels, some of which are missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from couplevi._constants import NO_LABEL
from couplevi._validate import expected

if TYPE_CHECKING:
    from mudata import MuData


def check_labels(mdata: MuData, labels: str | None) -> None:
    """Raise KeyError unless `labels` is a column of ``mdata.obs``."""
    if labels not in mdata.obs:
        found = f"columns {list(mdata.obs.columns)}"
        raise KeyError(expected(f"`mdata.obs[{labels!r}]`", found, "Name the column of labels."))


def labels_of(mdata: MuData, labels: str | None, cells: pd.Index) -> pd.Series:
    """Labels of cells as strings, missing ones as NaN; raise KeyError without the column."""
    check_labels(mdata, labels)
    column = mdata.obs.loc[cells, labels]
    text = column.astype(object).where(column.notna())
    return text.where(~text.astype(str).isin(NO_LABEL)).map(str, na_action="ignore")
