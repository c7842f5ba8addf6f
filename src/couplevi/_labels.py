"""Cell labels, some of which are missing."""

from __future__ import annotations

import pandas as pd

from couplevi._constants import NO_LABEL


def known_labels(column: pd.Series) -> pd.Series:
    """Labels as strings, missing ones as NaN."""
    text = column.astype(object).where(column.notna())
    return text.where(~text.astype(str).isin(NO_LABEL)).map(str, na_action="ignore")
