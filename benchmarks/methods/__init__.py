"""What is compared: one adapter for each method, all with the same interface.

A new method is a subclass of `Method` in a file of its own, and a line in `METHODS`.
"""

from functools import partial

from sklearn.neighbors import KNeighborsRegressor

from benchmarks.methods._method import Method, Result
from benchmarks.methods.clustering import CLUSTERINGS
from benchmarks.methods.embedding import EMBEDDINGS, LABELLING
from benchmarks.methods.jamie import Jamie
from benchmarks.methods.multivi import MultiVI
from benchmarks.methods.projection import Projection, cca, procrustes
from benchmarks.methods.regression import KernelRidgeSearch, ReducedRank, Regression, pls, ridge, tuned_knn
from benchmarks.methods.totalvi import TotalVI

PAPER_EPOCHS = 300
"""A short budget for the published schedule of 2,500 to 10,000 epochs."""

METHODS: dict[str, Method] = {
    "couplevi": Jamie(),
    "couplevi integration": Jamie({"preset": "integration"}),
    f"couplevi paper, {PAPER_EPOCHS} epochs": Jamie({"preset": "paper"}, max_epochs=PAPER_EPOCHS),
    "couplevi, known pairs alone": Jamie(known_alone=True),
    "5-NN": Regression(partial(KNeighborsRegressor, 5)),
    "tuned k-NN": Regression(tuned_knn),
    "ridge": Regression(ridge),
    "kernel ridge": Regression(KernelRidgeSearch),
    "PLS": Regression(pls),
    "reduced rank": Regression(ReducedRank),
    "CCA": Projection(cca),
    "Procrustes": Projection(procrustes),
    "MultiVI": MultiVI(),
    "totalVI": TotalVI(),
}

__all__ = ["CLUSTERINGS", "EMBEDDINGS", "LABELLING", "METHODS", "PAPER_EPOCHS", "Method", "Result"]
