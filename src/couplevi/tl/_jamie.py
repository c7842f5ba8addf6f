from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from couplevi._constants import Key
from couplevi._docs import fill_docs
from couplevi._validate import check_modalities, check_mudata, check_obs_names, check_option, check_slot
from couplevi.model.jamie import JAMIE
from couplevi.registry import links_by_name, written_links
from couplevi.tl._fit import seeded
from couplevi.tl._match import BY_NAME, FEWEST_ANCHORS
from couplevi.tl._match import match as infer
from couplevi.tl._write_jamie import write_jamie

if TYPE_CHECKING:
    from mudata import MuData

    from couplevi._protocols import EmbedsRoutes, Scored
    from couplevi._types import PresetName
    from couplevi.model.jamie import Settings


MAX_PROFILES = 20_000
"""Profiles of a modality up to which links are inferred without being asked for."""
FEW_KNOWN, MOST_KNOWN = 200, 0.4
"""Number of profiles with a link, and share of those of the smaller modality, up to which further links are inferred:
with more, a model does as well or better by those that are known."""


@fill_docs
def jamie(
    mdata: MuData,
    *,
    modalities: Sequence[str],
    layers: Mapping[str, str | None] | None = None,
    use_rep: Mapping[str, str] | None = None,
    correspondence_key: str | Mapping[tuple[str, str], str] | None = None,
    match_key: str | Mapping[tuple[str, str], str] | None = None,
    match: Literal["auto"] | None = "auto",
    batch_key: str | None = None,
    categorical_covariate_keys: Sequence[str] | None = None,
    continuous_covariate_keys: Sequence[str] | None = None,
    preset: PresetName | Settings = "default",
    n_latent: int = 32,
    key_added: str = "jamie",
    seed: int | None = None,
    train_kwargs: Mapping[str, Any] | None = None,
    **model_kwargs: Any,
) -> JAMIE:
    """Set up, train and apply :class:`~couplevi.model.JAMIE` in one call.

    Parameters
    ----------
    mdata
        MuData whose rows of the same name are the same cell; cells may lack modalities.
    %(coupled_values)s
    %(correspondence_key)s
    %(match_key)s
    match
        ``"auto"`` infers links between profiles without one, as :func:`couplevi.tl.match` does from those that are
        known, and aligns by them: where `match_key` is None, at least 10 links of a pair of modalities are known, both
        have up to 20,000 profiles, some of them without a link, and at most 200, or 40 % of those of the smaller one,
        have one. None infers nothing.
    batch_key
        Column of ``mdata.obs``, or of the ``obs`` of the modalities, with the batch of each cell: a donor, a plate, a run.
        Latents are learned to hold less of it. With batches nothing is inferred.
    %(covariates)s
    %(jamie_preset)s
    n_latent
        Number of latent dimensions that modalities share.
    key_added
        Name of all slots that are written.
    %(seed)s
    train_kwargs
        Arguments of :meth:`~couplevi.model.JAMIE.train` by name, such as ``{"max_epochs": 50}``.
    **model_kwargs
        Fields of :class:`~couplevi.model.Settings` that replace those of the preset, such as `n_pcs` (50) and
        `likelihoods` (Gaussian; ``{"rna": "nb"}`` explains raw counts of that modality as such).

    Returns
    -------
    The fitted model. Also writes, all float32,

    - ``mdata[m].obsm["X_jamie"]``: mean latent of each profile, shape ``(n_m, n_latent)``;
    - ``mdata.obsm["X_jamie"]``: where each cell is, for neighbours and clusters: what modalities share, and what each
      alone knows, shape ``(n_obs, n_latent + n_private * n_modalities)``; NaN for cells with none of the modalities;
    - ``mdata.obsm["X_jamie_shared"]``: what modalities share alone, in the space of the profiles, shape
      ``(n_obs, n_latent)``. With ``n_private=0``, as in ``preset="paper"``, that is ``X_jamie``;
    - ``mdata.obsp["jamie_match"]`` and ``mdata.uns["jamie_match"]``: links that were inferred, if any, as
      :func:`couplevi.tl.match` writes them; ``"jamie_match_{a}_{b}"`` of more than two modalities;
    - ``mdata.uns["jamie"]``: settings, versions, losses, feature names, and keys of inferred links.

    Raises
    ------
    TypeError, KeyError, ValueError, NotImplementedError
        As :meth:`~couplevi.model.JAMIE.setup_mudata` and :class:`~couplevi.model.JAMIE`; nothing is written then.

    References
    ----------
    Cohen Kalafut, Huang and Wang, Joint variational autoencoders for multimodal imputation and embedding,
    Nature Machine Intelligence 2023.

    Examples
    --------
    >>> import couplevi as cvi
    >>> mdata = cvi.data.branching_manifold(n_obs=100)
    >>> quick = {"max_epochs": 2, "enable_progress_bar": False}
    >>> model = cvi.tl.jamie(mdata, modalities=("rna", "ephys"), layers={"rna": "log1p"}, seed=0, train_kwargs=quick)
    >>> mdata.obsm["X_jamie"].shape, mdata["rna"].obsm["X_jamie"].shape
    ((100, 64), (100, 32))
    """
    check_slot(key_added, "key_added")
    if match is not None:
        check_option(match, ["auto"], "match")
    infers = match == "auto" and match_key is None and batch_key is None
    with seeded(seed), _put_back(mdata, {"obsp": Key.obsp.match(key_added), "uns": Key.uns.match(key_added)}):
        inferred: dict[tuple[str, str], str] = {}
        if infers and all(isinstance(places, Mapping | None) for places in (layers, use_rep)):
            inferred = _inferred(mdata, modalities, layers, use_rep, correspondence_key, Key.obsp.match(key_added))
        JAMIE.setup_mudata(
            mdata,
            modalities=modalities,
            layers=layers,
            use_rep=use_rep,
            correspondence_key=correspondence_key,
            match_key=inferred or match_key,
            batch_key=batch_key,
            categorical_covariate_keys=categorical_covariate_keys,
            continuous_covariate_keys=continuous_covariate_keys,
        )
        model = JAMIE(mdata, preset, n_latent=n_latent, **model_kwargs)
        model.train(**(train_kwargs or {}))
    write_jamie(mdata, model, key_added, [str(m) for m in modalities], preset)
    mdata.uns[key_added][Key.uns.INFERRED] = list(inferred.values())
    return model


