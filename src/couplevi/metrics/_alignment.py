from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist
from sklearn.neighbors import KNeighborsClassifier

from couplevi._validate import expected
from couplevi.metrics._record import Metric

if TYPE_CHECKING:
    from couplevi._types import FloatArray

BLOCK_BYTES = 64 * 2**20
"""Memory of a block of distances."""


def foscttm(a: ArrayLike, b: ArrayLike) -> float:
    """Fraction of samples closer than the true match: how well two embeddings of the same cells agree.

    For each cell, the share of the other modality's cells that are strictly closer, in Euclidean distance, than its
    own profile there; mean over cells and both directions. Smaller is better.

    Parameters
    ----------
    a, b
        Embeddings of the same cells in the same order, shape ``(n, n_latent)``.

    Returns
    -------
    Number in [0, 1]; 0 if every cell is nearest to itself, about 0.5 by chance. Distances are computed in blocks of
    64 MB, so memory does not grow with the square of ``n``; time does.

    Raises
    ------
    ValueError
        If the shapes differ or there is no cell.

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
    x, y = _embedding(a, "a"), _embedding(b, "b")
    if x.shape != y.shape:
        raise ValueError(expected("embeddings of the same cells, with equal shapes", f"{x.shape} and {y.shape}"))
    n = len(x)
    # by the same function as all others: computed otherwise, equal distances might differ in the last digit
    own = np.concatenate([np.diagonal(cdist(x[i : i + 64], y[i : i + 64])) for i in range(0, n, 64)])
    step = max(1, BLOCK_BYTES // (8 * n))
    closer = 0
    for start in range(0, n, step):
        distance = cdist(x[start : start + step], y)
        closer += (distance < own[start : start + step, None]).sum() + (distance < own[None, :]).sum()
    return float(closer / (2 * n * n))


FOSCTTM = Metric(
    name="foscttm",
    title="FOSCTTM",
    function=foscttm,
    meaning="mean share of the other modality's cells closer than the true match, both directions",
    low=0,
    high=1,
    best=0,
    uninformed=None,
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
        A label per row; leave out cells without one before.
    n_neighbors
        Neighbours that vote, at least 1; 5 in the paper.

    Returns
    -------
    Accuracy in [0, 1].

    Raises
    ------
    ValueError
        If lengths differ, or there are fewer reference cells than neighbours.

    References
    ----------
    Cohen Kalafut, Huang and Wang, Nature Machine Intelligence 2023 (JAMIE).

    Examples
    --------
    >>> import couplevi as cvi
    >>> cvi.metrics.label_transfer_accuracy([[0.0], [1.0]], ["a", "b"], [[0.1], [0.2], [0.9]], ["a", "b", "b"], 1)
    0.6666666666666666
    """
    x, y = _embedding(reference, "reference"), _embedding(query, "query")
    labels_x, labels_y = np.asarray(reference_labels), np.asarray(query_labels)
    if len(x) != len(labels_x) or len(y) != len(labels_y):
        raise ValueError(
            expected("one label per row", f"{len(labels_x)} for {len(x)} rows and {len(labels_y)} for {len(y)} rows")
        )
    if not 1 <= n_neighbors <= len(x):
        raise ValueError(expected(f"`n_neighbors` between 1 and the {len(x)} reference cells", n_neighbors))
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


def _embedding(values: ArrayLike, name: str) -> FloatArray:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 2 or len(x) == 0:
        raise ValueError(expected(f"`{name}` of shape (n_cells, n_latent) with at least one cell", f"shape {x.shape}"))
    return x
