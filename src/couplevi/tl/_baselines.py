"""Simple imputations, fitted on exactly the links that a model was trained on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from couplevi import metrics
from couplevi._arrays import dense
from couplevi._streamed import loaded
from couplevi._validate import expected
from couplevi.preparation import fit_preparation

if TYPE_CHECKING:
    from anndata import AnnData

    from couplevi._protocols import KnowsItsLinks
    from couplevi._types import FloatArray

BASELINES: dict[str, Callable[..., FloatArray]] = {
    "knn": metrics.knn_imputation,
    "ridge": metrics.ridge_imputation,
}
MAX_BASELINE_FEATURES = 2_000
"""Features of the source up to which a baseline reads them all; above, it reads 50 principal components."""


def baseline_imputation(
    model: KnowsItsLinks,
    source: str,
    target: str,
    query: AnnData,
    method: Callable[..., FloatArray],
    options: dict[str, int],
) -> FloatArray:
    """Predictions of a baseline fitted on the links of the model, in the units of the target."""
    links = model.fitted_links(source, target)
    confidence = links.sum(axis=1)
    rows = np.flatnonzero(confidence)
    if len(rows) < 2:
        remedy = "Load it with the data that it was trained on, or do without baselines."
        found = f"{len(rows)} linked cells"
        raise ValueError(expected("a model whose data hold the links it was trained on, for a baseline", found, remedy))
    if len(rows) < options.get("n_neighbors", 0):
        raise ValueError(expected(f"`n_neighbors` of at most {len(rows)}, the linked cells", options["n_neighbors"]))
    x, y = (loaded(model.reader(m).measured(model.adata[m])) for m in (source, target))
    # a profile with several links learns from their mean, weighted by confidence
    x, y = x[rows], dense(links[rows] @ y) / confidence[rows, None]
    prepare = fit_preparation(x, None if x.shape[1] <= MAX_BASELINE_FEATURES else min(50, len(rows) - 1))
    standardise = fit_preparation(y)
    new = prepare.transform(loaded(model.reader(source).read(query)))
    learned = prepare.transform(x), standardise.transform(y)
    return standardise.inverse(method(*learned, new, confidence=np.minimum(confidence[rows], 1), **options))
