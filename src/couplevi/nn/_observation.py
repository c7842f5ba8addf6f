from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from couplevi.nn._preparation import PreparationBuffers
from couplevi.preparation import library_size, log_normalised, logarithms, presence

if TYPE_CHECKING:
    from couplevi._streamed import Matrix
    from couplevi._types import FloatArray


class Observation(nn.Module):
    """How a modality is read and explained: its preparation, the likelihood of its values and their library size.

    With the Gaussian likelihood prepared features are explained; with one of counts, the counts themselves, and the
    encoder reads the logarithm of counts, prepared. Of the Bernoulli likelihood, counts are whether there are any.

    Parameters
    ----------
    n_vars
        Number of features of the modality.
    n_components
        Number of principal components, or None if the standardised features are used.
    likelihood
        One of the :data:`~couplevi.nn.HEADS`.
    scaled
        Whether logarithms are those of counts per 10,000. Counts as they are tell how many there are in all, too: of a
        small panel, such as of proteins, that is no matter of technique alone.
    """

    def __init__(
        self, n_vars: int, n_components: int | None, likelihood: str = "gaussian", *, scaled: bool = True
    ) -> None:
        super().__init__()
        self.likelihood = likelihood
        self.scaled = scaled
        self.preparation = PreparationBuffers(n_vars, n_components)

    @property
    def is_count(self) -> bool:
        """Whether counts are explained."""
        return self.likelihood != "gaussian"

    @property
    def is_binary(self) -> bool:
        """Whether it is explained if there are any counts."""
        return self.likelihood == "bernoulli"

    @property
    def n_prepared(self) -> int:
        """Number of prepared features, which an encoder reads."""
        return self.preparation.n_prepared

    @property
    def n_explained(self) -> int:
        """Number of features that a decoder explains."""
        return len(self.preparation.mean) if self.is_count else self.n_prepared

    def prepare(self, x: torch.Tensor) -> torch.Tensor:
        """Features, shape ``(n, n_vars)``, to what an encoder reads, shape ``(n, n_prepared)``."""
        return self.preparation(log_normalised(self.counts(x), scaled=self.scaled) if self.is_count else x)

    def to_prepare(self, matrix: Matrix, where: str) -> Matrix:
        """What is prepared of the values of a modality: of counts their logarithms, see :func:`logarithms`."""
        return logarithms(matrix, where, binary=self.is_binary, scaled=self.scaled) if self.is_count else matrix

    def counts(self, x: torch.Tensor) -> torch.Tensor:
        """Counts as they are explained, shape ``(n, n_vars)``."""
        return presence(x) if self.is_binary else x

    def library(self, x: torch.Tensor) -> torch.Tensor | None:
        """Library size of counts ``(n, n_vars)``, shape ``(n, 1)``; None where no counts are explained."""
        return library_size(self.counts(x))[:, None] if self.is_count else None

    def features(self, mean: torch.Tensor) -> FloatArray:
        """Mean of what a decoder explains, shape ``(n, n_explained)``, as features in their own units."""
        values = mean.cpu().numpy()
        return values if self.is_count else self.preparation.record().inverse(values)
