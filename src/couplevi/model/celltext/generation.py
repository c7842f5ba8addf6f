"""From places in the space of cells back to values: what is measured of a cell that is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np

from couplevi._arrays import dense
from couplevi.model.celltext.prototypes import QUANTILES
from couplevi.preparation import row_chunks

if TYPE_CHECKING:
    from couplevi._streamed import Matrix
    from couplevi._types import FloatArray
    from couplevi.preparation import Preparation

LEAST_DISPERSION = 1e-4
"""Of counts, about that of Poisson."""
TINY_DISPERSION = 1e-6
"""Of counts that are Poisson."""
TINY = 1e-12


def fit_noise(matrix: Matrix, logs: Matrix, preparation: Preparation, *, counted: bool) -> dict[str, FloatArray]:
    """What the components leave out of values: a standard deviation of each feature; of counts gain and dispersion, too.

    Parameters
    ----------
    matrix
        Values, counts or others.
    logs
        What is prepared of them: for counts the logarithms, else the values.
    preparation
        Fitted to `logs`.
    counted
        Whether values are counts. They are taken for negative binomial: the rate of a feature is its share of the
        library, times a gain that makes the means right; the dispersion is by moments.

    Returns
    -------
    ``residual_sd``, ``gain`` and ``dispersion``, shape ``(n_vars,)``, and quantiles of the ``library`` sizes.
    """
    n_vars = matrix.shape[1]
    square, counts, rates, n = np.zeros(n_vars), np.zeros(n_vars), np.zeros(n_vars), 0
    library = []
    for rows, part in row_chunks(logs):
        x = np.asarray(dense(part), dtype=np.float64)
        inverse = preparation.inverse(preparation.transform(part))
        square += np.square(x - inverse).sum(axis=0)
        n += len(x)
        if counted:
            own = np.asarray(dense(matrix[rows]), dtype=np.float64)
            library.append(own.sum(axis=1))
            counts += own.sum(axis=0)
            rates += library[-1] @ shares(inverse, np.ones(n_vars))
    fitted = {"residual_sd": np.sqrt(square / n), "gain": np.ones(n_vars), "dispersion": np.zeros(n_vars)}
    if not counted:
        return fitted | {"library": np.zeros(len(QUANTILES))}
    gain = counts / np.maximum(rates, TINY)
    over, squares = np.zeros(n_vars), np.zeros(n_vars)
    for rows, part in row_chunks(logs):
        own = np.asarray(dense(matrix[rows]), dtype=np.float64)
        mean = own.sum(axis=1, keepdims=True) * shares(preparation.inverse(preparation.transform(part)), gain)
        over += (np.square(own - mean) - mean).sum(axis=0)
        squares += np.square(mean).sum(axis=0)
    dispersion = np.maximum(over / np.maximum(squares, TINY), LEAST_DISPERSION)
    return {
        "residual_sd": fitted["residual_sd"],
        "gain": gain,
        "dispersion": dispersion,
        "library": np.quantile(np.concatenate(library), QUANTILES),
    }


def shares(logs: FloatArray, gain: FloatArray) -> FloatArray:
    """Share of each feature in a library, given logarithms of normalised counts, which sum to 1."""
    rates = np.expm1(np.clip(logs, 0, None)) * gain
    return rates / np.maximum(rates.sum(axis=1, keepdims=True), TINY)


def drawn_counts(
    logs: FloatArray, noise: Mapping[str, FloatArray], library_size: float | None, rng: np.random.Generator
) -> FloatArray:
    """Negative binomial counts; library sizes as they were seen unless one is given."""
    size = np.interp(rng.random(len(logs)), QUANTILES, noise["library"]) if library_size is None else library_size
    mean = np.broadcast_to(size, len(logs))[:, None] * shares(logs, noise["gain"])
    dispersion = np.broadcast_to(noise["dispersion"], mean.shape)
    return rng.poisson(rng.gamma(1 / dispersion, dispersion * mean)).astype(np.float32)


def drawn_values(
    values: FloatArray, noise: Mapping[str, FloatArray], lowest: float, rng: np.random.Generator
) -> FloatArray:
    """Values with Gaussian noise; not below 0 if none was."""
    found = values + noise["residual_sd"] * rng.standard_normal(values.shape)
    return (np.maximum(found, 0) if lowest >= 0 else found).astype(np.float32)


def drawn_cells(
    values: FloatArray,
    noise: Mapping[str, FloatArray],
    library_size: float | None,
    rng: np.random.Generator,
    *,
    counted: bool,
    lowest: float,
) -> ad.AnnData:
    """Cells with these values, of counts their logarithms; see :meth:`~couplevi.model.CellText.generate`."""
    if counted:
        return ad.AnnData(drawn_counts(values, noise, library_size, rng))
    cells = ad.AnnData(drawn_values(values, noise, lowest, rng))
    if library_size is not None:
        plain = {"gain": np.ones(values.shape[1]), "dispersion": np.full(values.shape[1], TINY_DISPERSION)}
        cells.layers["counts"] = drawn_counts(cells.X, plain, library_size, rng)
    return cells
