from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import shap
from anndata import AnnData

from couplevi._arrays import dense
from couplevi._constants import SINGLE, Key
from couplevi._progress import progress
from couplevi._validate import check_count, check_slot, expected, find_names
from couplevi.preparation import logarithms
from couplevi.tl._attribution import expected_gradients

if TYPE_CHECKING:
    from couplevi._protocols import RoutesToTexts

N_BACKGROUND = 200


def explain_text(
    adata: AnnData,
    model: RoutesToTexts,
    *,
    texts: str | Sequence[str],
    cells: Sequence[str] | None = None,
    background: Sequence[str] | None = None,
    n_nodes: int = 8,
    seed: int = 0,
    progress_bar: bool = True,
    key_added: str = "celltext",
) -> shap.Explanation:
    """Which features pull cells towards texts: Shapley values of the cosine of a cell and a text.

    Expected gradients, as in :func:`couplevi.tl.explain`: the values of a cell and a text sum to the cosine minus its
    mean over the background. They describe the model, not the cell.

    Parameters
    ----------
    adata
        Cells with the features of the model.
    model
        Fitted :class:`~couplevi.model.CellText`.
    texts
        Any texts, or labels of the model.
    cells
        Names of the cells to explain; None takes all.
    background
        Names of at least 2 cells that stand for "not this cell"; None takes all, or 200 drawn at random of more.
    n_nodes
        Points at which gradients are taken between a background cell and a cell, at least 1.
    seed
        Reproduces a random background.
    progress_bar
        Show progress over cells.
    key_added
        Name of the slot that is written.

    Returns
    -------
    Explanation with ``values`` of shape ``(n_cells, n_vars, n_texts)``, float32, in units of the cosine,
    ``base_values``, ``data`` (of counts their logarithms) and names, ready for :mod:`shap.plots`. Also writes mean
    absolute values ``adata.varm["celltext_shap"]``, shape ``(n_vars, n_texts)``, float32, columns in
    ``adata.uns["celltext"]["explained"]``, where the features of the model are those of `adata`.

    Raises
    ------
    TypeError
        If `adata` is not an AnnData.
    KeyError
        If a cell is unknown.
    ValueError
        If the background has fewer than 2 cells, a name is repeated, a number is out of range, or the model reads cells
        by an encoder.
    RuntimeError
        If the model is not trained.

    Examples
    --------
    >>> import couplevi as cvi
    >>> mdata = cvi.data.count_clusters(n_obs=100)
    >>> adata = mdata["rna"].copy()
    >>> adata.obs["type"] = mdata.obs["cell_type"].astype(str)
    >>> quick = {"max_epochs": 5, "enable_progress_bar": False}
    >>> model = cvi.tl.celltext(adata, labels_key="type", seed=0, train_kwargs=quick)
    >>> cvi.tl.explain_text(adata, model, texts="type0", cells=adata.obs_names[:5]).shape
    (5, 500, 1)
    """
    if not isinstance(adata, AnnData):
        raise TypeError(expected("an AnnData", f"{type(adata).__module__}.{type(adata).__name__}"))
    check_slot(key_added, "key_added")
    check_count(n_nodes, "n_nodes")
    if model.cell_encoder_name_ is not None:
        found = f"cells by {model.cell_encoder_name_!r}"
        raise ValueError(expected("a model of values, whose features can be explained", found))
    route, reader, names = model.route(texts), model.reader(SINGLE), adata.obs_names
    matrix = reader.read(adata)
    matrix = logarithms(matrix, reader.where) if model.counted_ else matrix
    rows = np.arange(len(names)) if cells is None else find_names(names, cells, "the cells")
    if background is not None:
        from_rows = find_names(names, background, "the cells")
    else:
        n = min(N_BACKGROUND, len(names))
        from_rows = np.sort(np.random.default_rng(seed).choice(len(names), n, replace=False))
    if len(from_rows) < 2:
        raise ValueError(expected("a `background` of at least 2 cells", len(from_rows)))
    x, reference = (np.ascontiguousarray(dense(matrix[part]), dtype=np.float32) for part in (rows, from_rows))
    attribute = expected_gradients(route, reference, n_nodes)
    shown = progress(range(len(rows)), "explained cell", shown=progress_bar)
    values = np.stack([attribute(x[i]) for i in shown]).astype(np.float32)
    base = route.predict(route.preparation.transform(reference)).mean(axis=0)
    features = list(model.var_names_[SINGLE])
    place = pd.Index(features).get_indexer(adata.var_names)
    if reader.attribute != "obsm":
        table = np.full((len(place), len(route.names)), np.nan, dtype=np.float32)
        table[place >= 0] = np.abs(values).mean(axis=0)[place[place >= 0]]
        adata.varm[Key.varm.shap(key_added)] = table
        adata.uns.setdefault(key_added, {})[Key.uns.EXPLAINED] = route.names
    return shap.Explanation(values, np.tile(base, (len(rows), 1)), x, feature_names=features, output_names=route.names)
