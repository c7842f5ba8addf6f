from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist
from sklearn.neighbors import KNeighborsClassifier

from couplevi._labels import label_codes
from couplevi._validate import expected
from couplevi.metrics._finite import check_finite_rows
from couplevi.metrics._record import Metric

if TYPE_CHECKING:
    from couplevi._types import FloatArray

NO_LATENT = "Leave these cells out first: a cell without the modality has no latent."
BLOCK_BYTES = 2**20
"""Memory of a block of distances: as much as stays in the cache while it is compared."""


def foscttm(a: ArrayLike, b: ArrayLike) -> float:
    """Fraction of samples closer than the true match: how well two embeddings of the same cells agree.

    For each cell, the share of the other modality's cells that are closer, in Euclidean distance, than its own profile
    there; mean over cells and both directions. Smaller is better. A cell that is exactly as far as the own profile
    counts as half a closer one, so that latents that are the same for all cells score as chance does.

    Parameters
    ----------
    a, b
        Embeddings of the same cells in the same order, shape ``(n, n_latent)``, all values finite.

    Returns
    -------
    Number in [0, 1]; 0 if every cell is nearest to itself, about 0.5 by chance, ``(n - 1) / 2n`` if all cells are at
    one place. Distances are computed in blocks of 1 MB, so memory does not grow with the square of ``n``; time does.

    Raises
    ------
    ValueError
        If the shapes differ, there is no cell, or a cell has NaN or infinite values: leave it out of both.

    References
    ----------
    Liu et al., Jointly embedding multiple single-cell omics measurements, WABI 2019.

    Examples
    --------
    >>> import couplevi as cvi
    >>> cvi.metrics.foscttm([[0.0], [1.0], [2.0]], [[0.1], [1.1], [2.1]])
    0.0
    >>> cvi.metrics.foscttm([[0.0], [1.0]], [[1.0], [0.0]])
    0.5
    """
    x, y = as_embedding(a, "a"), as_embedding(b, "b")
    if x.shape != y.shape:
        raise ValueError(expected("embeddings of the same cells, with equal shapes", f"{x.shape} and {y.shape}"))
    check_finite_rows(x, "a", NO_LATENT)
    check_finite_rows(y, "b", NO_LATENT)
    n = len(x)
    # by the same function as all others: computed otherwise, equal distances might differ in the last digit
    own = np.concatenate([np.diagonal(cdist(x[i : i + 64], y[i : i + 64])) for i in range(0, n, 64)])
    step = max(1, BLOCK_BYTES // (8 * n))
    closer_twice = -2 * n  # each cell is as far as itself, once in both directions
    for start in range(0, n, step):
        distance = cdist(x[start : start + step], y)
        for limit in (own[start : start + step, None], own):
            closer_twice += int(np.count_nonzero(distance < limit)) + int(np.count_nonzero(distance <= limit))
    return closer_twice / (4 * n * n)


FOSCTTM = Metric(
    name="foscttm",
    title="FOSCTTM",
    function=foscttm,
    meaning="mean share of the other modality's cells closer than the true match, both directions; ties count as half",
    low=0,
    high=1,
    best=0,
    uninformed=0.5,
    needs="latents of the same cells in both modalities",
    reference="Liu et al. 2019",
)


def label_transfer_accuracy(
    reference: ArrayLike,
    reference_labels: ArrayLike,
    query: ArrayLike,
    query_labels: ArrayLike,
    n_neighbors: int = 5,
) -> float:
    """Share of query cells that get their label from the nearest reference cells (LTA). Larger is better.

    Parameters
    ----------
    reference, query
        Embeddings in a common space, shapes ``(n_reference, n_latent)`` and ``(n_query, n_latent)``. The paper
        transfers from the second modality (reference) to the first (query).
    reference_labels, query_labels
        A label per row, of any type; 1, 1.0 and "1" are the same. Cells without one (None, NaN, NA, ``""``,
        ``"unknown"``, ``"nan"``, ``"Mis"``) are left out: they neither vote nor count.
    n_neighbors
        Neighbours that vote, at least 1; 5 in the paper.

    Returns
    -------
    Accuracy in [0, 1].

    Raises
    ------
    ValueError
        If lengths differ, a labelled cell has NaN or infinite values, no query cell has a label, or there are fewer
        labelled reference cells than neighbours.

    References
    ----------
    Cohen Kalafut, Huang and Wang, Nature Machine Intelligence 2023 (JAMIE).

    Examples
    --------
    >>> import couplevi as cvi
    >>> cvi.metrics.label_transfer_accuracy([[0.0], [1.0]], ["a", "b"], [[0.1], [0.2], [0.9]], ["a", "b", "b"], 1)
    0.6666666666666666
    """
    x, y = as_embedding(reference, "reference"), as_embedding(query, "query")
    (labels_x, labels_y), _ = label_codes(reference_labels, query_labels)
    if len(x) != len(labels_x) or len(y) != len(labels_y):
        raise ValueError(
            expected("one label per row", f"{len(labels_x)} for {len(x)} rows and {len(labels_y)} for {len(y)} rows")
        )
    x, labels_x, y, labels_y = x[labels_x >= 0], labels_x[labels_x >= 0], y[labels_y >= 0], labels_y[labels_y >= 0]
    if not len(y):
        raise ValueError(expected("at least one query cell with a label", "none"))
    if not 1 <= n_neighbors <= len(x):
        raise ValueError(expected(f"`n_neighbors` between 1 and the {len(x)} labelled reference cells", n_neighbors))
    check_finite_rows(x, "reference", NO_LATENT)
    check_finite_rows(y, "query", NO_LATENT)
    return float(KNeighborsClassifier(n_neighbors).fit(x, labels_x).score(y, labels_y))


LABEL_TRANSFER_ACCURACY = Metric(
    name="lta",
    title="LTA",
    function=label_transfer_accuracy,
    meaning="accuracy of a 5-nearest-neighbour classifier fitted on the target's latents and scored on the source's",
    low=0,
    high=1,
    best=1,
    uninformed=None,
    needs="labels of the cells of both modalities",
    reference="Cohen Kalafut, Huang and Wang 2023 (JAMIE)",
)


def as_embedding(values: ArrayLike, name: str) -> FloatArray:
    """Latents as numbers; raise ValueError unless there is a row per cell, and at least one."""
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 2 or len(x) == 0:
        raise ValueError(expected(f"`{name}` of shape (n_cells, n_latent) with at least one cell", f"shape {x.shape}"))
    return x
