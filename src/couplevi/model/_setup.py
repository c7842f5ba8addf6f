"""What set-up checks before anything is registered."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from anndata import AnnData
from scvi.data.fields import MuDataLayerField, MuDataObsmField

from couplevi._constants import CORRESPONDENCE, Registry
from couplevi._validate import (
    check_modalities,
    check_mudata,
    check_obs_names,
    check_var_names,
    expected,
    listing,
    warn_generic_names,
)
from couplevi.data import links_by_name, registered_links, value_places

if TYPE_CHECKING:
    import scipy.sparse as sp
    from mudata import MuData
    from scvi.data.fields import BaseAnnDataField

    from couplevi._types import ModalityPair

Keys = str | Mapping[tuple[str, str], str] | None


def check_setup(mdata: MuData, modalities: Sequence[str]) -> tuple[str, ...]:
    """Raise unless `mdata` is a MuData, not a view, with distinct names in these modalities."""
    check_mudata(mdata)
    if mdata.is_view:
        raise ValueError(expected("a MuData of its own", "a view of another one", "Pass `mdata[...].copy()`."))
    names = check_modalities(mdata, modalities)
    check_obs_names(mdata, names)
    for m in names:
        if "." in m:
            raise ValueError(expected("names of modalities without a dot, which scvi-tools cannot register", repr(m)))
        if mdata[m].is_view:
            remedy = f"Build the MuData from `{m}.copy()`."
            raise ValueError(expected(f"an AnnData of its own as modality {m!r}", "a view of another one", remedy))
        check_var_names(mdata[m].var_names, f"`mdata[{m!r}]`")
        if mdata[m].n_obs < 2:
            raise ValueError(expected(f"at least two cells in modality {m!r}", mdata[m].n_obs))
    return names


def check_anndata_setup(adata: AnnData) -> None:
    """Raise unless `adata` is an AnnData, not a view, with distinct names and at least two cells."""
    if not isinstance(adata, AnnData):
        remedy = "For a MuData call `setup_mudata`."
        raise TypeError(expected("an AnnData", f"{type(adata).__module__}.{type(adata).__name__}", remedy))
    if adata.is_view:
        raise ValueError(expected("an AnnData of its own", "a view of another one", "Pass `adata[...].copy()`."))
    for names, what in ((adata.obs_names, "cell"), (adata.var_names, "feature")):
        if not names.is_unique:
            double = listing(names[names.duplicated()].unique(), 3)
            raise ValueError(expected(f"each {what} once", f"{double} more than once", "Rename them."))
    if adata.n_obs < 2:
        raise ValueError(expected("at least two cells", adata.n_obs))


def value_fields(
    mdata: MuData,
    modalities: Sequence[str],
    layers: Mapping[str, str | None] | None,
    use_rep: Mapping[str, str] | None,
) -> list[BaseAnnDataField]:
    """Fields of the values of each modality, all of them checked."""
    fields = []
    for m, (attribute, key) in value_places(mdata, modalities, layers, use_rep).items():
        field = MuDataObsmField if attribute == "obsm" else MuDataLayerField
        options = {"is_count_data": False, "correct_data_format": False, "mod_key": m, "mod_required": True}
        fields.append(field(Registry.values(m), key, **options))
    return fields


def link_keys(modalities: Sequence[str], keys: Keys, name: str) -> dict[ModalityPair, str]:
    """Keys in ``mdata.obsp`` by (rows, columns); a single string stands for the one pair of two modalities."""
    if keys is None:
        return {}
    if isinstance(keys, str):
        if len(modalities) != 2:
            raise ValueError(
                expected(
                    f"`{name}` to map pairs of modalities to keys when there are {len(modalities)} modalities",
                    repr(keys),
                    f"For example {{({modalities[0]!r}, {modalities[1]!r}): {keys!r}}}; what it leaves out is by name.",
                )
            )
        return {(modalities[0], modalities[1]): keys}
    possible = [set(pair) for pair in combinations(modalities, 2)]
    for pair, key in keys.items():
        if set(pair) not in possible or not isinstance(key, str):
            found = f"{pair!r}: {key!r}"
            raise ValueError(expected(f"`{name}` to map pairs of {list(modalities)} to keys in `mdata.obsp`", found))
    return dict(keys)


def links_between(
    mdata: MuData, modalities: Sequence[str], keys: Mapping[ModalityPair, str], *, by_name: bool = True
) -> dict[ModalityPair, sp.csr_array]:
    """Links of each pair of modalities, in alphabetical order of the names.

    A pair without a key, or whose key the MuData lacks, is linked `by_name` or left out.
    """
    links = {}
    for a, b in combinations(sorted(modalities), 2):
        if (a, b) in keys and keys[a, b] in mdata.obsp:
            links[a, b] = registered_links(mdata, keys[a, b], a, b)
        elif (b, a) in keys and keys[b, a] in mdata.obsp:
            links[a, b] = registered_links(mdata, keys[b, a], b, a).T.tocsr()
        elif by_name:
            links[a, b] = links_by_name(mdata, a, b)
    return links


def warn_about_links(
    mdata: MuData,
    modalities: Sequence[str],
    keys: Mapping[ModalityPair, str],
    matches: Mapping[ModalityPair, str],
) -> None:
    """Warn where links may not be what the user thinks: ignored ones, accidental ones, or none."""
    if not keys and CORRESPONDENCE in mdata.obsp:
        warnings.warn(
            f"`mdata.obsp[{CORRESPONDENCE!r}]` exists but is not used: profiles are linked by cell name. Pass "
            f"`correspondence_key={CORRESPONDENCE!r}` to use it.",
            UserWarning,
            stacklevel=3,
        )
    if not keys:
        warn_generic_names(mdata, modalities)
    given = links_between(mdata, modalities, keys), links_between(mdata, modalities, matches, by_name=False)
    if not any(matrix.nnz for links in given for matrix in links.values()):
        warnings.warn(
            f"No profile of {list(modalities)} is linked to one of another modality. Each modality will have a latent "
            "of its own, and nothing ties them together. Give the cells that were measured twice the same name, or "
            "link profiles with `cvi.pp.link`; JAMIE also takes links inferred by `cvi.tl.match` as `match_key`.",
            UserWarning,
            stacklevel=3,
        )
