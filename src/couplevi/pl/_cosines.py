"""Groups of cells, texts to compare them with, their cosines, and texts as short as there is room for."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from anndata import AnnData

from couplevi._labels import check_classes, label_texts
from couplevi._validate import expected, find_names
from couplevi.pl._colors import in_order

if TYPE_CHECKING:
    from couplevi._protocols import FindsTexts

MORE = "…"


class Compared(NamedTuple):
    """What is compared.

    Attributes
    ----------
    groups
        The group of each cell, as categories that occur, in their order; NaN where it has none.
    texts
        At least one, each once.
    """

    groups: pd.Series
    texts: list[str]

    @property
    def told(self) -> str:
        """How many cells there are, and how many of them are in no group."""
        n, n_without = len(self.groups), int(self.groups.isna().sum())
        return f"{n:,} cells" + (f", {n_without:,} without a label" if n_without else "")


def compared(
    adata: AnnData, model: FindsTexts, texts: Sequence[str] | str | None, groupby: str, remedy: str = ""
) -> Compared:
    """Groups of cells, and the texts to compare them with.

    Parameters
    ----------
    texts
        One or more; None takes the labels of the model.
    groupby
        Column of ``adata.obs``; cells without a label are in no group.
    remedy
        What to do without the column.

    Raises
    ------
    TypeError
        If `adata` is not an AnnData.
    KeyError
        If there is no such column.
    ValueError
        If there are no texts, or one is repeated, no cell has a label, or the column holds measurements.
    """
    if not isinstance(adata, AnnData):
        raise TypeError(expected("an AnnData", f"{type(adata).__module__}.{type(adata).__name__}"))
    if groupby not in adata.obs:
        raise KeyError(expected(f"column {groupby!r} in `adata.obs`", f"columns {list(adata.obs)}", remedy))
    column = adata.obs[groupby]
    check_classes(column, groupby)
    labels = pd.Series(label_texts(column), adata.obs_names, dtype=object)
    if labels.isna().all():
        raise ValueError(expected(f"cells with a label in `adata.obs[{groupby!r}]`", "none"))
    groups = pd.Series(pd.Categorical(labels, in_order(labels, column)), adata.obs_names, name=groupby)
    names = list(model.labels_) if texts is None else [texts] if isinstance(texts, str) else list(texts)
    find_names(list(dict.fromkeys(names)), names, "texts")  # at least one, and each once
    return Compared(groups, names)


def cosines(adata: AnnData, model: FindsTexts, found: Compared) -> pd.DataFrame:
    """Cosines of the mean of each group, where its cells are, and each text, in [-1, 1]; groups in rows."""
    groups = found.groups
    cells = np.asarray(model.get_latent_representation(adata), dtype=np.float64)
    vectors = np.asarray(model.encode_text(found.texts), dtype=np.float64)
    means = np.stack([cells[(groups == group).to_numpy()].mean(axis=0) for group in groups.cat.categories])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    return pd.DataFrame(means @ vectors.T, list(groups.cat.categories), found.texts)


def number(cosine: float) -> str:
    """A cosine with two decimals."""
    return f"{round(cosine, 2) + 0.0:.2f}".replace("-", "−")  # there is no −0.00


def short(text: str, width: int) -> str:
    """A text on one line; if it is longer than `width`, its first sentence or, of a long one, its first words."""
    return wrapped(text, width, 1)


def wrapped(text: str, width: int, n_lines: int) -> str:
    """The same on at most `n_lines` lines of at most `width` characters."""
    words = " ".join(text.split())
    lines = _lines(words, width, n_lines)
    sentence, _, rest = words.partition(". ")
    if rest and " ".join(lines) != words:
        lines = _lines(sentence, width, n_lines)
    return "\n".join(lines)


def _lines(text: str, width: int, n_lines: int) -> list[str]:
    return textwrap.wrap(text, width, max_lines=n_lines, placeholder=f" {MORE}")
