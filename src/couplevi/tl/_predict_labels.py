from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from couplevi._constants import Key
from couplevi._labels import check_classes, column_of, labels_of
from couplevi._validate import check_cells, check_slot, expected, find_names
from couplevi.tl._route import LATENT, fingerprint

if TYPE_CHECKING:
    from mudata import MuData

    from couplevi._protocols import EmbedsRoutes


def predict_labels(
    mdata: MuData,
    model: EmbedsRoutes,
    *,
    labels: str,
    cells: Sequence[str] | None = None,
    reference: MuData | None = None,
    key_added: str = "jamie",
) -> None:
    """Predict a cell type or phenotype from the latent, whatever a cell was measured in.

    Logistic regression on the mean latents of the profiles of all modalities: what is learned from one modality
    applies to the others. Every cell gets one of the labels that were learned, those of other types, too, and the
    probability does not tell these. :func:`couplevi.tl.explain` then says which features a label was predicted from.

    Parameters
    ----------
    mdata
        MuData with the modalities of the model, or some of them.
    model
        Fitted model.
    labels
        Column of ``mdata.obs``, or of that of the reference. Cells without a label (missing, ``"unknown"``, ``"nan"``, ``"Mis"``) are predicted, not
        learned from.
    cells
        Names of the cells to learn from; None takes all that have a label. Predictions for these cells are
        flattering: keep some back to judge by.
    reference
        Data whose labels are learned, such as those that `mdata` was mapped to by :func:`couplevi.tl.map_query`. None
        learns those of `mdata` itself.
    key_added
        Name of the slots that are written.

    Returns
    -------
    Nothing; writes, for each cell from its aggregated latent,

    - ``mdata.obs["jamie_{labels}"]``: most probable label, categorical strings; missing for a cell without a latent;
    - ``mdata.obs["jamie_{labels}_confidence"]``: its probability, in [0, 1];
    - ``mdata.obsm["jamie_{labels}"]``: probability of each label, shape ``(n_obs, n_labels)``, float32;
    - ``mdata.uns["jamie"]["classifiers"][labels]``: ``classes`` (the columns), ``coefficients``, ``intercept``,
      and ``model``, which tells this model from others.

    Raises
    ------
    TypeError
        If `mdata` is not a MuData.
    KeyError
        If the column or a cell is missing.
    ValueError
        If there are fewer than two labels to learn, the column holds measurements, or it is called like a modality or
        ``"latent"``; or a cell is named twice.
    RuntimeError
        If the model is not trained.

    Examples
    --------
    >>> import couplevi as cvi
    >>> mdata = cvi.data.branching_manifold(n_obs=100)
    >>> quick = {"max_epochs": 2, "enable_progress_bar": False}
    >>> model = cvi.tl.jamie(mdata, modalities=("rna", "ephys"), train_kwargs=quick)
    >>> cvi.tl.predict_labels(mdata, model, labels="cell_type", cells=mdata.obs_names[:60])
    >>> mdata.obsm["jamie_cell_type"].shape, list(mdata.obs["jamie_cell_type"].cat.categories)
    ((100, 3), ['A', 'B', 'C'])
    """
    check_cells(mdata, model.modalities_)
    check_slot(labels, "labels")
    check_slot(key_added, "key_added")
    if labels in (*model.modalities_, LATENT):
        remedy = "Rename the column: `cvi.tl.explain` tells targets apart by name."
        raise ValueError(expected(f"`labels` other than {[*model.modalities_, LATENT]}", repr(labels), remedy))
    known = mdata if reference is None else reference
    check_cells(known, model.modalities_)
    check_classes(column_of(known, labels), labels)
    learned = labels_of(known, labels, known.obs_names)
    if cells is not None:
        learned = learned.iloc[find_names(known.obs_names, cells, "cells")]
    learned = learned.dropna()
    profiles = {m: known[m].obs_names.intersection(learned.index) for m in model.modalities_ if m in known.mod}
    y = np.concatenate([learned.loc[names] for names in profiles.values()])
    classes = sorted(set(y))
    if len(classes) < 2:
        raise ValueError(expected(f"at least two labels in `mdata.obs[{labels!r}]` to learn", classes))
    chosen = {m: model.reader(m).cells(known, names) for m, names in profiles.items() if len(names)}
    z = [model.get_latent_representation(adata, modality=m) for m, adata in chosen.items()]
    fit = LogisticRegression(max_iter=10_000).fit(np.concatenate(z), y)
    cell = model.get_latent_representation(mdata)
    placed = np.isfinite(cell).all(axis=1)
    probability = np.full((mdata.n_obs, len(classes)), np.nan, dtype=np.float32)
    probability[placed] = fit.predict_proba(cell[placed])
    predicted = np.full(mdata.n_obs, None, dtype=object)
    predicted[placed] = fit.predict(cell[placed])

    mdata.obs[Key.obs.label(key_added, labels)] = pd.Categorical(predicted, categories=classes)
    mdata.obs[Key.obs.label_confidence(key_added, labels)] = probability.max(axis=1)
    mdata.obsm[Key.obsm.label_probabilities(key_added, labels)] = probability
    classifiers = mdata.uns.setdefault(key_added, {}).setdefault(Key.uns.CLASSIFIERS, {})
    classifiers[labels] = {"classes": classes, "model": fingerprint(model), **_linear(fit)}


def _linear(fit: LogisticRegression) -> dict[str, np.ndarray]:
    """Weights, one column per label, of which the probabilities are the softmax."""
    weight, intercept = fit.coef_.T, fit.intercept_
    if weight.shape[1] == 1:  # two labels: scikit-learn keeps the log-odds of the second
        weight, intercept = np.hstack([0 * weight, weight]), np.append(0, intercept)
    return {"coefficients": weight, "intercept": intercept}
