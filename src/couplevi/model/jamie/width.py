from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from couplevi.nn import LinearPath

if TYPE_CHECKING:
    from couplevi._types import FloatArray

RANGE = (0.25, 4.0)
"""Of each of the two factors of a width."""
FLOOR = 0.01
"""Standard deviation of imputed values, in mean absolute errors, below which these hardly tell the width."""
MAX_ERRORS = 5_000_000
"""Errors of all features together that what is linear in the profile is fitted to."""


class Width(nn.Module):
    """How wide the interval of each value is beside those of the same feature in other profiles.

    The product of what is linear in the imputed value, and of what is linear in the profile that it is imputed from:
    errors of a feature differ between those who have it and those who do not, and between types. 1 before it is fitted.

    Parameters
    ----------
    n_in, n_out
        Number of features that are read, and that are imputed.
    n_covariates
        Number of covariates of a profile.
    """

    centre: torch.Tensor
    slope: torch.Tensor

    def __init__(self, n_in: int, n_out: int, n_covariates: int) -> None:
        super().__init__()
        self.path = LinearPath(n_in, n_out, n_covariates)
        self.path.bias.fill_(1)
        self.register_buffer("centre", torch.zeros(n_out))
        self.register_buffer("slope", torch.zeros(n_out))

    def forward(self, x: torch.Tensor, covariates: torch.Tensor, imputed: FloatArray) -> FloatArray:
        """Factor of standard deviations, shape ``(n, n_out)``.

        Parameters
        ----------
        x, covariates
            What linear paths read of profiles, shape ``(n, n_in)``, and their covariates, ``(n, n_covariates)``.
        imputed
            In the units of the features, shape ``(n, n_out)``.
        """
        of_profile = self.path(x, covariates, torch.zeros_like(covariates)).cpu().numpy()
        return self._of_value(imputed) * np.clip(of_profile, *RANGE)

    def _of_value(self, imputed: FloatArray) -> FloatArray:
        centre, slope = self.centre.cpu().numpy(), self.slope.cpu().numpy()
        return np.clip(1 + slope * (imputed - centre), *RANGE)

    def fit(self, x: torch.Tensor, covariates: torch.Tensor, imputed: FloatArray, error: FloatArray) -> None:
        """Fit to absolute errors, shape ``(n, n_out)``, of profiles in random order.

        These and not their squares or logarithms: large ones of the former, and small ones of the latter, outweigh all.
        """
        level, centre = error.mean(axis=0), imputed.mean(axis=0)
        relative = np.divide(error, level, out=np.ones_like(error), where=level > 0)
        deviation = imputed - centre
        scale = np.square(deviation).mean(axis=0) + np.square(FLOOR * level)
        covariance = (deviation * (relative - 1)).mean(axis=0)
        self.centre.copy_(torch.from_numpy(centre))
        self.slope.copy_(torch.from_numpy(np.divide(covariance, scale, out=np.zeros_like(scale), where=scale > 0)))
        some = slice(max(MAX_ERRORS // max(len(level), 1), 1))
        rest = (relative / self._of_value(imputed))[some].astype(np.float64)
        h, c = (part[some].cpu().numpy().astype(np.float64) for part in (x, covariates))
        self.path.fit(h, rest, c, np.zeros_like(c), np.ones(len(h)))
