from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from anndata import AnnData

from couplevi._constants import UNKNOWN, Key
from couplevi._validate import check_number, check_slot, expected

if TYPE_CHECKING:
    from couplevi._protocols import Annotates

UNTYPICAL = 0.05
"""Typicality below which a cell is of none of the labels: so are a twentieth of the cells of known types."""


def annotate(
    adata: AnnData,
    model: Annotates,
    *,
    labels: Sequence[str],
    descriptions: Mapping[str, str | Sequence[str]] | None = None,
    unknown_below: float = UNTYPICAL,
    key_added: str = "celltext",
) -> pd.DataFrame:
    """Name cells by texts: by the types that a model was trained on, by others that nobody has seen, or by both.

    Parameters
    ----------
    adata
        Cells, those of the model or others.
    model
        Fitted :class:`~couplevi.model.CellText`.
    labels
        Types to choose from.
    descriptions
        Texts of some of them; for others those that the model knows, or the label itself.
    unknown_below
        Typicality, in [0, 1], below which a cell is ``"unknown"``: further from all of these types than nearly all cells
        that were held out in training were from theirs. The default loses about 5 % of the cells of known types; 0 names
        all cells.
    key_added
        Name of all slots that are written.

    Returns
    -------
    Probabilities, cells by labels. Also writes

    - ``adata.obs["celltext_label"]``: the most probable label, or ``"unknown"``, categorical;
    - ``adata.obs["celltext_confidence"]``: its probability, in [0, 1];
    - ``adata.obs["celltext_typicality"]``: see :meth:`CellText.get_typicality
      <couplevi.model.CellText.get_typicality>`;
    - ``adata.obsm["celltext_scores"]``: probabilities, shape ``(n_obs, n_labels)``, float32, columns in
      ``adata.uns["celltext"]["candidates"]``.

    Raises
    ------
    TypeError
        If `adata` is not an AnnData.
    RuntimeError, KeyError, ValueError
        As :meth:`CellText.annotate <couplevi.model.CellText.annotate>`, or if `unknown_below` is out of range; nothing
        is written then.

    Examples
    --------
    >>> import couplevi as cvi
    >>> mdata = cvi.data.count_clusters(n_obs=200)
    >>> adata = mdata["rna"].copy()
    >>> adata.obs["type"] = mdata.obs["cell_type"].astype(str)
    >>> quick = {"max_epochs": 5, "enable_progress_bar": False}
    >>> model = cvi.tl.celltext(adata, labels_key="type", seed=0, train_kwargs=quick)
    >>> cvi.tl.annotate(adata, model, labels=["type0", "type1", "another type"]).shape
    (200, 3)
    >>> adata.obs["celltext_label"].cat.categories.tolist()
    ['type0', 'type1', 'another type', 'unknown']
    """
    if not isinstance(adata, AnnData):
        raise TypeError(expected("an AnnData", f"{type(adata).__module__}.{type(adata).__name__}"))
    check_slot(key_added, "key_added")
    check_number(unknown_below, "unknown_below", 0, 1)
    labels = labels if isinstance(labels, str) else list(labels)
    p = model.annotate(adata, labels, descriptions=descriptions)
    typicality = model.get_typicality(adata, labels, descriptions=descriptions)
    names = [*p.columns, UNKNOWN] if UNKNOWN not in p.columns else list(p.columns)
    best = np.where(typicality < unknown_below, names.index(UNKNOWN), p.to_numpy().argmax(axis=1))
    adata.obs = adata.obs.assign(
        **{
            Key.obs.text_label(key_added): pd.Categorical.from_codes(best.tolist(), pd.Index(names)),
            Key.obs.text_confidence(key_added): p.to_numpy().max(axis=1),
            Key.obs.text_typicality(key_added): typicality.to_numpy(),
        }
    )
    adata.obsm[Key.obsm.text_scores(key_added)] = p.to_numpy(dtype=np.float32)
    adata.uns.setdefault(key_added, {})[Key.uns.CANDIDATES] = list(p.columns)
    return p
