"""What a model reads of cells: prepared features, or what a function of the user makes of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from couplevi._validate import expected

if TYPE_CHECKING:
    from anndata import AnnData

    from couplevi._types import BoolArray, FloatArray
    from couplevi.preparation import Preparation

CellEncoder: TypeAlias = "Callable[[AnnData], Any]"
"""From cells to vectors, shape ``(n, size)``, or to tokens, ``(n, n_tokens, size)``, NaN where a cell has fewer."""


def represented(
    encoder: CellEncoder, adata: AnnData, size: int | None = None, *, tokens: bool | None = None
) -> FloatArray:
    """Vectors or tokens of cells; raise ValueError unless they are what was learned from, or is usable at all.

    Parameters
    ----------
    encoder, adata
        Function of the user, and cells.
    size, tokens
        Size of vectors or tokens, and which of them they are; None takes any.
    """
    values = np.asarray(encoder(adata), dtype=np.float32)
    if values.ndim not in (2, 3) or len(values) != adata.n_obs or not values.size:
        what = f"vectors ({adata.n_obs}, size) or tokens ({adata.n_obs}, n_tokens, size) from the cell encoder"
        raise ValueError(expected(what, f"shape {values.shape}"))
    if size is not None and (values.shape[-1] != size or (values.ndim == 3) != tokens):
        what = f"{'tokens' if tokens else 'vectors'} of size {size}, as in training"
        raise ValueError(expected(what, f"shape {values.shape}", "Pass the function that the model was made with."))
    finite: BoolArray = np.isfinite(values)
    usable = np.any(np.all(finite, axis=2), axis=1) if values.ndim == 3 else np.all(finite, axis=1)
    if not usable.all():
        remedy = "Tokens that a cell lacks are NaN as a whole; leave out cells that have none."
        raise ValueError(expected("finite vectors, or a token of each cell, from the cell encoder", "none", remedy))
    return values


def pooled(values: FloatArray) -> FloatArray:
    """Vectors of cells: of tokens the mean of those that there are."""
    if values.ndim == 2:
        return values
    return np.asarray(np.nanmean(values, axis=1, dtype=np.float64), dtype=np.float32)


def flat_tokens(values: FloatArray, preparation: Preparation, n_tokens: int) -> FloatArray:
    """Tokens in the units of the standardised vectors, side by side; NaN up to the number that cells had in training."""
    gain = np.divide(1, preparation.scale, out=np.zeros_like(preparation.scale), where=preparation.scale > 0)
    found = np.full((len(values), max(n_tokens, values.shape[1]), values.shape[2]), np.nan, dtype=np.float32)
    found[:, : values.shape[1]] = (values - preparation.mean) * gain
    return found.reshape(len(values), -1)
