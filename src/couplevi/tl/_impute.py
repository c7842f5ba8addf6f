from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from couplevi._constants import Key
from couplevi._mudata import without_pulling
from couplevi._validate import check_cells, check_modality, check_slot, expected

if TYPE_CHECKING:
    from anndata import AnnData
    from mudata import MuData

    from couplevi._protocols import Imputes, KnowsItsPairs
    from couplevi._types import FloatArray


def impute(
    mdata: MuData,
    model: Imputes,
    *,
    source: str,
    target: str,
    return_sd: bool = False,
    library_size: float | None = None,
    as_modality: bool = False,
    key_added: str = "jamie",
) -> None:
    """Predict a modality for every cell that has another, measured or not.

    Parameters
    ----------
    mdata
        MuData with the source: the training data, or any other with the same features.
    model
        Fitted model.
    source, target
        Modality to predict from, and the one to predict.
    return_sd
        Also write predictive standard deviations, measured on pairs that were held back in the first half of training:
        the imputed value +- 1.645 of them holds about 90 % of the measured ones.
    library_size
        Sum that imputed counts of each cell are scaled to, for a target with the likelihood ``"nb"``, ``"zinb"`` or
        ``"poisson"``: 1e4 gives counts per 10,000. None takes what is expected from the source.
    as_modality
        Also add the imputed values as a modality of their own, for differential expression and plots.
    key_added
        Name of the slots that are written.

    Returns
    -------
    Nothing; writes, for s = source and t = target, float32 in the units of the target's registered values,

    - ``mdata[s].obsm["jamie_{t}"]``, shape ``(n_s, n_vars_t)``: every cell of the source. Its columns are named in
      ``mdata.uns["jamie"]["var_names"][t]``;
    - ``mdata[t].layers["jamie_from_{s}"]``, shape ``(n_t, n_vars_t)``, where `mdata` has the target and its features
      were registered from ``X`` or a layer: the same values beside the measured ones, NaN for cells without the
      source and for features that the model does not know;
    - ``mdata[t].obs["jamie_from_{s}_fitted"]`` with that layer: whether the model was trained on the cell's pair, which
      figures of imputed values leave out;
    - ``"jamie_{t}_sd"`` and ``"jamie_from_{s}_sd"`` beside these two, with `return_sd`: standard deviations;
    - modality ``"{t}_from_{s}"``, with `as_modality`. Matrices in ``mdata.obsp`` stay as they are.

    Raises
    ------
    TypeError
        If `mdata` is not a MuData.
    KeyError, ValueError, RuntimeError
        As :meth:`couplevi.model.JAMIE.impute`; ValueError also if the new modality's name is taken by a measured one.

    Examples
    --------
    >>> import couplevi as cvi
    >>> mdata = cvi.data.branching_manifold(n_obs=100, paired=0.5)
    >>> quick = {"max_epochs": 2, "enable_progress_bar": False}
    >>> model = cvi.tl.jamie(mdata, modalities=("rna", "ephys"), train_kwargs=quick)
    >>> cvi.tl.impute(mdata, model, source="rna", target="ephys")
    >>> mdata["rna"].obsm["jamie_ephys"].shape, mdata["ephys"].layers["jamie_from_rna"].shape
    ((75, 40), (75, 40))
    """
    check_modality(check_cells(mdata, model.modalities_), source, "source")
    check_slot(key_added, "key_added")
    imputed = model.impute(source=source, target=target, adata=mdata, return_sd=return_sd, library_size=library_size)
    name = Key.mod.imputed(source, target)
    if as_modality and name in mdata.mod and key_added not in mdata[name].uns:
        raise ValueError(expected(f"no modality {name!r} but an imputed one", "a measured one", "Rename it first."))
    write_imputed(mdata, model, imputed, source, target, key_added)
    if as_modality:
        imputed.uns[key_added] = {"source": source, "target": target}
        with without_pulling(), warnings.catch_warnings():
            # the same features as the measured modality, and so the same names
            warnings.filterwarnings("ignore", message="var_names are not unique")
            mdata.mod[name] = imputed
            mdata.update()


def write_imputed(mdata: MuData, model: KnowsItsPairs, imputed: AnnData, source: str, target: str, key: str) -> None:
    """Write imputed values, their standard deviations if ``layers["sd"]`` has them, and what was learned from."""
    values = {(Key.obsm.imputed(key, target), Key.layers.imputed(key, source)): imputed.X}
    if "sd" in imputed.layers:
        values[Key.obsm.imputed_sd(key, target), Key.layers.imputed_sd(key, source)] = imputed.layers["sd"]
    beside = {
        layer: _beside_measured(mdata[target], imputed, x)
        for (_, layer), x in values.items()
        if target in mdata.mod and mdata[target].var_names.isin(imputed.var_names).any()
    }
    for (slot, _), x in values.items():
        mdata[source].obsm[slot] = x.copy()
    for layer, x in beside.items():
        mdata[target].layers[layer] = x
    if beside:
        fitted = model.is_fitted(mdata[target].obs_names, source, target)
        mdata[target].obs[Key.obs.fitted(key, source)] = fitted
    names = mdata.uns.setdefault(key, {}).setdefault(Key.uns.VAR_NAMES, {})
    names[target] = list(imputed.var_names)


def _beside_measured(profiles: AnnData, imputed: AnnData, values: FloatArray) -> FloatArray:
    """Imputed `values` in the rows and columns of the measured ones."""
    rows = imputed.obs_names.get_indexer(profiles.obs_names)
    columns = imputed.var_names.get_indexer(profiles.var_names)
    beside = np.full(profiles.shape, np.nan, dtype=np.float32)
    known = np.ix_(rows >= 0, columns >= 0)
    beside[known] = values[np.ix_(rows[rows >= 0], columns[columns >= 0])]
    return beside
