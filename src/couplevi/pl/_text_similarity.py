from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from matplotlib.colors import CenteredNorm
from matplotlib.patches import Rectangle
from scipy.cluster.hierarchy import leaves_list, linkage

from couplevi._docs import fill_docs
from couplevi._validate import check_option
from couplevi.pl._cosines import compared, cosines, number, short
from couplevi.pl._figure import finish
from couplevi.pl._matrix import draw_matrix

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from couplevi._protocols import FindsTexts
    from couplevi._types import BoolArray, FloatArray

LONGEST = 38
"""Characters of a text that are written below its column."""
SAME = 1e-6
"""Difference of cosines that is one of rounding."""


@fill_docs
def text_similarity(
    adata: AnnData,
    model: FindsTexts,
    *,
    groupby: str,
    texts: Sequence[str] | str | None = None,
    order: Literal["labels", "clustered"] = "labels",
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | os.PathLike[str] | bool | None = None,
    return_fig: bool = False,
) -> Figure | Axes | list[Axes] | None:
    """How near each type of cells is to each text: types in rows, texts in columns.

    The shade is the cosine of the text and the mean of the type's cells, red above 0 and blue below. A frame marks the
    text that is nearest to each type; of texts with the same cosine, all. Texts that are names of types are in the order of the rows, so that they are on
    the diagonal; the title says how many of those types have their own as the nearest.

    Parameters
    ----------
    adata
        Cells with the features of the model.
    model
        Fitted :class:`~couplevi.model.CellText`.
    groupby
        Column of ``adata.obs`` with types or clusters; cells without a label (missing, ``"unknown"``) are left out and
        counted in the title.
    texts
        Any texts, or labels of the model; None takes all of its labels. Long ones are cut.
    order
        Of rows and columns: that of the categories or names of types and of the given texts, or ``"clustered"``, where
        similar types are side by side and each text is at the type that it is nearest to.
    %(ax)s
    %(show)s

    Returns
    -------
    %(drawn)s

    Raises
    ------
    TypeError
        If `adata` is not an AnnData.
    KeyError
        If the column is missing, or the cells lack what the model reads.
    ValueError
        If no cell has a label, the column holds measurements, there are no texts, or one is repeated, or `order` is
        unknown.
    RuntimeError
        If the model is not trained.

    Examples
    --------
    >>> import couplevi as cvi
    >>> mdata = cvi.data.count_clusters(n_obs=200)
    >>> adata = mdata["rna"].copy()
    >>> adata.obs["type"] = mdata.obs["cell_type"].astype(str)
    >>> quick = {"max_epochs": 5, "enable_progress_bar": False}
    >>> model = cvi.tl.celltext(adata, labels_key="type", seed=0, train_kwargs=quick)
    >>> ax = cvi.pl.text_similarity(adata, model, groupby="type", texts=["type0", "another type"], show=False)
    >>> [label.get_text() for label in ax.get_xticklabels()]
    ['type0', 'another type']
    """
    check_option(order, ["labels", "clustered"], "order")
    found = compared(adata, model, texts, groupby)
    table = _ordered(cosines(adata, model, found), order)
    values = table.to_numpy()
    axes = draw_matrix(
        table.rename(columns=lambda text: short(text, LONGEST)),
        cmap="RdBu_r",
        norm=CenteredNorm(0, halfrange=float(np.abs(values).max())),
        bar="cosine",
        numbers={place: number(value) for place, value in np.ndenumerate(values)},
        ax=ax,
        title=f"{_agreement(table)}{found.told}",
        xlabel="text",
        ylabel=groupby,
    )
    for i, j in np.argwhere(_nearest(values)):
        axes.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False, edgecolor="black", linewidth=1.2))
    return finish([axes], show, save, return_fig, "text_similarity")


def _ordered(table: pd.DataFrame, order: str) -> pd.DataFrame:
    """Rows and columns in their order, texts that are names of rows in that of the rows, before the others."""
    if order == "clustered":
        if len(table) > 2:
            table = table.iloc[leaves_list(linkage(table.to_numpy(), "average", optimal_ordering=True))]
        table = table.iloc[:, np.argsort(table.to_numpy().argmax(axis=0), kind="stable")]
    own = [row for row in table.index if row in table.columns]
    return table[[*own, *(text for text in table if text not in own)]]


def _nearest(values: FloatArray) -> BoolArray:
    """Which texts are nearest to each type; types may have the same text."""
    return values > values.max(axis=1, keepdims=True) - SAME


def _agreement(table: pd.DataFrame) -> str:
    """Of how many types whose name is among the texts that text is the nearest; empty if there are none."""
    nearest = pd.DataFrame(_nearest(table.to_numpy()), table.index, table.columns)
    own = [bool(nearest.loc[row, row]) for row in table.index if row in table.columns]
    return f"nearest to their own text: {sum(own)} of {len(own)} types\n" if own else ""
