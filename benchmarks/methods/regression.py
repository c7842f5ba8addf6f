"""Regressions from the prepared source on the standardised target, fitted on the known pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.cross_decomposition import PLSRegression
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import RidgeCV
from sklearn.metrics import pairwise_distances
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsRegressor
from sklearn.preprocessing import StandardScaler

from benchmarks.methods._method import Method, Result
from benchmarks.tasks.coupled import Task


@dataclass(frozen=True)
class Regression(Method):
    estimator: Callable[[], Any]
    """Makes an estimator with `fit` and `predict`."""

    def run(self, task: Task, seed: int) -> Result:
        imputed = {}
        for s, t in task.directions.values():
            y = StandardScaler().fit(task.target("train", t)[task.known])
            x = task.prepared[s]
            fit = self.estimator().fit(x["train"][task.known], y.transform(task.target("train", t)[task.known]))
            imputed[s, t] = y.inverse_transform(fit.predict(x["test"]).reshape(len(x["test"]), -1))
        return Result(imputed=imputed)


def ridge() -> RidgeCV:
    return RidgeCV(np.logspace(-1, 6, 15))


def tuned_knn() -> GridSearchCV:
    return GridSearchCV(KNeighborsRegressor(), {"n_neighbors": [3, 5, 10, 15, 20, 30]}, cv=3)


def pls() -> GridSearchCV:
    return GridSearchCV(PLSRegression(scale=False), {"n_components": [1, 2, 3, 5, 8]}, cv=3)


class ReducedRank:
    """Ridge regression whose predictions are projected on their leading components; both chosen by validation."""

    def fit(self, x: np.ndarray, y: np.ndarray) -> ReducedRank:
        hold = np.random.default_rng(0).random(len(x)) < 0.2
        inner, basis = self._ridge_and_basis(x[~hold], y[~hold])
        predicted = inner.predict(x[hold])
        ranks = [r for r in (1, 2, 3, 5, 10, 20, 50) if r <= len(basis)]
        errors = [np.square(y[hold] - predicted @ basis[:r].T @ basis[:r]).mean() for r in ranks]
        self.ridge, basis = self._ridge_and_basis(x, y)
        self.basis = basis[: ranks[int(np.argmin(errors))]]
        return self

    @staticmethod
    def _ridge_and_basis(x: np.ndarray, y: np.ndarray) -> tuple[RidgeCV, np.ndarray]:
        """A ridge regression, and the principal directions of what it fits, in rows."""
        fitted = ridge().fit(x, y)
        return fitted, np.linalg.svd(fitted.predict(x), full_matrices=False)[2]

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.ridge.predict(x) @ self.basis.T @ self.basis


class KernelRidgeSearch:
    """Kernel ridge with a Gaussian kernel; width around the median distance and penalty by 5-fold validation."""

    def fit(self, x: np.ndarray, y: np.ndarray) -> KernelRidgeSearch:
        gamma = 1 / np.median(pairwise_distances(x[:300], metric="sqeuclidean"))
        grid = {"alpha": [0.1, 0.3, 1, 3, 10], "gamma": [gamma / 4, gamma / 2, gamma]}
        self.fitted = GridSearchCV(KernelRidge(kernel="rbf"), grid, cv=5).fit(x, y)
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.fitted.predict(x)
