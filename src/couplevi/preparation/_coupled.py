from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import scipy.sparse as sp

from couplevi.preparation._explained import explained_by, n_regressors
from couplevi.preparation._fit import N_PILOT, Features

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from couplevi._streamed import Matrix
    from couplevi._types import IntArray, ModalityPair
    from couplevi.preparation._record import Preparation


def fit_coupled(
    matrices: Mapping[str, Matrix],
    links: Mapping[ModalityPair, sp.csr_array],
    n_components: Mapping[str, int | None],
    batches: Mapping[str, IntArray] | None = None,
) -> dict[str, Preparation]:
    """Prepare modalities so that their components keep what is known to the others.

    As :func:`fit_preparation` with communalities ``h^2``, but a feature of which linked profiles of another modality
    explain a share ``c`` of the variance is weighed by ``sqrt(h^2 + c + 0.03)``, and components are those of the sum of
    two covariances: of the weighted features, and of the part of them that is explained beyond chance. So a direction
    that the other modality knows counts up to twice. Profiles without a link take part in means, deviations and
    communalities alone. A modality with fewer than ten pairs is prepared as without any, and one that is not reduced
    has no weights.

    Parameters
    ----------
    matrices
        Cells by features of each modality.
    links
        Confidences between the profiles of two modalities, rows those of the first.
    n_components
        Number of components of each modality, see :func:`fit_preparation`.
    batches
        Batch of each profile of each modality: what differs between batches is not explained. None if there are none.

    Returns
    -------
    Frozen record of each modality. Of several modalities that explain a feature, the largest share counts, and the
    mean of their covariances.

    Examples
    --------
    >>> import numpy as np
    >>> import scipy.sparse as sp
    >>> from couplevi.preparation import fit_coupled
    >>> rng = np.random.default_rng(0)
    >>> a, b = rng.normal(size=(100, 30)), rng.normal(size=(100, 5))
    >>> a[:, 0] += 3 * b[:, 0]
    >>> records = fit_coupled({"a": a, "b": b}, {("a", "b"): sp.eye_array(100, format="csr")}, {"a": 3, "b": None})
    >>> int(np.abs(records["a"].components[0]).argmax())
    0
    """
    features = {m: Features(matrix) for m, matrix in matrices.items()}
    scores = cache(lambda m: features[m].pilot_scores(N_PILOT))
    records = {}
    for m, f in features.items():
        parts = []
        for other, its_links in _links_of(m, links) if f.is_reduced_by(n_components[m]) else ():
            if n := n_regressors(its_links):
                batch = None if batches is None else batches[m]
                parts.append(explained_by(f.matrix, f.mean, f.scale, its_links, scores(other)[:, :n], batch))
        records[m] = f.preparation(n_components[m], "communality", parts)
    return records


def _links_of(modality: str, links: Mapping[ModalityPair, sp.csr_array]) -> Iterator[tuple[str, sp.csr_array]]:
    """Each other modality, and the links to it with profiles of this one as rows."""
    for (a, b), matrix in links.items():
        if modality == a:
            yield b, matrix
        elif modality == b:
            yield a, sp.csr_array(matrix.T)
