"""Where the arms of a mixture start: all from the same communities of the profiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from couplevi._validate import expected
from couplevi.model._dataset import batches
from couplevi.model.cplmixvae.communities import communities
from couplevi.registry import links_between

if TYPE_CHECKING:
    from collections.abc import Mapping

    from couplevi._types import FloatArray, IntArray
    from couplevi.dataloaders import CoupledDataset, Rows
    from couplevi.model.cplmixvae.module import CplMixVAEModule

MAX_PROFILES = 50_000
"""Profiles that the communities are made from."""
REACH = 0.95
"""Share of the members of a community that are nearer to its centre than a cell that is none of them."""
COMPLETE_SHARE = 0.1
"""Share of the units measured in all modalities from which on these alone make the communities."""


@torch.no_grad()
def start_arms(
    module: CplMixVAEModule, dataset: CoupledDataset, train: IntArray, n_fewest: int, max_connectivity: float
) -> None:
    """Put the arms on communities: of the cells measured in all modalities, or else of each modality.

    In that case the numbers of a modality's categories are those that most linked profiles have in earlier ones.
    The first categories are those of labels: of the cells that have one, and of communities in most of whose labelled
    cells it is the same. Cells with a label that no cell of the communities has are of the community with the nearest
    centre, if they are within its reach. Categories that are not needed are not active afterwards.

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
    known = {m: module.split(m, x)[2].cpu().numpy() for m, x in profiles.items()}
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
    absent = np.setdiff1d(np.arange(module.n_labels), np.concatenate(list(known.values())))
    for m, all_places in dataset.places(units).items() if len(absent) else ():
        rest = all_places[~np.isin(all_places, places[m])]
        if not len(rest):
            continue
        found = _labelled(module, m, dataset.rows[m], rest, absent)
        own = _nearest_community(module.prepare(m, found).cpu().numpy(), features[m], labels[m])
        profiles[m] = torch.cat([profiles[m], found])
        known[m] = np.concatenate([known[m], module.split(m, found)[2].cpu().numpy()])
        labels[m] = np.concatenate([labels[m], own])
    module.active[:] = False
    for m, own in tied(labels, known, module.n_labels, module.n_categories, same_cells=shared).items():
        categories = torch.from_numpy(own).to(module.device)
        for arm in range(module.n_arms):
            module.start(m, arm, profiles[m], categories)
        module.active[categories.unique()] = True


def _read(module: CplMixVAEModule, rows: Rows, places: IntArray) -> torch.Tensor:
    if len(places) < module.n_categories:
        what = f"at least {module.n_categories} cells to find as many categories"
        raise ValueError(expected(what, len(places), "Lower `n_categories`, or train on more cells."))
    return torch.cat([x for _, x in batches(module, rows, places)])


def _labelled(module: CplMixVAEModule, modality: str, rows: Rows, places: IntArray, labels: IntArray) -> torch.Tensor:
    """Profiles at these places that have one of these labels, and at most `MAX_PROFILES`."""
    wanted, found = torch.from_numpy(labels).to(module.device), list[torch.Tensor]()
    for _, x in batches(module, rows, places):
        found.append(x[torch.isin(module.split(modality, x)[2], wanted)])
        if sum(map(len, found)) >= MAX_PROFILES:
            break
    return torch.cat(found)[:MAX_PROFILES]


def _nearest_community(h: FloatArray, members: FloatArray, labels: IntArray) -> IntArray:
    """Community with the centre nearest to each row of `h`, -1 where nearly all of its members are nearer to it."""
    groups = [members[labels == k] for k in range(labels.max() + 1)]
    centres = np.stack([group.mean(axis=0) for group in groups])
    reach = np.array([np.quantile(cdist(group, c[None]), REACH) for group, c in zip(groups, centres, strict=True)])
    distance = cdist(h, centres)
    nearest = distance.argmin(axis=1)
    return np.where(distance.min(axis=1) <= reach[nearest], nearest, -1)


def tied(
    communities: Mapping[str, IntArray],
    known: Mapping[str, IntArray],
    n_labels: int,
    n_categories: int,
    *,
    same_cells: bool = False,
) -> dict[str, IntArray]:
    """Categories of the profiles of each modality, of which labels have the first ones.

    That of a profile is its label, or else that which more than half of the labelled profiles of its community have.
    Communities without one are the categories that follow, the same number being the same category in all modalities;
    those that are too many share the last one.

    Parameters
    ----------
    communities, known
        Community of each profile, and number of its label, -1 without one, shape ``(n,)``, by modality. Of a profile with
        a label, the community may be -1, too.
    n_labels, n_categories
        Number of labels, and of categories, of which there are more.
    same_cells
        Whether communities of the same number are the same cells, so that what one modality knows of them counts in all.
    """
    votes = {m: _votes(own, known[m], n_labels) for m, own in communities.items()}
    if same_cells:
        votes = dict.fromkeys(votes, np.sum(list(votes.values()), axis=0))
    owner = {m: np.where(v.max(axis=1) > v.sum(axis=1) / 2, v.argmax(axis=1), -1) for m, v in votes.items()}
    free = np.unique(np.concatenate([np.flatnonzero(label < 0) for label in owner.values()]))
    number = dict(zip(free.tolist(), np.minimum(n_labels + np.arange(len(free)), n_categories - 1), strict=True))
    categories = {}
    for m, own in communities.items():
        category = np.array([number[k] if label < 0 else label for k, label in enumerate(owner[m])], dtype=np.int64)
        categories[m] = np.where(known[m] < 0, category[own], known[m])
    return categories


def _votes(communities: IntArray, known: IntArray, n_labels: int) -> FloatArray:
    """Number of profiles of each community with each label, shape ``(n_communities, n_labels)``, at least one column."""
    counts = np.zeros((communities.max() + 1, max(n_labels, 1)))
    labelled = (known >= 0) & (communities >= 0)
    np.add.at(counts, (communities[labelled], known[labelled]), 1)
    return counts


def renumbered(labels: IntArray, shared: FloatArray) -> IntArray:
    """Labels numbered so that as much of `shared`, own categories by those of a reference, is on the diagonal."""
    return linear_sum_assignment(shared, maximize=True)[1][labels]
