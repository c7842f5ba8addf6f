"""Genomic windows: which source features lie near a target feature."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from couplevi._types import IntArray
from couplevi._validate import expected

COLUMNS = {
    "chromosome": ("chromosome", "chrom", "chr", "seqnames", "seqname"),
    "start": ("start", "chromstart"),
    "end": ("end", "chromend", "stop"),
}
"""Spellings of the columns of ``var``, whatever their case."""
WHOLE = ("chromosome", "genome")
INTERVAL_COLUMN = "interval"
INTERVAL = r"^(?P<chromosome>.+?)[:_-](?P<start>\d+)[_-](?P<end>\d+)$"


class Group(NamedTuple):
    """Source features that are ablated together, and the targets that are then looked at."""

    name: str
    features: IntArray
    targets: IntArray


def positions(var: pd.DataFrame, where: str) -> pd.DataFrame:
    """Chromosome (without "chr"), start and end of each feature, NaN where unknown.

    From columns of ``var``, from its column ``"interval"``, or from names such as ``"chr1:100-200"``.

    Raises
    ------
    ValueError
        If there are positions for none of the features.
    """
    lower = {str(column).lower(): column for column in var.columns}
    found = {part: next((lower[s] for s in names if s in lower), None) for part, names in COLUMNS.items()}
    if None not in found.values():
        frame = pd.DataFrame({part: var[column] for part, column in found.items()})
    else:
        text = var[lower[INTERVAL_COLUMN]] if INTERVAL_COLUMN in lower else var.index.to_series()
        frame = text.astype(str).str.extract(INTERVAL)
    frame["chromosome"] = frame["chromosome"].astype(object).where(frame["chromosome"].notna())
    frame["chromosome"] = frame["chromosome"].map(_chromosome, na_action="ignore")
    for end in ("start", "end"):
        frame[end] = pd.to_numeric(frame[end], errors="coerce")
    frame = frame.where(frame.notna().all(axis=1))
    if frame["start"].isna().all():
        raise ValueError(
            expected(
                f"positions of the features of {where}",
                f"columns {list(var.columns)} and names such as {str(var.index[0])!r}",
                "Add columns `chromosome`, `start` and `end` to its `var`, or name features like 'chr1:100-200'.",
            )
        )
    return frame


def _chromosome(name: object) -> str:
    """Name without "chr"; a column of numbers with gaps holds 1.0."""
    whole = int(name) if isinstance(name, float) and name.is_integer() else name
    return re.sub("^chr", "", str(whole), flags=re.IGNORECASE)


def window_groups(source: pd.DataFrame, target: pd.DataFrame, windows: Sequence[int | str]) -> Iterator[Group]:
    """For each window, the source features that lie in it, and the targets that it is around.

    Parameters
    ----------
    source, target
        Positions of all source features, and of the target features that windows are put around; those of them
        without a position are left out.
    windows
        Distance in base pairs from the ends of a target feature, or ``"chromosome"``, or ``"genome"``.
    """
    placed = np.flatnonzero(target["start"].notna())
    on_chromosome = {c: np.flatnonzero(source["chromosome"] == c) for c in target["chromosome"].iloc[placed].unique()}
    start, end = source["start"].to_numpy(float), source["end"].to_numpy(float)
    for window in windows:
        if window == "genome":
            yield Group(window, np.arange(len(source)), placed)
        elif window == "chromosome":
            for chromosome, features in on_chromosome.items():
                here = (target["chromosome"].iloc[placed] == chromosome).to_numpy()
                yield Group(window, features, placed[here])
        else:
            for t in placed:
                position = target.iloc[t]
                near = on_chromosome[position["chromosome"]]
                inside = (end[near] >= position["start"] - window) & (start[near] <= position["end"] + window)
                yield Group(window_name(int(window)), near[inside], np.array([t]))


def check_windows(windows: Sequence[int | str] | int | str) -> list[int | str]:
    """Windows as a list; raise ValueError unless each is a distance, ``"chromosome"`` or ``"genome"``, and once."""
    given = [windows] if isinstance(windows, int | str) else list(windows)
    for window in given:
        is_distance = isinstance(window, int | np.integer) and not isinstance(window, bool) and window >= 0
        if window not in WHOLE and not is_distance:
            remedy = 'For example [10_000, "chromosome", "genome"].'
            raise ValueError(expected("`windows` to be whole base pairs, 'chromosome' or 'genome'", window, remedy))
    if not given or len(set(given)) < len(given):
        raise ValueError(expected("one or more different `windows`", given))
    return given


def window_name(window: int) -> str:
    """Distance as it is said: 10 kb, 2 Mb."""
    for unit, size in (("Mb", 10**6), ("kb", 10**3)):
        if window >= size:
            return f"{window / size:g} {unit}"
    return f"{window} bp"
