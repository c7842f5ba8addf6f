from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from couplevi._validate import check_finite, check_rows, expected

if TYPE_CHECKING:
    from couplevi._types import FloatArray, IntArray
    from couplevi.gaussians._gaussian import Gaussian

RIDGE = 1e-8
"""Added to the correlations of given variables with themselves, so that two that are the same can be given."""

NO_VARIANCE = 1e-12
"""Variances below this share of the largest one are zero."""


def conditional_shift(gaussian: Gaussian, indices: IntArray, values: FloatArray) -> FloatArray:
    """How far all variables are expected to be from their mean, if some are known to be; a regression on these.

    Parameters
    ----------
    gaussian
        The state whose natural variation is used.
    indices
        Positions of the given variables, or a mask of all variables, shape ``(k,)`` or ``(n_vars,)``.
    values
        How far they are from their mean, in the units of the data, shape ``(k,)``.

    Returns
    -------
    Shifts of shape ``(n_vars,)``; given variables keep their values. A given variable without variance says nothing of
    the others.

    Raises
    ------
    ValueError
        If values do not fit the indices, are not finite, or a variable is given twice.

    Examples
    --------
    >>> import numpy as np
    >>> from couplevi.gaussians import Gaussian, conditional_shift
    >>> state = Gaussian(np.zeros(2), np.eye(2), np.array([[4.0, 2.0], [2.0, 9.0]]), np.zeros(2), 0.0)
    >>> conditional_shift(state, np.array([0]), np.array([-1.0])).round(3)
    array([-1. , -0.5])
    """
    n_vars = len(gaussian.mean)
    indices, values = check_rows(indices, n_vars, "variables") % n_vars, np.asarray(values, dtype=np.float64)
    check_finite(values, "`values`")
    if values.shape != indices.shape:
        raise ValueError(expected(f"a value for each of {len(indices)} given variables", f"shape {values.shape}"))
    if len(np.unique(indices)) < len(indices):
        raise ValueError(expected("each variable in `indices` once", f"{len(indices)} of which some are the same"))
    sd = np.sqrt(gaussian.variance[indices])
    varies = sd**2 > NO_VARIANCE * gaussian.variance.max()
    known, sd = indices[varies], sd[varies]
    units = np.zeros((n_vars, len(known)))
    units[known, np.arange(len(known))] = 1 / sd
    columns = gaussian.apply_covariance(units)
    correlation = columns[known] / sd[:, None] + RIDGE * np.eye(len(known))
    shift = columns @ np.linalg.solve(correlation, values[varies] / sd)
    shift[indices] = values
    return shift
