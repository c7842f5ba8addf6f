"""Linear maps of both modalities into one space, fitted on the known pairs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy.linalg import orthogonal_procrustes
from sklearn.cross_decomposition import CCA

from benchmarks.methods._method import Method, Result
from benchmarks.tasks.coupled import Task

Maps: TypeAlias = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Projection(Method):
    fit: Callable[[np.ndarray, np.ndarray, int], Maps]
    """Takes the two halves of the known pairs and the number of dimensions."""
    n: int = 10

    def run(self, task: Task, seed: int) -> Result:
        a, b = (task.prepared[m] for m in task.modalities)
        n = min(self.n, a["train"].shape[1], b["train"].shape[1], int(task.known.sum()) - 1)
        maps = self.fit(a["train"][task.known], b["train"][task.known], n)
        return Result({part: maps(a[part], b[part]) for part in ("train", "test")})


def cca(x: np.ndarray, y: np.ndarray, n: int) -> Maps:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # CCA warns that it has not converged
        return CCA(n, max_iter=1000).fit(x, y).transform


def procrustes(x: np.ndarray, y: np.ndarray, n: int) -> Maps:
    rotation, _ = orthogonal_procrustes(x[:, :n], y[:, :n])
    return lambda a, b: (a[:, :n] @ rotation, b[:, :n])