@contextmanager
def _put_back(mdata: MuData, keys: Mapping[str, str]) -> Iterator[None]:
    """Put back what was in the slots that start with these keys, by attribute, if the block fails."""
    stores = {name: getattr(mdata, name, {}) for name in keys}
    before = {name: {k: v for k, v in store.items() if k.startswith(keys[name])} for name, store in stores.items()}
    try:
        yield
    except BaseException:
        for name, store in stores.items():
            for key in [key for key in store if key.startswith(keys[name])]:
                del store[key]
            store.update(before[name])
        raise


def _inferred(
    mdata: MuData,
    modalities: Sequence[str],
    layers: Mapping[str, str | None] | None,
    use_rep: Mapping[str, str] | None,
    correspondence_key: str | Mapping[tuple[str, str], str] | None,
    key: str,
) -> dict[tuple[str, str], str]:
    """Infer links of each pair of modalities that has some and lacks others; their keys in ``mdata.obsp``."""
    names = check_modalities(check_mudata(mdata), modalities)
    check_obs_names(mdata, names)
    if isinstance(correspondence_key, str):
        correspondence_key = {(names[0], names[1]): correspondence_key} if len(names) == 2 else {}
    found = {}
    for a, b in combinations(names, 2):
        given = dict(correspondence_key or {})
        pair = (b, a) if (b, a) in given else (a, b)
        known = written_links(mdata, given[pair], *pair) if pair in given else links_by_name(mdata, *pair)
        links = given.get(pair, BY_NAME)
        if pair not in given or Key.uns.MODALITIES in mdata.uns.get(links, {}):
            pair = min(pair, pair[::-1])  # whatever the order in which modalities are named
        if known.nnz < FEWEST_ANCHORS or max(known.shape) > MAX_PROFILES:
            continue
        n_linked = [np.count_nonzero(known.max(axis=axis).toarray()) for axis in (1, 0)]
        unlinked = all(n < size for n, size in zip(n_linked, known.shape, strict=True))
        if unlinked and max(n_linked) <= max(FEW_KNOWN, MOST_KNOWN * min(known.shape)):
            found[pair] = key if len(names) == 2 else f"{key}_{pair[0]}_{pair[1]}"
            of_pair = {m: place for m, place in (layers or {}).items() if m in pair}
            reps = {m: place for m, place in (use_rep or {}).items() if m in pair}
            infer(mdata, modalities=pair, layers=of_pair, use_rep=reps, known=links, key_added=found[pair])
    return found


if TYPE_CHECKING:

    def _is_all_that_tools_need(model: JAMIE) -> tuple[Scored, EmbedsRoutes]:
        return model, model
