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
from couplevi.model._dataset import batches
from couplevi.registry import links_between

if TYPE_CHECKING:
    from couplevi._types import FloatArray, IntArray
    from couplevi.dataloaders import CoupledDataset, Rows
    from couplevi.model.cplmixvae.module import CplMixVAEModule

MAX_PROFILES = 20_000
"""Profiles that the partitions are made from."""
COMPLETE_SHARE = 0.1
"""Share of the units measured in all modalities from which on these alone make the starting partitions."""


@torch.no_grad()
def start_arms(module: CplMixVAEModule, dataset: CoupledDataset, train: IntArray) -> None:
    """Put the arms on k-means partitions: of the cells measured in all modalities, or else of each modality.

    In that case the numbers of a modality's categories are those that most linked profiles have in earlier ones.

    Raises
    ------
    ValueError
        If there are fewer cells than categories.
    """
    units = train[torch.randperm(len(train)).numpy()]
    complete = units[(dataset.units[units] >= 0).all(axis=1)]
    shared = len(complete) >= max(module.n_categories, COMPLETE_SHARE * len(units))
    places = {m: p[:MAX_PROFILES] for m, p in dataset.places(complete if shared else units).items()}
    profiles = {m: _read(module, dataset.rows[m], places[m]) for m in places}
    features = {m: module.prepare(m, x) for m, x in profiles.items()}
    n_categories, n_arms = module.n_categories, module.n_arms
    if shared:
        side_by_side = torch.cat(list(features.values()), dim=1).cpu().numpy()
        partitions = dict.fromkeys(profiles, starting_partitions(side_by_side, n_categories, n_arms))
    else:
        partitions = {}
        links = {pair: table.matrix for pair, table in dataset.links.items()}
        for m, h in features.items():
            own = starting_partitions(h.cpu().numpy(), n_categories, n_arms)
            overlap = np.zeros((n_categories, n_categories))
            for other, earlier in partitions.items():
                block = links_between(links, other, m)[places[other]][:, places[m]].tocoo()
                np.add.at(overlap, (own[0][block.coords[1]], earlier[0][block.coords[0]]), block.data)
            partitions[m] = renumbered(own, overlap)
    for m, x in profiles.items():
        for arm, labels in enumerate(partitions[m]):
            module.start(m, arm, x, torch.from_numpy(labels).to(module.device))


def _read(module: CplMixVAEModule, rows: Rows, places: IntArray) -> torch.Tensor:
    if len(places) < module.n_categories:
        what = f"at least {module.n_categories} cells to find as many categories"
        raise ValueError(expected(what, len(places), "Lower `n_categories`, or train on more cells."))
    return torch.cat([x for _, x in batches(module, rows, places)])


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
