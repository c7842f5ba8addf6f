from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What the values of a metric mean, for tables and axes.

    Attributes
    ----------
    name
        As in the frames of :func:`couplevi.tl.evaluate`.
    title
        As people write it.
    function
        Computes it from arrays: one number, or one per feature.
    meaning
        What is measured, in a few words.
    low, high
        Range of the values; infinite for none.
    best
        Value of a perfect result; None for a comparison, which has none.
    uninformed
        Value of a result that knows nothing: latents that are the same for all cells, the mean of each feature. None
        where it depends on the data.
    needs
        What must be known of the cells that are scored.
    reference
        Where it was defined or used first.

    Examples
    --------
    >>> import couplevi as cvi
    >>> record = cvi.metrics.METRICS["foscttm"]
    >>> record.better, record.range
    ('smaller', '[0, 1]')
    """

    name: str
    title: str
    function: Callable[..., Any]
    meaning: str
    low: float
    high: float
    best: float | None
    uninformed: float | None
    needs: str
    reference: str

    @property
    def better(self) -> str:
        """Direction: ``"smaller"``, ``"larger"``, ``"close to"`` a value, or empty for a comparison."""
        return {None: "", self.low: "smaller", self.high: "larger"}.get(self.best, f"close to {self.best}")

    @property
    def range(self) -> str:
        """``"[low, high]"``, or ``"at least low"``."""
        return f"at least {self.low:g}" if math.isinf(self.high) else f"[{self.low:g}, {self.high:g}]"

    def row(self) -> dict[str, str]:
        """Columns of a table of metrics by their titles, all of them text.

        Examples
        --------
        >>> import couplevi as cvi
        >>> rows = [record.row() for record in cvi.metrics.METRICS.values()]
        >>> list(rows[0])
        ['metric', 'what', 'range', 'better', 'knowing nothing', 'needs', 'reference']
        """
        return {
            "metric": self.title,
            "what": self.meaning,
            "range": self.range,
            "better": self.better,
            "knowing nothing": "" if self.uninformed is None else f"{self.uninformed:g}",
            "needs": self.needs,
            "reference": self.reference,
        }
