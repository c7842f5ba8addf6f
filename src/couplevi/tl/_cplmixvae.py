from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from mudata import MuData
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score

from couplevi._constants import Key
from couplevi._docs import fill_docs
from couplevi._validate import check_count, check_slot, expected
from couplevi.model.cplmixvae import CplMixVAE
from couplevi.tl._fit import seeded, versions

if TYPE_CHECKING:
    from anndata import AnnData

    from couplevi._protocols import Classifies
    from couplevi._types import BoolArray, IntArray


@fill_docs
def cplmixvae(
    data: AnnData | MuData,
    *,
    n_categories: int,
    modalities: Sequence[str] | None = None,
    layers: Mapping[str, str | None] | str | None = None,
    use_rep: Mapping[str, str] | str | None = None,
    correspondence_key: str | Mapping[tuple[str, str], str] | None = None,
    labels_key: str | None = None,
    batch_key: str | None = None,
    n_init: int = 1,
    key_added: str = "cplmixvae",
    seed: int | None = None,
    train_kwargs: Mapping[str, Any] | None = None,
    **model_kwargs: Any,
) -> CplMixVAE:
    """Find cell types, and continuous states within them, with :class:`~couplevi.model.CplMixVAE` in one call.

    Parameters
    ----------
    data
        AnnData, or MuData whose modalities share their types.
    n_categories
        Number of categories to start from, at least 2: more than are expected, as training removes some.
    modalities
        Modalities of a MuData, two or more; for an AnnData None.
    layers, use_rep
        Layer or representation to model: a name for an AnnData, a mapping from modality to name for a MuData. None
        takes ``X``.
    %(correspondence_key)s
    %(mixture_columns)s
    n_init
        Number of trainings. Of several, each from random numbers of its own, the one is kept whose categories agree most
        with those of the others, by the mean adjusted Rand index.
    key_added
        Name of all slots that are written.
    %(seed)s
    train_kwargs
        Arguments of :meth:`~couplevi.model.CplMixVAE.train` by name, such as ``{"prune": False}``.
    **model_kwargs
        Further fields of :class:`~couplevi.model.MixtureSettings`, such as `n_arms` (2), `n_state` (3) and `likelihood`
        (``"gaussian"``, ``"nb"`` or ``"zinb"``).

    Returns
    -------
    The fitted model. Also writes, with K categories that were kept,

    - ``data.obs["cplmixvae_category"]``: categories as strings, ``"0"`` being the largest; missing for cells of a
      MuData with none of the modalities;
    - ``data.obs["cplmixvae_confidence"]``: their probability, in [1 / K, 1];
    - ``data.obs["cplmixvae_stability"]``, with `n_init` above 1: share of the other trainings, in [0, 1], in which a cell
      is of the category that corresponds to its own, one to one by the cells in common;
    - ``data.obsm["X_cplmixvae"]``: probabilities of all categories, mean over arms, shape ``(n_obs, K)``, float32;
    - ``data.obsm["X_cplmixvae_state"]``: state within the category, shape ``(n_obs, n_state)``, float32; of several
      modalities side by side, and by itself in ``data[m].obsm``;
    - ``data.uns["cplmixvae"]``: settings, versions, names of the categories, the consensus matrix and the history of
      pruning.

    Raises
    ------
    TypeError, KeyError, ValueError
        As :meth:`~couplevi.model.CplMixVAE.setup_anndata`, :meth:`~couplevi.model.CplMixVAE.setup_mudata`,
        :class:`~couplevi.model.CplMixVAE` and its ``train``; nothing is written then.

    References
    ----------
    Marghi, Gala and Sumbul, Mixture representation learning with coupled autoencoders, arXiv 2007.09880.

    Examples
    --------
    >>> import couplevi as cvi
    >>> adata = cvi.data.count_clusters(n_obs=200)["rna"]
    >>> quick = {"max_epochs": 20, "prune": False, "enable_progress_bar": False}
    >>> model = cvi.tl.cplmixvae(adata, n_categories=6, layers="log1p", seed=0, train_kwargs=quick)
    >>> adata.obsm["X_cplmixvae"].shape, adata.obsm["X_cplmixvae_state"].shape
    ((200, 6), (200, 3))
    """
    check_slot(key_added, "key_added")
    check_count(n_init, "n_init")
    with seeded(seed):
        if isinstance(data, MuData):
            if modalities is None:
                remedy = f"The MuData has {list(data.mod)}; for one of them pass `mdata[name]`."
                raise ValueError(expected("`modalities` of a MuData", "None", remedy))
            for name, given in (("layers", layers), ("use_rep", use_rep)):
                if isinstance(given, str):
                    remedy = f"For example {{{modalities[0]!r}: {given!r}}}."
                    raise TypeError(expected(f"`{name}` to map modalities to keys", repr(given), remedy))
            CplMixVAE.setup_mudata(
                data,
                modalities=modalities,
                layers=layers,  # type: ignore[arg-type]
                use_rep=use_rep,  # type: ignore[arg-type]
                correspondence_key=correspondence_key,
                labels_key=labels_key,
                batch_key=batch_key,
            )
        else:
            for name, superfluous in (("modalities", modalities), ("correspondence_key", correspondence_key)):
                if superfluous is not None:
                    raise ValueError(expected(f"no `{name}` for an AnnData", repr(superfluous), "Leave it out."))
            for name, given in (("layers", layers), ("use_rep", use_rep)):
                if given is not None and not isinstance(given, str):
                    raise TypeError(expected(f"`{name}` of an AnnData to be a name", repr(given)))
            CplMixVAE.setup_anndata(
                data,
                layer=layers,  # type: ignore[arg-type]
                use_rep=use_rep,  # type: ignore[arg-type]
                labels_key=labels_key,
                batch_key=batch_key,
            )
        models = [CplMixVAE(data, n_categories, **model_kwargs) for _ in range(n_init)]
        for model in models:
            model.train(**(train_kwargs or {}))
    runs = [model.predict() for model in models]
    kept, stability = compared(runs)
    model, categories = models[kept], runs[kept]
    probabilities = model.predict_probabilities()
    state = model.get_latent_representation()
    states = {m: model.get_latent_representation(modality=m) for m in model.modalities_} if modalities else {}
    summary = {**_summary(model), Key.uns.CATEGORIES: list(probabilities)}
    data.obs[Key.obs.category(key_added)] = categories
    data.obs[Key.obs.category_confidence(key_added)] = probabilities.max(axis=1)
    of_stability = Key.obs.category_stability(key_added)
    if n_init > 1:
        data.obs[of_stability] = stability
    elif of_stability in data.obs:
        del data.obs[of_stability]  # that of the categories before
    data.obsm[Key.obsm.latent(key_added)] = probabilities.to_numpy()
    data.obsm[Key.obsm.state(key_added)] = state
    for m, values in states.items():
        data[m].obsm[Key.obsm.state(key_added)] = values
    data.uns[key_added] = summary
    return model


