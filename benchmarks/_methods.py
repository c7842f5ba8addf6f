"""Every method on one footing: a task in, latents and imputations of the training and the test cells out."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import anndata as ad
import numpy as np
import scipy.sparse as sp
import scvi
import torch
from scipy.linalg import orthogonal_procrustes
from sklearn.cross_decomposition import CCA, PLSRegression
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import RidgeCV
from sklearn.metrics import pairwise_distances
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsRegressor
from sklearn.preprocessing import StandardScaler

import couplevi as cvi
from benchmarks._tasks import Task

PAPER_EPOCHS = 300
"""A short budget for the published schedule of 2,500 to 10,000 epochs."""


@dataclass
class Result:
    """Latents of both modalities by part, and predictions for the test cells by (source, target)."""

    latents: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    imputed: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)


def couplevi(task: Task, seed: int, **settings: object) -> Result:
    mdata = task.train.copy()
    cvi.pp.link(mdata, modalities=task.modalities, pairs=np.diag(task.known.astype(np.float32)))
    epochs = {"max_epochs": PAPER_EPOCHS} if settings.get("preset") == "paper" else {}
    model = cvi.tl.jamie(
        mdata,
        modalities=task.modalities,
        layers=task.layers,
        correspondence_key="correspondence",
        seed=seed,
        train_kwargs={"enable_progress_bar": False, **epochs},
        **settings,
    )
    latents = {
        part: tuple(model.get_latent_representation(getattr(task, part)[m], modality=m) for m in task.modalities)
        for part in ("train", "test")
    }
    imputed = {
        (s, t): model.impute(source=s, target=t, adata=task.test[s]).X[:, task.scored(t)] for s, t in _directions(task)
    }
    return Result(latents, imputed)


def regression(estimator: Callable[[], object], task: Task, seed: int) -> Result:
    """Fitted from the prepared source on the standardised target, on the known pairs."""
    imputed = {}
    for s, t in _directions(task):
        y = StandardScaler().fit(task.target("train", t)[task.known])
        x = task.prepared[s]
        fit = estimator().fit(x["train"][task.known], y.transform(task.target("train", t)[task.known]))
        imputed[s, t] = y.inverse_transform(fit.predict(x["test"]).reshape(len(x["test"]), -1))
    return Result(imputed=imputed)


def projection(task: Task, seed: int, *, kind: str, n: int = 10) -> Result:
    """Linear maps of both modalities into one space, fitted on the known pairs."""
    a, b = (task.prepared[m] for m in task.modalities)
    n = min(n, a["train"].shape[1], b["train"].shape[1], int(task.known.sum()) - 1)
    x, y = a["train"][task.known], b["train"][task.known]
    if kind == "procrustes":
        rotation, _ = orthogonal_procrustes(x[:, :n], y[:, :n])
        maps = lambda part: (a[part][:, :n] @ rotation, b[part][:, :n])
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # CCA warns that it has not converged
            fit = CCA(n, max_iter=1000).fit(x, y)
        maps = lambda part: fit.transform(a[part], b[part])
    return Result({part: maps(part) for part in ("train", "test")})


def multivi(task: Task, seed: int) -> Result:
    scvi.settings.seed = seed
    train, test = task.train.copy(), task.test.copy()
    for mdata in (train, test):
        mdata["atac"].X = (mdata["atac"].X > 0).astype(np.float32)
        scvi.model.MULTIVI.setup_mudata(mdata, modalities={"rna_layer": "rna", "atac_layer": "atac"})
    model = scvi.model.MULTIVI(train, n_genes=train["rna"].n_vars, n_regions=train["atac"].n_vars)
    model.train(enable_progress_bar=False)  # as its authors set it: up to 500 epochs, stopped early
    kinds = ("expression", "accessibility")
    order = kinds if task.modalities[0] == "rna" else kinds[::-1]
    parts = {"train": train, "test": test}
    return Result(
        {part: tuple(model.get_latent_representation(m, modality=k) for k in order) for part, m in parts.items()}
    )


def totalvi(task: Task, seed: int) -> Result:
    """Proteins of the test cells are given as missing."""
    scvi.settings.seed = seed
    cells = ad.concat({"train": task.train["rna"], "test": task.test["rna"]}, label="part")
    counts = task.train["protein"].X
    counts = counts.toarray() if sp.issparse(counts) else np.asarray(counts)
    cells.obsm["protein"] = np.concatenate([counts, np.zeros(task.test["protein"].shape)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scvi.model.TOTALVI.setup_anndata(cells, protein_expression_obsm_key="protein", batch_key="part")
        model = scvi.model.TOTALVI(cells)
        model.train(enable_progress_bar=False)  # as its authors set it: up to 400 epochs, stopped early
        test = np.flatnonzero(cells.obs["part"] == "test")
        _, protein = model.get_normalized_expression(
            indices=test, transform_batch="train", include_protein_background=True, n_samples=10, return_numpy=True
        )
    return Result(imputed={("rna", "protein"): np.log1p(protein)[:, task.scored("protein")]})


class ReducedRank:
    """Ridge regression whose predictions are projected on their leading components; both chosen by validation."""

    def fit(self, x: np.ndarray, y: np.ndarray) -> ReducedRank:
        hold = np.random.default_rng(0).random(len(x)) < 0.2
        basis = self._basis(x[~hold], y[~hold])
        inner = RidgeCV(np.logspace(-1, 6, 15)).fit(x[~hold], y[~hold]).predict(x[hold])
        ranks = [r for r in (1, 2, 3, 5, 10, 20, 50) if r <= len(basis)]
        errors = [np.square(y[hold] - inner @ basis[:r].T @ basis[:r]).mean() for r in ranks]
        self.ridge = RidgeCV(np.logspace(-1, 6, 15)).fit(x, y)
        self.basis = self._basis(x, y)[: ranks[int(np.argmin(errors))]]
        return self

    def _basis(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        fitted = RidgeCV(np.logspace(-1, 6, 15)).fit(x, y).predict(x)
        return np.linalg.svd(fitted, full_matrices=False)[2]

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


def _tuned_knn() -> GridSearchCV:
    return GridSearchCV(KNeighborsRegressor(), {"n_neighbors": [3, 5, 10, 15, 20, 30]}, cv=3)


def _pls() -> GridSearchCV:
    return GridSearchCV(PLSRegression(scale=False), {"n_components": [1, 2, 3, 5, 8]}, cv=3)


def _directions(task: Task) -> tuple[tuple[str, str], tuple[str, str]]:
    a, b = task.modalities
    return (a, b), (b, a)


METHODS: dict[str, Callable[[Task, int], Result]] = {
    "couplevi": couplevi,
    "couplevi integration": partial(couplevi, preset="integration"),
    f"couplevi paper, {PAPER_EPOCHS} epochs": partial(couplevi, preset="paper"),
    "couplevi, known pairs alone": lambda task, seed: couplevi(task.restricted(), seed),
    "5-NN": partial(regression, partial(KNeighborsRegressor, 5)),
    "tuned k-NN": partial(regression, _tuned_knn),
    "ridge": partial(regression, lambda: RidgeCV(np.logspace(-1, 6, 15))),
    "kernel ridge": partial(regression, KernelRidgeSearch),
    "PLS": partial(regression, _pls),
    "reduced rank": partial(regression, ReducedRank),
    "CCA": partial(projection, kind="cca"),
    "Procrustes": partial(projection, kind="procrustes"),
    "MultiVI": multivi,
    "totalVI": totalvi,
}


def fits(method: str, task: Task) -> bool:
    """Whether a method is made for these modalities and this share of known pairs."""
    complete = bool(task.known.all())
    if method == "MultiVI":
        return complete and set(task.modalities) == {"rna", "atac"}
    if method == "totalVI":
        return complete and set(task.modalities) == {"rna", "protein"}
    return method != "couplevi, known pairs alone" or not complete


torch.set_num_threads(1)
