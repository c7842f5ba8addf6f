from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import anndata as ad
import numpy as np
import pandas as pd

from couplevi._validate import check_cells, check_count, check_different, check_modality, check_option, check_slot
from couplevi.tl._baselines import BASELINES, baseline_imputation
from couplevi.tl._impute import write_imputed

if TYPE_CHECKING:
    from mudata import MuData

    from couplevi._protocols import KnowsItsLinks


def impute_baseline(
    mdata: MuData,
    model: KnowsItsLinks,
    *,
    source: str,
    target: str,
    method: Literal["knn", "ridge"] = "knn",
    n_neighbors: int = 5,
    key_added: str | None = None,
) -> None:
    """Predict a modality by a simple method that learns from exactly the links that a model was trained on.

    What a model has to beat: :func:`couplevi.pl.imputation_comparison` shows both, feature by feature.

    Parameters
    ----------
    mdata
        MuData with the source.
    model
        Fitted model that holds its training data; its links and registered values are used, not its weights.
    source, target
        Modality to predict from, and the one to predict.
    method
        ``"knn"``: mean of the nearest cells, the baseline of the JAMIE paper. ``"ridge"``: linear regression. Both on
        standardised features, or 50 principal components of more than 2,000.
    n_neighbors
        Neighbours of ``"knn"``.
    key_added
        Name of the slots that are written; None is the method.

    Returns
    -------
    Nothing; writes the slots of :func:`couplevi.tl.impute`: ``mdata[s].obsm["knn_{t}"]`` and
    ``mdata[t].layers["knn_from_{s}"]``, float32 in the units of the target's registered values, and
    ``mdata[t].obs["knn_from_{s}_fitted"]``.

    Raises
    ------
    TypeError
        If `mdata` is not a MuData.
    KeyError
        If `mdata` lacks the source.
    ValueError
        If a modality is none of the model's, source and target are the same, the method is unknown, or the model's
        data hold none of its links, or fewer than `n_neighbors`.
    RuntimeError
        If the model is not trained.

    Examples
    --------
    >>> import couplevi as cvi
    >>> mdata = cvi.data.branching_manifold(n_obs=100)
    >>> quick = {"max_epochs": 2, "enable_progress_bar": False}
    >>> model = cvi.tl.jamie(mdata, modalities=("rna", "ephys"), train_kwargs=quick)
    >>> cvi.tl.impute_baseline(mdata, model, source="rna", target="ephys")
    >>> mdata["rna"].obsm["knn_ephys"].shape
    (100, 40)
    """
    check_modality(check_cells(mdata, model.modalities_), source, "source")
    check_slot(method if key_added is None else key_added, "key_added")
    check_option(method, list(BASELINES), "method")
    check_count(n_neighbors, "n_neighbors")
    model.reader(source, "source")
    model.reader(target, "target")
    check_different(source, target)
    query = mdata[source]
    options = {"n_neighbors": n_neighbors} if method == "knn" else {}
    values = baseline_imputation(model, source, target, query, BASELINES[method], options)
    var = pd.DataFrame(index=pd.Index(model.var_names_[target]))
    imputed = ad.AnnData(values.astype(np.float32), obs=query.obs[[]], var=var)
    write_imputed(mdata, model, imputed, source, target, key_added or method)
