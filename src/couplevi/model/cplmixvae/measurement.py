"""How a profile was measured, and what that adds to its prepared features."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from torch import nn

from couplevi.preparation import log_detected

if TYPE_CHECKING:
    from couplevi._streamed import Matrix
    from couplevi._types import FloatArray, IntArray
    from couplevi.dataloaders import Rows
    from couplevi.registry import Registered

MAX_PROFILES = 20_000
"""Profiles that effects are measured on."""
N_GROUPS, N_TURNS = 25, 5
"""Groups of like cells within which effects are measured, and how often these are found anew without them."""
MIN_PROFILES = 10
"""Profiles per group, of which there are fewer in small data."""


class Measurement(nn.Module):
    """Takes from prepared features what is linear in how a profile was measured.

    Profiles of one type differ by the depth at which they were sequenced and by their batch. Both move prepared
    features, so that categories would be made of shallow cells, or of batches.

    Parameters
    ----------
    n_told
        Numbers that say how a profile was measured: the logarithm of the share of features detected, and indicators of
        batches.
    n_prepared
        Number of prepared features.
    """

    mean: torch.Tensor
    effects: torch.Tensor

    def __init__(self, n_told: int, n_prepared: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_told))
        self.register_buffer("effects", torch.zeros(n_told, n_prepared))

    def forward(self, h: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        """Prepared features, shape ``(n, n_prepared)``, as they would be of profiles measured as the mean one."""
        return h - self.centred(told) @ self.effects

    def centred(self, told: torch.Tensor) -> torch.Tensor:
        """How profiles were measured, relative to the mean one, shape ``(n, n_told)``."""
        return told - self.mean

    @torch.no_grad()
    def fit(self, h: FloatArray, told: FloatArray) -> None:
        """Measure effects between profiles of one group by least squares, and groups without them, in turns.

        At first all profiles are one group: groups that were found with the effects would be those of batches.

        Parameters
        ----------
        h, told
            Prepared features and how they were measured, shapes ``(n, n_prepared)`` and ``(n, n_told)``.
        """
        mean = told.mean(axis=0)
        effects: FloatArray = np.zeros(self.effects.shape)
        n_groups = min(N_GROUPS, len(h) // MIN_PROFILES)
        if n_groups > 0 and (told != mean).any():
            effects = effects_within(h, told, np.zeros(len(h), dtype=np.int64))
            seed = int(torch.randint(2**31, ()))
            for _ in range(N_TURNS):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", ConvergenceWarning)  # there may be fewer kinds of profiles
                    groups = KMeans(n_groups, n_init=1, random_state=seed).fit_predict(h - (told - mean) @ effects)
                effects = effects_within(h, told, groups)
        self.mean.copy_(torch.from_numpy(mean))
        self.effects.copy_(torch.from_numpy(effects))


def effects_within(h: FloatArray, told: FloatArray, groups: IntArray) -> FloatArray:
    """Least-squares effects of `told` on `h` between the rows of one group, shape ``(n_told, n_prepared)``.

    What does not vary within groups has no effect.
    """
    size = np.maximum(np.bincount(groups), 1)[:, None]

    def within(values: FloatArray) -> FloatArray:
        total = np.zeros((len(size), values.shape[1]))
        np.add.at(total, groups, values)
        return values - (total / size)[groups]

    return np.linalg.lstsq(within(told), within(h), rcond=1e-6)[0]


def measured(registered: Registered, modality: str, matrix: Matrix) -> FloatArray:
    """How each profile of a modality was measured, float32 of shape ``(n_profiles, 1 + n_batches)``.

    Features that the data lack, for which means stand in, are not among those detected.
    """
    absent = registered.readers[modality].absent(registered.data)
    detected = log_detected(matrix, ~absent if absent.any() else None)
    batches = registered.covariates(modality)[:, : registered.n_batches]
    return np.column_stack([detected, batches]).astype(np.float32)


@dataclass(frozen=True, eq=False)
class MeasuredRows:
    """Rows of profiles, and beside each how it was measured and the number of its label, -1 without one."""

    profiles: Rows
    told: FloatArray
    labels: IntArray

    def __len__(self) -> int:
        return len(self.told)

    def __getitem__(self, rows: IntArray) -> FloatArray:
        return beside(np.asarray(self.profiles[rows]), self.told[rows], self.labels[rows])


def beside(profiles: FloatArray, told: FloatArray, labels: IntArray) -> FloatArray:
    """Profiles as the module reads them, with how they were measured and their labels beside them."""
    return np.column_stack([profiles, told, labels.astype(np.float32)])
