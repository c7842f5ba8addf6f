"""Set-up: what is checked, registered, and warned about before a model is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scvi.data import AnnDataManager, AnnDataManagerValidationCheck

from couplevi._constants import CORRESPONDENCE, SINGLE
from couplevi._validate import (
    check_modalities,
    check_mudata,
    check_obs_names,
    check_slot,
    check_texts,
    check_var_names,
    expected,
    listing,
    warn,
    warn_generic_names,
)
from couplevi.registry._columns import column_fields
from couplevi.registry._covariates import covariate_fields
from couplevi.registry._fields import ValuesField, link_fields, registered_keys
from couplevi.registry._links import links_by_name
from couplevi.registry._places import value_places

if TYPE_CHECKING:
    from mudata import MuData

    from couplevi.registry._fields import Keys


def coupled_manager(
    mdata: MuData,
    setup_method_args: dict[str, Any],
    *,
    modalities: Sequence[str],
    layers: Mapping[str, str | None] | None,
    use_rep: Mapping[str, str] | None,
    correspondence_key: Keys,
    match_key: Keys = None,
    batch_key: str | None = None,
    categorical_covariate_keys: Sequence[str] | None = None,
    continuous_covariate_keys: Sequence[str] | None = None,
    columns: Mapping[str, str | None] | None = None,
    fewest: int = 2,
    **kwargs: Any,
) -> AnnDataManager:
    """Manager of `fewest` or more modalities, the links between them, and columns by their role, all of it checked.

    Links that may not be what the user thinks are warned about, unless a set-up is repeated for other data.
    """
    setup_method_args, modalities, layers, use_rep, correspondence_key, match_key = _plain(
        (setup_method_args, modalities, layers, use_rep, correspondence_key, match_key)
    )
    batch_key, categorical_covariate_keys, continuous_covariate_keys, columns = _plain(
        (batch_key, categorical_covariate_keys, continuous_covariate_keys, columns or {})
    )
    links: dict[str, Keys] = {"correspondence": correspondence_key, "match": match_key}
    if repeated := "source_registry" in kwargs:  # for other data, which may lack modalities
        present = [m for m in modalities if m in check_mudata(mdata).mod] or list(modalities)
        layers = {m: layer for m, layer in (layers or {}).items() if m in present}
        use_rep = {m: rep for m, rep in (use_rep or {}).items() if m in present}
        if len(present) < len(modalities):
            links = {kind: _between(keys, present) for kind, keys in links.items()}
        modalities = present
    names = _check_mudata_setup(mdata, modalities, fewest=1 if repeated else fewest)
    values = [ValuesField(m, *place, mod_key=m) for m, place in value_places(mdata, names, layers, use_rep).items()]
    fields = [field for kind, keys in links.items() for field in link_fields(names, keys, kind)]
    covariates = covariate_fields(batch_key, categorical_covariate_keys, continuous_covariate_keys, sorted(names))
    manager = AnnDataManager(
        fields=[*values, *fields, *covariates, *column_fields(columns)],
        setup_method_args=setup_method_args,
        validation_checks=AnnDataManagerValidationCheck(check_fully_paired_mudata=False),
    )
    manager.register_fields(mdata, **kwargs)
    if not repeated and len(names) > 1:
        _warn_about_links(mdata, names, manager.registry)
    return manager


def _between(keys: Keys, modalities: Sequence[str]) -> Keys:
    """Keys of links between some of the modalities."""
    if not isinstance(keys, Mapping):
        return None  # that of the one pair of two modalities
    return {pair: key for pair, key in keys.items() if set(pair) <= set(modalities)}


def single_manager(
    adata: AnnData,
    setup_method_args: dict[str, Any],
    *,
    layer: str | None,
    use_rep: str | None,
    batch_key: str | None = None,
    columns: Mapping[str, str | None] | None = None,
    **kwargs: Any,
) -> AnnDataManager:
    """Manager of the values of an AnnData, and of columns of labels by their role, all of it checked."""
    setup_method_args, layer, use_rep, batch_key, columns = _plain(
        (setup_method_args, layer, use_rep, batch_key, columns or {})
    )
    _check_anndata_setup(adata)
    layers, reps = {SINGLE: layer}, {} if use_rep is None else {SINGLE: use_rep}
    [place] = value_places({SINGLE: adata}, [SINGLE], layers, reps).values()
    fields = [
        ValuesField(SINGLE, *place),
        *column_fields(columns),
        *covariate_fields(batch_key, None, None, [SINGLE]),
    ]
    manager = AnnDataManager(fields=fields, setup_method_args=setup_method_args)
    manager.register_fields(adata, **kwargs)
    return manager


def _check_mudata_setup(mdata: MuData, modalities: Sequence[str], fewest: int) -> tuple[str, ...]:
    """Raise unless `mdata` is a MuData, not a view, with distinct names in these modalities."""
    check_mudata(mdata)
    if mdata.is_view:
        raise ValueError(expected("a MuData of its own", "a view of another one", "Pass `mdata[...].copy()`."))
    names = check_modalities(mdata, modalities, fewest)
    check_obs_names(mdata, names)
    for m in names:
        check_slot(m, "modalities")
        if "." in m:
            raise ValueError(expected("names of modalities without a dot, which scvi-tools cannot register", repr(m)))
        if mdata[m].is_view:
            remedy = f"Build the MuData from `{m}.copy()`."
            raise ValueError(expected(f"an AnnData of its own as modality {m!r}", "a view of another one", remedy))
        check_var_names(mdata[m].var_names, f"`mdata[{m!r}]`")
        if mdata[m].n_obs < 2:
            raise ValueError(expected(f"at least two cells in modality {m!r}", mdata[m].n_obs))
    return names


def _check_anndata_setup(adata: AnnData) -> None:
    """Raise unless `adata` is an AnnData, not a view, with distinct names and at least two cells."""
    if not isinstance(adata, AnnData):
        remedy = "For a MuData call `setup_mudata`."
        raise TypeError(expected("an AnnData", f"{type(adata).__module__}.{type(adata).__name__}", remedy))
    if adata.is_view:
        raise ValueError(expected("an AnnData of its own", "a view of another one", "Pass `adata[...].copy()`."))
    for names, what in ((adata.obs_names, "cell"), (adata.var_names, "feature")):
        check_texts(names, f"names of {what}s")
        if not names.is_unique:
            double = listing(names[names.duplicated()].unique(), 3)
            raise ValueError(expected(f"each {what} once", f"{double} more than once", "Rename them."))
    if adata.n_obs < 2:
        raise ValueError(expected("at least two cells", adata.n_obs))


def _plain(value: Any) -> Any:
    """Plain texts in place of numpy's, which come from iterating an array, and tuples in place of arrays."""
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | pd.Index):
        return tuple(_plain(item) for item in value)
    if isinstance(value, tuple | list):
        return type(value)(_plain(item) for item in value)
    return str(value) if isinstance(value, np.str_) else value


