from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.colors import Normalize

from couplevi._constants import NO_LABEL, UNKNOWN
from couplevi._docs import fill_docs
from couplevi._labels import check_classes, column_of, label_texts
from couplevi._validate import check_cells, check_mudata, check_option, expected, find_names
from couplevi.pl._colors import in_order
from couplevi.pl._figure import finish
from couplevi.pl._matrix import draw_matrix

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from mudata import MuData

    from couplevi._types import IntArray

SPELLINGS = {UNKNOWN, "Unknown"}


class _Compared(NamedTuple):
    """Cells of each label and predicted class, and what is known of them together."""

    table: pd.DataFrame
    accuracy: float | None
    n_unlabelled: int
    n_unpredicted: int

    @property
    def title(self) -> str:
        """How many predictions are right, and which cells are not shown."""
        n = f"{int(self.table.to_numpy().sum()):,} cells"
        title = n if self.accuracy is None else f"accuracy {self.accuracy:.2f}, {n}"
        kinds = {"label": self.n_unlabelled, "prediction": self.n_unpredicted}
        left_out = ", ".join(f"{n:,} without a {kind}" for kind, n in kinds.items() if n)
        return f"{title}\nleft out: {left_out}" if left_out else title


@fill_docs
def confusion(
    data: AnnData | MuData,
    *,
    labels: str,
    predicted: str,
    cells: Sequence[str] | None = None,
    normalize: bool = True,
    order: Literal["labels", "size"] = "labels",
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | os.PathLike[str] | bool | None = None,
    return_fig: bool = False,
) -> Figure | Axes | list[Axes] | None:
    """Which cell types are taken for which: known labels in rows, predicted ones in columns.

    A predicted class is in the column of the label of its name, so that right predictions are on the diagonal; classes
    that are no label follow, and ``"unknown"`` is last. If less than half of the classes are labels, as with numbers of
    clusters, each class is near the row that most of its cells are of. The number of cells is beside each row.

    Parameters
    ----------
    data
        MuData or AnnData.
    labels
        Column of ``obs``, or of the ``obs`` of the modalities, with known labels. Cells without one (missing,
        ``"unknown"``, ``"nan"``, ``"Mis"``) are left out and counted in the title.
    predicted
        Column with predicted ones, such as ``"jamie_cell_type"``, which :func:`couplevi.tl.predict_labels` writes.
        Cells without a prediction are left out and counted; ``"unknown"`` is a prediction, and a wrong one.
    cells
        Names of the cells to show; None takes all. Those that labels were learned from flatter: name others.
    normalize
        Whether shades and numbers are shares of the row, in percent, or numbers of cells.
    order
        Of rows: that of the categories or names of labels, or by ``"size"``, the largest first.
    %(ax)s
    %(show)s

    Returns
    -------
    %(drawn)s

    Raises
    ------
    TypeError
        If `data` is neither a MuData nor an AnnData.
    KeyError
        If a column or a cell is missing.
    ValueError
        If no cell has both labels, a column holds measurements, a cell is named twice, or `order` is unknown.

    Examples
    --------
    >>> import couplevi as cvi
    >>> mdata = cvi.data.branching_manifold(n_obs=100)
    >>> mdata.obs["guess"] = mdata.obs["cell_type"].astype(str).replace({"C": "B"})
    >>> ax = cvi.pl.confusion(mdata, labels="cell_type", predicted="guess", show=False)
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['A', 'B', 'C']
    """
    check_option(order, ["labels", "size"], "order")
    known, given = _column(data, labels), _column(data, predicted)
    chosen = np.arange(data.n_obs) if cells is None else find_names(data.obs_names, cells, "cells")
    compared = _compared(known, given, chosen, order)
    counts = compared.table.to_numpy()
    values = 100 * counts / counts.sum(axis=1, keepdims=True) if normalize else counts
    n_cells = [f"{n:,}" for n in counts.sum(axis=1)]
    axes = draw_matrix(
        pd.DataFrame(values, compared.table.index, compared.table.columns),
        cmap="Blues",
        norm=Normalize(0, 100 if normalize else counts.max()),
        bar="cells of the row (%)" if normalize else "cells",
        numbers={(i, j): f"{values[i, j]:.0f}" for i, j in zip(*np.nonzero(values >= 0.5), strict=True)},
        beside=[f"n = {n_cells[0]}", *n_cells[1:]],
        ax=ax,
        title=compared.title,
        xlabel=f"predicted: {predicted}",
        ylabel=f"known: {labels}",
    )
    return finish([axes], show, save, return_fig, "confusion")


def _column(data: AnnData | MuData, name: str) -> pd.Series:
    """A column of classes, in the order of the cells."""
    if isinstance(data, AnnData):
        if name not in data.obs:
            raise KeyError(expected(f"column {name!r} in `adata.obs`", f"columns {list(data.obs)}"))
        column = data.obs[name]
    else:
        column = column_of(check_cells(data, list(check_mudata(data).mod)), name)
    check_classes(column, name)
    return column


def _compared(known: pd.Series, given: pd.Series, chosen: IntArray, order: str) -> _Compared:
    """Count the chosen cells by label and prediction, so ordered that right ones are on the diagonal."""
    whole = pd.Series(label_texts(known))
    predictions = pd.Series(label_texts(given, missing=NO_LABEL - SPELLINGS)).replace(dict.fromkeys(SPELLINGS, UNKNOWN))
    truth, guess = whole.iloc[chosen], predictions.iloc[chosen]
    both = truth.notna() & guess.notna()
    if not both.any():
        found = (
            f"{int(truth.notna().sum())} of {len(chosen)} with a label, {int(guess.notna().sum())} with a prediction"
        )
        raise ValueError(expected(f"cells with a label in {known.name!r} and a prediction in {given.name!r}", found))
    table = pd.crosstab(truth[both], guess[both])
    rows = in_order(truth[both], known)
    if order == "size":
        rows = sorted(rows, key=lambda row: -table.loc[row].sum())
    classes = [str(name) for name in table if name != UNKNOWN]
    has_names = 2 * len(set(whole.dropna()) & set(classes)) >= len(classes)
    first = rows if has_names else []
    most = {name: rows.index(name) if name in rows else rows.index(str(table[name].idxmax())) for name in classes}
    rest = sorted(set(classes) - set(first), key=lambda name: (most[name], -table[name].sum(), name))
    columns = [*first, *rest, *([UNKNOWN] if UNKNOWN in table else [])]
    return _Compared(
        table.reindex(index=rows, columns=columns, fill_value=0),
        float((truth[both] == guess[both]).mean()) if has_names else None,
        int(truth.isna().sum()),
        int((truth.notna() & guess.isna()).sum()),
    )
