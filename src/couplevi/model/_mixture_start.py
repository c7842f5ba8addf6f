"""Where the arms of a mixture start: each from a k-means partition of its own, numbered alike."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from couplevi._validate import expected

if TYPE_CHECKING:
    from couplevi._types import FloatArray, IntArray

MAX_PROFILES = 20_000
"""Profiles that the partitions are made from."""


def check_cells(n_cells: int, n_categories: int) -> None:
    """Raise ValueError if there are fewer cells than categories."""
    if n_cells < n_categories:
        remedy = "Lower `n_categories`, or train on more cells."
        raise ValueError(expected(f"at least {n_categories} cells to find as many categories", n_cells, remedy))


def starting_partitions(features: FloatArray, n_categories: int, n_arms: int) -> IntArray:
    """One k-means partition per arm, from seeds of torch, shape ``(n_arms, n)``.

    Categories of the later ones are numbered so that as many profiles as possible keep that of the first.

    Parameters
    ----------
    features
        Prepared features, shape ``(n, n_features)``; for several modalities side by side.
    n_categories, n_arms
        Number of categories and of partitions.
    """
    partitions: list[IntArray] = []
    for _ in range(n_arms):
        kmeans = KMeans(n_categories, n_init=1, random_state=int(torch.randint(2**31, ())))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct profiles than categories
            labels = kmeans.fit(features).labels_
        if partitions:
            shared = np.zeros((n_categories, n_categories))
            np.add.at(shared, (labels, partitions[0]), 1)
            labels = renumbered(labels, shared)
        partitions.append(labels)
    return np.stack(partitions).astype(np.int64)


def renumbered(labels: IntArray, shared: FloatArray) -> IntArray:
    """Labels numbered so that as much of `shared`, own categories by those of a reference, is on the diagonal."""
    return linear_sum_assignment(shared, maximize=True)[1][labels]