def _warn_about_links(mdata: MuData, modalities: Sequence[str], registry: Mapping[str, Any]) -> None:
    """Warn where links may not be what the user thinks: ignored ones, accidental ones, or none."""
    keys = registered_keys(registry, "correspondence")
    if not keys and CORRESPONDENCE in mdata.obsp:
        warn(
            f"`mdata.obsp[{CORRESPONDENCE!r}]` exists but is not used: profiles are linked by cell name. Pass "
            f"`correspondence_key={CORRESPONDENCE!r}` to use it; JAE links by name alone.",
        )
    if not keys:
        warn_generic_names(mdata, modalities)
    given = {frozenset(pair) for pair in keys}
    by_name = [pair for pair in combinations(modalities, 2) if frozenset(pair) not in given]
    n_written = sum(field["state_registry"].get("n_links", 0) for field in registry["field_registries"].values())
    if not n_written and not any(links_by_name(mdata, *pair).nnz for pair in by_name):
        warn(
            f"No profile of {list(modalities)} is linked to one of another modality. Each modality will have a latent "
            "of its own, and nothing ties them together. Give the cells that were measured twice the same name; JAMIE and "
            "CplMixVAE also take links of `cvi.pp.link`, and JAMIE those inferred by `cvi.tl.match` as `match_key`.",
        )
