from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from couplevi._constants import Key
from couplevi._docs import fill_docs
from couplevi._validate import check_slot, expected, warn
from couplevi.model.otgm import OTGM
from couplevi.tl._fit import versions

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from couplevi._protocols import DescribesStates
    from couplevi.model.otgm import OTGMSettings

MOST_STATES = 500
"""States whose ranked features are written: HDF5 cannot hold records of a thousand fields."""
TINY = 1e-9
"""Added to means of counts before their ratio is taken, as scanpy does."""


@fill_docs
def otgm(
    adata: AnnData,
    *,
    state_key: str,
    control: str,
    layer: str | None = None,
    group_key: str | None = None,
    batch_key: str | None = None,
    preset: Literal["default", "paper"] | OTGMSettings = "default",
    key_added: str = "otgm",
    **model_kwargs: Any,
) -> OTGM:
    """Describe perturbations as transport between Gaussians with :class:`~couplevi.model.OTGM` in one call.

    Parameters
    ----------
    adata
        Cells of a control and of one or more other states, such as those of a CRISPR screen.
    %(perturbed_cells)s
    %(otgm_preset)s
    key_added
        Name of all slots that are written.
    **model_kwargs
        Fields of :class:`~couplevi.model.OTGMSettings` that replace those of the preset, such as `n_pcs` (50).

    Returns
    -------
    The fitted model. Also writes

    - ``adata.obsm["X_otgm"]``: scores in the principal components, shape ``(n_obs, n_components)``, float32;
    - ``adata.obs["otgm_state"]``: most probable state of each cell by its scores, categorical;
    - ``adata.obsm["otgm_posterior"]``: probability of each state, shape ``(n_obs, n_states)``, float32, columns in
      ``adata.uns["otgm"]["states"]``;
    - ``adata.uns["otgm_rank_genes"]``: ranked features of each state against the control, in the format of
      :func:`scanpy.tl.rank_genes_groups`, so that ``sc.pl.rank_genes_groups(adata, key="otgm_rank_genes")`` and
      ``sc.get.rank_genes_groups_df`` read it: `scores` are the z, `logfoldchanges` are of the counts that the values
      are the logarithms of; by absolute z, as with its ``rankby_abs=True``. Not written of more than 500 states;
    - ``adata.uns["otgm"]``: settings, versions, states, number of cells of each, and share of the pooled covariance.

    Raises
    ------
    TypeError, KeyError, ValueError
        As :meth:`~couplevi.model.OTGM.setup_anndata` and :class:`~couplevi.model.OTGM`; nothing is written then.

    References
    ----------
    Demir and others, sc-OTGM: single-cell perturbation modeling by solving optimal mass transport on the manifold of
    Gaussian mixtures, arXiv 2405.03726.

    Examples
    --------
    >>> import couplevi as cvi
    >>> adata = cvi.data.perturbation_screen(n_obs=200)
    >>> model = cvi.tl.otgm(adata, state_key="perturbation", control="control", layer="log1p", n_pcs=10)
    >>> model.rank_genes("gene1")["gene"][0]
    'gene1'
    >>> adata.obsm["X_otgm"].shape
    (200, 10)
    """
    check_slot(key_added, "key_added")
    if (slot := Key.obs.state(key_added)) in (state_key, group_key, batch_key):
        remedy = "Choose another one: the column would be written over."
        raise ValueError(expected(f"`key_added` whose slot {slot!r} is not read", repr(key_added), remedy))
    OTGM.setup_anndata(
        adata, state_key=state_key, control=control, layer=layer, group_key=group_key, batch_key=batch_key
    )
    model = OTGM(adata, preset, **model_kwargs)
    model.train()
    scores, posterior, predicted = (
        model.get_latent_representation(),
        model.predict_state(soft=True),
        model.predict_state(),
    )
    states = [state for state in model.states_ if state != model.control_]
    if len(states) > MOST_STATES:
        warn(
            f"Ranked features of {len(states)} states are not written, as files hold up to {MOST_STATES}. Ask the model: "
            "`model.rank_genes(state)`."
        )
    ranked = {state: model.rank_genes(state) for state in states} if len(states) <= MOST_STATES else {}
    summary = {
        Key.uns.STATES: list(model.states_),
        "control": model.control_,
        "n_cells": model.n_cells.to_numpy(),
        "pooled_share": float(model.module.array("pooled_share")),
        "settings": {name: value for name, value in asdict(model.settings_).items() if value is not None},
        "versions": versions(),
    }
    adata.obsm[Key.obsm.latent(key_added)] = scores
    adata.obsm[Key.obsm.posterior(key_added)] = posterior.to_numpy()
    adata.obs[Key.obs.state(key_added)] = predicted
    if ranked:
        adata.uns[Key.uns.rank_genes(key_added)] = _as_scanpy(model, ranked, state_key, layer)
    adata.uns[key_added] = summary
    return model


def _as_scanpy(model: OTGM, ranked: Mapping[str, pd.DataFrame], state_key: str, layer: str | None) -> dict[str, Any]:
    """Ranked features as scanpy writes them: records with a field per state."""
    columns = {"names": "gene", "scores": "z", "pvals": "p_value", "pvals_adj": "q_value"}
    kinds = {"names": "O", "scores": "float32", "logfoldchanges": "float32", "pvals": "float64", "pvals_adj": "float64"}
    fields = {name: {s: frame[column].to_numpy() for s, frame in ranked.items()} for name, column in columns.items()}
    fields["logfoldchanges"] = {s: _log_fold_changes(model, s, frame) for s, frame in ranked.items()}
    found: dict[str, Any] = {
        "params": {
            "groupby": state_key,
            "reference": model.control_,
            "method": "otgm",
            "use_raw": False,
            "layer": layer,
            "corr_method": "benjamini-hochberg",
        }
    }
    for name, kind in kinds.items():
        arrays = [np.asarray(values, dtype=kind) for values in fields[name].values()]
        found[name] = np.rec.fromarrays(arrays, dtype=[(s, kind) for s in ranked])
    return found


def _log_fold_changes(model: OTGM, state: str, ranked: pd.DataFrame) -> np.ndarray:
    """Logarithm, to base 2, of the ratio of mean counts, which are one less than the exponential of the mean value.

    Missing where a mean is below 0, and so not the logarithm of counts plus 1.
    """
    means = np.stack([mean[ranked["gene"]].to_numpy() for mean in model.common_means(model.control_, state)])
    control, here = np.where(means >= 0, np.expm1(means), np.nan) + TINY
    return np.log2(here / control)


if TYPE_CHECKING:

    def _is_all_that_figures_need(model: OTGM) -> DescribesStates:
        return model
