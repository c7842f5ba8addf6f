"""Where the arms of a mixture start: all from the same communities of the profiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from couplevi._validate import expected
from couplevi.model._dataset import batches
from couplevi.model.cplmixvae.communities import communities
from couplevi.registry import links_between

if TYPE_CHECKING:
    from couplevi._types import FloatArray, IntArray
    from couplevi.dataloaders import CoupledDataset, Rows
    from couplevi.model.cplmixvae.module import CplMixVAEModule

MAX_PROFILES = 50_000
"""Profiles that the communities are made from."""
COMPLETE_SHARE = 0.1
"""Share of the units measured in all modalities from which on these alone make the communities."""


@torch.no_grad()
def start_arms(
    module: CplMixVAEModule, dataset: CoupledDataset, train: IntArray, n_fewest: int, max_connectivity: float
) -> None:
    """Put the arms on communities: of the cells measured in all modalities, or else of each modality.

    In that case the numbers of a modality's categories are those that most linked profiles have in earlier ones.
    Categories that are not needed are not active afterwards.

    Parameters
    ----------
    train
        Units trained on.
    n_fewest, max_connectivity
        See :func:`~couplevi.model.cplmixvae.communities.communities`.

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
    features = {m: module.prepare(m, x).cpu().numpy() for m, x in profiles.items()}
    n_most, seed = module.n_categories, int(torch.randint(2**31, ()))
    labels: dict[str, IntArray] = {}
    if shared:
        side_by_side = np.hstack(list(features.values()))
        labels = dict.fromkeys(profiles, communities(side_by_side, n_most, n_fewest, max_connectivity, seed))
    else:
        links = {pair: table.matrix for pair, table in dataset.links.items()}
        for m, h in features.items():
            own = communities(h, n_most, n_fewest, max_connectivity, seed)
            n_most = n_fewest = own.max() + 1  # others have as many
            overlap = np.zeros((n_most, n_most))
            for other, earlier in labels.items():
                block = links_between(links, other, m)[places[other]][:, places[m]].tocoo()
                np.add.at(overlap, (own[block.coords[1]], earlier[block.coords[0]]), block.data)
            labels[m] = renumbered(own, overlap)
    for m, x in profiles.items():
        for arm in range(module.n_arms):
            module.start(m, arm, x, torch.from_numpy(labels[m]).to(module.device))
        module.active[labels[m].max() + 1 :] = False


def _read(module: CplMixVAEModule, rows: Rows, places: IntArray) -> torch.Tensor:
    if len(places) < module.n_categories:
        what = f"at least {module.n_categories} cells to find as many categories"
        raise ValueError(expected(what, len(places), "Lower `n_categories`, or train on more cells."))
    return torch.cat([x for _, x in batches(module, rows, places)])


def renumbered(labels: IntArray, shared: FloatArray) -> IntArray:
    """Labels numbered so that as much of `shared`, own categories by those of a reference, is on the diagonal."""
    return linear_sum_assignment(shared, maximize=True)[1][labels]
