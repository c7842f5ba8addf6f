"""How an OTGM model is fitted: components, moments, and, for labels with errors, expectation maximisation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from scipy.special import expit

from couplevi._arrays import dense
from couplevi._streamed import loaded
from couplevi.gaussians import choose_share, shrink
from couplevi.model.otgm.moments import Moments, moments
from couplevi.preparation import fingerprints, fit_preparation, row_chunks

if TYPE_CHECKING:
    from couplevi._streamed import Matrix
    from couplevi._types import BoolArray, FloatArray, IntArray
    from couplevi.model.otgm.module import OTGMModule
    from couplevi.model.otgm.settings import OTGMSettings

FEWEST_CELLS = 2
"""Cells of a state in a group that its moments can be taken of."""
MOST_CELLS, MOST_VALUES = 10_000, 2**27
"""Cells, and values where these are not sparse, that principal components are found from."""
SMALLEST_VARIANCE = 1e-10
"""Of a score, relative to the largest one."""


def fitted(
    matrix: Matrix,
    states: IntArray,
    groups: IntArray,
    batch: IntArray,
    *,
    sizes: tuple[int, int, int],
    control: int,
    n_components: int | None,
    settings: OTGMSettings,
) -> tuple[dict[str, Any], set[int]]:
    """Buffers of the module, by name; and components whose cells all look like the control's, which keep their labels.

    Parameters
    ----------
    matrix
        Cells by features.
    states, groups, batch
        State, group and batch of each cell; -1 for a cell without a state.
    sizes
        Number of states, groups and batches.
    control
        State that the others are compared with.
    n_components
        Number of principal components; None takes the features themselves.
    settings
        Settings of the model.
    """
    n_states, n_groups, n_batches = sizes
    offsets = batch_offsets(matrix, batch, states == control, n_batches)
    centre, basis = components(matrix, n_components, batch, offsets)
    scores = scores_of(matrix, basis, centre, batch, offsets)
    known = states >= 0
    component = np.where(known, states * n_groups + groups, 0)
    n = n_states * n_groups
    ones = known.astype(np.float64)
    weights = sp.csr_array((ones, (np.arange(len(states)), component)), shape=(len(states), n))
    weights.eliminate_zeros()
    found = moments(matrix, weights, scores, basis, batch, offsets)
    share, telling = settings.pooled_share, settings.pooled_share
    if share is None or telling is None:
        order = np.flatnonzero(known)[np.argsort(scores[known, 0], kind="stable")]  # however cells are ordered
        share, telling = (
            choose_share(scores[order], component[order], rng=np.random.default_rng(0), by=by)
            for by in ("density", "posterior")
        )
    emptied: set[int] = set()
    for _ in range(settings.em_iterations):
        weights = _responsibilities(scores, states, groups, found, share, basis, centre, control, n_groups, emptied)
        found = moments(matrix, weights, scores, basis, batch, offsets)
    names = ("count", "mean", "variance", "covariance", "pooled", "noise", "scale")
    buffers = {name: np.nan_to_num(getattr(found, name)) for name in names}
    shares = {"pooled_share": share, "telling_share": telling}
    return {**buffers, **shares, "centre": centre, "basis": basis, "offsets": offsets}, emptied


def components(
    matrix: Matrix, n_components: int | None, batch: IntArray, offsets: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Mean of the features, and orthonormal principal components of them as they are, shape ``(n_vars, d)``.

    What belongs to batches is taken off first. Of more than `MOST_CELLS` cells so many are taken, evenly along the order
    of their values; with batches no more than `MOST_VALUES` values, which are not sparse then.
    """
    most = min(MOST_CELLS, max(MOST_VALUES // matrix.shape[1], 1_000)) if offsets.any() else MOST_CELLS
    if matrix.shape[0] > most:
        order = np.argsort(fingerprints(matrix), kind="stable")
        some = np.sort(order[np.linspace(0, len(order) - 1, most).round().astype(np.int64)])
        matrix, batch = matrix[some], batch[some]
    if offsets.any():
        matrix = (dense(loaded(matrix)) - offsets[batch]).astype(np.float32)
    preparation = fit_preparation(matrix, n_components, weights="variance")
    if preparation.components is None:
        return preparation.mean.astype(np.float64), np.eye(matrix.shape[1])
    return preparation.mean.astype(np.float64), np.linalg.qr(preparation.components.T.astype(np.float64))[0]


def batch_offsets(matrix: Matrix, batch: IntArray, is_control: BoolArray, n_batches: int) -> FloatArray:
    """Mean of the control of each batch minus that of all control cells, shape ``(n_batches, n_vars)``; 0 of one alone."""
    offsets = np.zeros((n_batches, matrix.shape[1]))
    if n_batches < 2:
        return offsets
    count = np.bincount(batch[is_control], minlength=n_batches)
    for rows, chunk in row_chunks(matrix):
        own = is_control[rows]
        if own.any():
            codes = batch[rows][own]
            select = sp.csr_array((np.ones(len(codes)), (codes, np.arange(len(codes)))), shape=(n_batches, len(codes)))
            offsets += dense(select @ chunk[own])
    total = offsets.sum(axis=0) / count.sum()
    return offsets / count[:, None] - total


def scores_of(
    matrix: Matrix, basis: FloatArray, centre: FloatArray, batch: IntArray, offsets: FloatArray
) -> FloatArray:
    """Scores of cells in the basis, what belongs to their batch removed, shape ``(n_obs, n_components)``."""
    shift = (centre + offsets) @ basis
    parts = [chunk @ basis - shift[batch[rows]] for rows, chunk in row_chunks(matrix)]
    return np.concatenate(parts) if parts else np.empty((0, basis.shape[1]))


def log_densities(scores: FloatArray, means: FloatArray, covariances: FloatArray) -> FloatArray:
    """Log density of scores under each of K Gaussians, shape ``(n, K)``."""
    found = np.empty((len(scores), len(means)))
    for k, (mean, covariance) in enumerate(zip(means, covariances, strict=True)):
        values, vectors = _spectrum(covariance)
        z = (scores - mean) @ vectors
        found[:, k] = -0.5 * (np.square(z) / values).sum(axis=1) - 0.5 * np.log(2 * np.pi * values).sum()
    return found


def _spectrum(covariance: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Eigenvalues, none of them too small to divide by, and eigenvectors."""
    values, vectors = np.linalg.eigh(covariance)
    return np.maximum(values, SMALLEST_VARIANCE * max(values.max(), SMALLEST_VARIANCE)), vectors


def predictive(module: OTGMModule, components: IntArray) -> tuple[FloatArray, FloatArray]:
    """Means and covariances of the scores of a new cell of each component, shapes ``(K, d)`` and ``(K, d, d)``.

    Along the discriminant directions, in which the pooled covariance is 1 and means vary independently, these are taken
    for draws from a normal distribution around the mean of all, whose variance is that of the means in excess of chance.
    """
    count, pooled = module.array("count")[components], module.array("pooled")
    means = (module.array("mean")[components] - module.array("centre")) @ module.array("basis")
    values, vectors = _spectrum(pooled)
    root = np.sqrt(values)
    white = means @ vectors / root
    share = count / count.sum()
    between = ((white - share @ white).T * share) @ (white - share @ white)
    variances, directions = np.linalg.eigh(between)
    white = white @ directions
    centre = share @ white
    spread = np.maximum(variances - len(count) / count.sum(), 0)
    kept = spread / (spread + 1 / count[:, None])
    back = directions.T @ (vectors * root).T
    extra = np.einsum("kj,ja,jb->kab", kept / count[:, None], back, back)
    return (centre + kept * (white - centre)) @ back, module.covariances("telling_share")[components] + extra


def _responsibilities(
    scores: FloatArray,
    states: IntArray,
    groups: IntArray,
    found: Moments,
    share: float,
    basis: FloatArray,
    centre: FloatArray,
    control: int,
    n_groups: int,
    emptied: set[int],
) -> sp.csr_array:
    """Weights of cells in their own component, and the rest in the control of their group.

    A component that would be left with less than two cells keeps all, and is added to those `emptied`.
    """
    shrunk = shrink(found.covariance, found.pooled, share)
    means = (np.nan_to_num(found.mean) - centre) @ basis
    cells = np.flatnonzero(states >= 0)
    own, of_control = states[cells] * n_groups + groups[cells], control * n_groups + groups[cells]
    weight = np.ones(len(cells))
    for component in np.unique(own):
        here = own == component
        reference = of_control[here][0]
        if component == reference or found.count[reference] < FEWEST_CELLS:
            continue
        pair = [component, reference]
        odds = np.diff(log_densities(scores[cells[here]], means[pair], shrunk[pair]), axis=1)[:, 0]
        prior = np.log(found.count[component] / found.count[reference])
        share_of_own = expit(prior - odds)
        if component in emptied or share_of_own.sum() < FEWEST_CELLS:
            emptied.add(int(component))
        else:
            weight[here] = share_of_own
    rows = np.concatenate([cells, cells])
    columns, values = np.concatenate([own, of_control]), np.concatenate([weight, 1 - weight])
    return sp.csr_array((values, (rows, columns)), shape=(len(states), len(found.count)))
