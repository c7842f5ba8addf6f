from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from mudata import MuData

from couplevi._constants import Key
from couplevi._validate import check_slot, expected
from couplevi.model.cplmixvae import CplMixVAE
from couplevi.tl._fit import seeded, versions

if TYPE_CHECKING:
    from anndata import AnnData

    from couplevi._protocols import Classifies


def cplmixvae(
    data: AnnData | MuData,
    *,
    n_categories: int,
    modalities: Sequence[str] | None = None,
    layers: Mapping[str, str | None] | str | None = None,
    use_rep: Mapping[str, str] | str | None = None,
    correspondence_key: str | Mapping[tuple[str, str], str] | None = None,
    batch_key: str | None = None,
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
    correspondence_key
        Links of a MuData, see :meth:`~couplevi.model.CplMixVAE.setup_mudata`.
    batch_key
        Column of ``obs`` with the batch of each cell, see :meth:`~couplevi.model.CplMixVAE.setup_anndata`.
    key_added
        Name of all slots that are written.
    seed
        Reproduces the result on the same machine with the same number of threads, and leaves torch's random state as
        it was. None uses that state, which ``scvi.settings.seed`` sets. A process has one such state: of trainings in
        several threads at once none is reproduced, so give each a process of its own.
    train_kwargs
        Arguments of :meth:`~couplevi.model.CplMixVAE.train`.
    **model_kwargs
        Further settings, see :class:`~couplevi.model.MixtureSettings`.

    Returns
    -------
    The fitted model. Also writes, with K categories that were kept,

    - ``data.obs["cplmixvae_category"]``: categories as strings, ``"0"`` being the largest; missing for cells of a
      MuData with none of the modalities;
    - ``data.obs["cplmixvae_confidence"]``: their probability, in [1 / K, 1];
    - ``data.obsm["X_cplmixvae"]``: probabilities of all categories, mean over arms, shape ``(n_obs, K)``, float32;
    - ``data.obsm["X_cplmixvae_state"]``: state within the category, shape ``(n_obs, n_state)``, float32; of several
      modalities side by side, and by itself in ``data[m].obsm``;
    - ``data.uns["cplmixvae"]``: settings, versions, the consensus matrix and the history of pruning.

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
                batch_key=batch_key,
            )
        else:
            for name, superfluous in (("modalities", modalities), ("correspondence_key", correspondence_key)):
                if superfluous is not None:
                    raise ValueError(expected(f"no `{name}` for an AnnData", repr(superfluous), "Leave it out."))
            for name, given in (("layers", layers), ("use_rep", use_rep)):
                if given is not None and not isinstance(given, str):
                    raise TypeError(expected(f"`{name}` of an AnnData to be a name", repr(given)))
            CplMixVAE.setup_anndata(data, layer=layers, use_rep=use_rep, batch_key=batch_key)  # type: ignore[arg-type]
        model = CplMixVAE(data, n_categories, **model_kwargs)
        model.train(**(train_kwargs or {}))
    probabilities, categories = model.predict_probabilities(), model.predict()
    state = model.get_latent_representation()
    states = {m: model.get_latent_representation(modality=m) for m in model.modalities_} if modalities else {}
    summary = _summary(model)
    data.obs[Key.obs.category(key_added)] = categories
    data.obs[Key.obs.category_confidence(key_added)] = probabilities.max(axis=1)
    data.obsm[Key.obsm.latent(key_added)] = probabilities.to_numpy()
    data.obsm[Key.obsm.state(key_added)] = state
    for m, values in states.items():
        data[m].obsm[Key.obsm.state(key_added)] = values
    data.uns[key_added] = summary
    return model


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
