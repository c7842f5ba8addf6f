"""What of the data is registered with scvi-tools: values of modalities, and links, for which it has no field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, TypeAlias

from mudata import MuData

from couplevi._constants import Registry
from couplevi._validate import check_var_names, expected
from couplevi.registry._field import Field
from couplevi.registry._links import written_links
from couplevi.registry._places import stored, where_is

if TYPE_CHECKING:
    import scipy.sparse as sp
    from anndata import AnnData

    from couplevi._types import ModalityPair

Keys: TypeAlias = str | Mapping[tuple[str, str], str] | None
"""Keys of links in ``mdata.obsp``: of the one pair of two modalities, or of each pair; None for links by name."""


class ValuesField(Field):
    """Values of a modality: ``X``, a layer, or a representation.

    Features are known by name, so that other data may have them in another order, or more of them.

    Parameters
    ----------
    modality
        Modality whose values these are.
    attribute, key
        Where they are: ``"X"`` and None, ``"layers"`` or ``"obsm"`` and the key there.
    mod_key
        Modality of a MuData that has them; None for an AnnData.
    """

    def __init__(self, modality: str, attribute: str, key: str | None, mod_key: str | None = None) -> None:
        super().__init__(Registry.values(modality), key)
        self._modality = modality
        self._attr_name = attribute
        self._mod_key = mod_key

    @property
    def attr_name(self) -> str:
        return self._attr_name

    @property
    def mod_key(self) -> str | None:
        return self._mod_key

    def validate_field(self, adata: AnnData | MuData) -> None:
        self.register_field(adata)

    def register_field(self, adata: AnnData | MuData) -> dict[str, Any]:
        profiles = adata if self._mod_key is None else adata[self._mod_key]
        names, values = stored(profiles, self._attr_name, self._attr_key)
        check_var_names(names, where_is(self._modality, self._attr_name, self._attr_key))
        return {"n_obs": values.shape[0], "n_vars": values.shape[1], "column_names": names.to_list()}

    def transfer_field(
        self, state_registry: dict[str, Any], adata_target: AnnData | MuData, **kwargs: Any
    ) -> dict[str, Any]:
        return self.register_field(adata_target)

    def get_summary_stats(self, state_registry: dict[str, Any]) -> dict[str, int]:
        return {f"n_{self._registry_key}": state_registry["n_vars"]}


class MuDataObspField(Field):
    """Links between two modalities in ``mdata.obsp``.

    The matrix never passes through a data loader. Set-up reads it to check it; :class:`Registered` reads, and so checks,
    it again when it is used, as matrices in ``obsp`` may change in between.

    Parameters
    ----------
    kind
        ``"correspondence"`` (given links) or ``"match"`` (inferred links).
    attr_key
        Key in ``mdata.obsp``.
    modalities
        Modality of the rows and modality of the columns.
    """

    attr_name = "obsp"

    def __init__(self, kind: str, attr_key: str, modalities: tuple[str, str]) -> None:
        super().__init__(Registry.links(kind, *modalities), attr_key)
        self._key = attr_key
        self._kind = kind
        self._modalities = modalities

    def read(self, mdata: MuData) -> sp.csr_array:
        """Checked links between the profiles of the two modalities, shape ``(n_a, n_b)``."""
        return written_links(mdata, self._key, *self._modalities)

    def validate_field(self, adata: MuData) -> None:
        self.read(adata)

    def register_field(self, adata: MuData) -> dict[str, Any]:
        return self._state(int(self.read(adata).nnz))

    def transfer_field(self, state_registry: dict[str, Any], adata_target: MuData, **kwargs: Any) -> dict[str, Any]:
        return self.register_field(adata_target) if self._key in adata_target.obsp else self._state(0)

    def _state(self, n_links: int) -> dict[str, Any]:
        return {"kind": self._kind, "modalities": self._modalities, "n_links": n_links}

    def get_summary_stats(self, state_registry: dict[str, Any]) -> dict[str, int]:
        return {f"n_links_{self._registry_key}": state_registry["n_links"]}


def completed(registry: dict[str, Any], of_model: Mapping[str, Any]) -> dict[str, Any]:
    """Registry of data with the fields of a model that they lack."""
    return {**registry, "field_registries": {**of_model["field_registries"], **registry["field_registries"]}}


def registered_keys(registry: Mapping[str, Any], kind: str) -> dict[ModalityPair, str]:
    """Keys in ``mdata.obsp`` of the links of a kind that were registered, by (rows, columns)."""
    found = {}
    for field in registry["field_registries"].values():
        state = field["state_registry"]
        if state.get("kind") == kind:
            a, b = state["modalities"]
            found[a, b] = field["data_registry"]["attr_key"]
    return found


def link_fields(modalities: Sequence[str], keys: Keys, kind: str) -> list[MuDataObspField]:
    """Fields of the links of a kind; a single key stands for the one pair of two modalities."""
    name = f"{kind}_key"
    if keys is None:
        return []
    if isinstance(keys, str):
        if len(modalities) != 2:
            raise ValueError(
                expected(
                    f"`{name}` to map pairs of modalities to keys when there are {len(modalities)} modalities",
                    repr(keys),
                    f"For example {{({modalities[0]!r}, {modalities[1]!r}): {keys!r}}}; what it leaves out is by name.",
                )
            )
        return [MuDataObspField(kind, keys, (modalities[0], modalities[1]))]
    possible = [set(pair) for pair in combinations(modalities, 2)]
    for pair, key in keys.items():
        if set(pair) not in possible or not isinstance(key, str):
            found = f"{pair!r}: {key!r}"
            raise ValueError(expected(f"`{name}` to map pairs of {list(modalities)} to keys in `mdata.obsp`", found))
    return [MuDataObspField(kind, key, (a, b)) for (a, b), key in keys.items()]
