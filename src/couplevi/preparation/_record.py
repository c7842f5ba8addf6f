from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from couplevi._arrays import dense

if TYPE_CHECKING:
    from couplevi._types import FloatArray, MemoryMatrix


@dataclass(frozen=True, eq=False)
class Preparation:
    """Invertible linear map from the features of a modality to what its encoder reads.

    Features are centred, divided by their scale and, if there are `components`, projected on them. The prepared values
    are divided by one number, their root mean square, so that networks meet the same scale whatever the modality.

    Attributes
    ----------
    mean, scale
        Mean and divisor of each feature, its standard deviation over its weight in the components, shape
        ``(n_vars,)``. A scale of 0 marks a constant feature: it is ignored on the way in and comes out as its mean.
    components
        Orthonormal rows, shape ``(n_prepared, n_vars)``, or None if the standardised features are used as they are.
    rms
        Root mean square of the projected values, above 0.
    """

    mean: FloatArray
    scale: FloatArray
    components: FloatArray | None
    rms: float

    @property
    def n_vars(self) -> int:
        """Number of features of the modality."""
        return len(self.mean)

    @property
    def n_prepared(self) -> int:
        """Number of prepared features."""
        return self.n_vars if self.components is None else len(self.components)

    @property
    def loadings(self) -> FloatArray | sp.dia_array:
        """Matrix of the map from centred features to prepared ones, shape ``(n_vars, n_prepared)``."""
        gain = inverse_scale(self.scale) / self.rms
        return sp.diags_array(gain) if self.components is None else (self.components * gain).T

    def transform(self, x: MemoryMatrix) -> FloatArray:
        """Features, shape ``(n, n_vars)``, to prepared features, float32 of shape ``(n, n_prepared)``.

        A sparse `x` is multiplied as it is and centred afterwards; it becomes dense only without components.
        """
        if self.components is None:
            return self.standardise(x) / np.float32(self.rms)
        loadings = self.loadings
        if not sp.issparse(x):
            return ((np.asarray(x) - self.mean) @ loadings).astype(np.float32)
        return (x @ loadings - self.mean @ loadings).astype(np.float32)

    def standardise(self, x: MemoryMatrix) -> FloatArray:
        """Features, shape ``(n, n_vars)``, centred and divided by their scale, dense float32; constant ones are 0."""
        return ((dense(x) - self.mean) * inverse_scale(self.scale)).astype(np.float32)

    def inverse(self, h: FloatArray) -> FloatArray:
        """Prepared features, shape ``(n, n_prepared)``, to features in their own units, shape ``(n, n_vars)``."""
        standardised = h if self.components is None else h @ self.components
        return standardised * (self.scale * np.float32(self.rms)) + self.mean


def inverse_scale(scale: FloatArray) -> FloatArray:
    """One over the scale, 0 where the scale is 0."""
    return np.divide(1.0, scale, out=np.zeros(len(scale)), where=scale > 0)
