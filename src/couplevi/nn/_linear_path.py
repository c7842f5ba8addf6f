from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from sklearn.linear_model import RidgeCV
from torch import nn

if TYPE_CHECKING:
    from couplevi._types import FloatArray

PENALTIES = np.logspace(-1, 6, 22)
"""Penalties that are tried."""


class LinearPath(nn.Module):
    """What is linear in the way from one modality to another: ridge regression, fitted in closed form.

    Parameters
    ----------
    n_in, n_out
        Number of features that are read, and that are predicted.
    n_covariates
        Number of covariates of a profile. Their effects on both sides are taken out first.
    """

    weight: torch.Tensor
    bias: torch.Tensor
    source_effects: torch.Tensor
    target_effects: torch.Tensor
    share: torch.Tensor

    def __init__(self, n_in: int, n_out: int, n_covariates: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(n_out, n_in))
        self.register_buffer("bias", torch.zeros(n_out))
        self.register_buffer("source_effects", torch.zeros(n_out, n_covariates))
        self.register_buffer("target_effects", torch.zeros(n_out, n_covariates))
        self.register_buffer("share", torch.zeros(()))

    def forward(self, x: torch.Tensor, own: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        """Prediction, shape ``(n, n_out)``.

        Parameters
        ----------
        x
            Features, shape ``(n, n_in)``.
        own, told
            Covariates of the profiles, and those that the prediction is for, shape ``(n, n_covariates)``.
        """
        return x @ self.weight.T + own @ self.source_effects.T + told @ self.target_effects.T + self.bias

    def fit(self, x: FloatArray, y: FloatArray, own: FloatArray, told: FloatArray, confidence: FloatArray) -> None:
        """Fit to links; the penalty is the one with the smallest error of links left out one at a time.

        Parameters
        ----------
        x, y
            Features of both ends of each link, shapes ``(n_links, n_in)`` and ``(n_links, n_out)``.
        own, told
            Covariates of both ends, shape ``(n_links, n_covariates)``.
        confidence
            Weight of each link, above 0, shape ``(n_links,)``.

        References
        ----------
        Golub, Heath and Wahba, Generalized cross-validation, Technometrics 1979.
        """
        x_effects, x_centre = _effects(x, own, confidence)
        y_effects, y_centre = _effects(y, told, confidence)
        ridge = RidgeCV(PENALTIES, fit_intercept=False)
        ridge.fit(x - x_centre - own @ x_effects, y - y_centre - told @ y_effects, sample_weight=confidence)
        weight = np.atleast_2d(ridge.coef_)
        found = {
            "weight": weight,
            "bias": y_centre - weight @ x_centre,
            "source_effects": -weight @ x_effects.T,
            "target_effects": y_effects.T,
        }
        for name, value in found.items():
            getattr(self, name).copy_(torch.from_numpy(value))


def _effects(x: FloatArray, covariates: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Least squares of features on covariates: effects, ``(n_covariates, n)``, and what features are without any.

    A batch without links, whose effect cannot be known, has the mean of the others: effects of batches sum to 0.
    """
    root = np.sqrt(weight / weight.sum())[:, None]
    x_mean, c_mean = ((root**2 * a).sum(axis=0) for a in (x, covariates))
    effects = np.linalg.lstsq(root * (covariates - c_mean), root * (x - x_mean), rcond=None)[0]
    return effects, x_mean - c_mean @ effects