def compared(runs: Sequence[pd.Series]) -> tuple[int, pd.Series]:
    """Which of several categorisations of the same cells agrees most with the others, and how stable each cell is in it.

    Parameters
    ----------
    runs
        Categories of the same cells, missing for the same ones.

    Returns
    -------
    Index of the run with the largest mean adjusted Rand index to the others, the first of equal ones; and for each cell
    the share of other runs in which it is of the category that corresponds to its own, NaN where that is missing or there
    are no others.
    """
    codes = np.stack([run.cat.codes.to_numpy() for run in runs])
    known: BoolArray = np.all(codes >= 0, axis=0)
    labels = codes[:, known]
    n = len(runs)
    agreement = np.array([[adjusted_rand_score(a, b) for b in labels] for a in labels])
    kept = int(agreement.sum(axis=1).argmax())
    stability = np.full(len(known), np.nan)
    if n > 1:
        stability[known] = np.mean([_corresponds(labels[kept], labels[i]) for i in range(n) if i != kept], axis=0)
    return kept, pd.Series(stability, index=runs[0].index)


def _corresponds(own: IntArray, other: IntArray) -> BoolArray:
    """Whether each cell is, in another run, of the category that most of its own correspond to, one to one."""
    shared = np.zeros((own.max() + 1, other.max() + 1))
    np.add.at(shared, (own, other), 1)
    partner = np.full(len(shared), -1)
    row, column = linear_sum_assignment(shared, maximize=True)
    partner[row] = column
    return partner[own] == other


def _summary(model: CplMixVAE) -> dict[str, Any]:
    """What was done and found, in types that h5ad and h5mu can hold."""
    summary: dict[str, Any] = {
        Key.uns.MODALITIES: list(model.modalities_),
        "settings": {name: value for name, value in asdict(model.settings_).items() if value is not None},
        Key.uns.PRUNING: {name: column.to_numpy() for name, column in model.pruning_history.items()},
        "losses": {name: frame.iloc[:, 0].to_numpy() for name, frame in model.history.items()},
        "versions": versions(),
    }
    if model.pruning_history["consensus"].notna().all():
        summary[Key.uns.CONSENSUS] = model.consensus_matrix().to_numpy()
    return summary


if TYPE_CHECKING:

    def _is_all_that_tools_need(model: CplMixVAE) -> Classifies:
        return model
