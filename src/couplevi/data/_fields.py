"""A registry field for pairwise matrices, which scvi-tools lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scvi.data.fields import BaseAnnDataField

from couplevi._constants import Registry
from couplevi.data._bipartite import registered_links

if TYPE_CHECKING:
    import rich.table
    import scipy.sparse as sp
    from mudata import MuData


class MuDataObspField(BaseAnnDataField):
    """Links between two modalities in ``mdata.obsp``.

    The matrix never passes through a data loader: it is read once, as ``(n_a, n_b)`` CSR, by
    :func:`~couplevi.data.registered_links`.

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
    is_empty = False

    def __init__(self, kind: str, attr_key: str, modalities: tuple[str, str]) -> None:
        super().__init__()
        self._registry_key = Registry.links(kind, *modalities)
        self._attr_key = attr_key
        self._modalities = modalities

    @property
    def registry_key(self) -> str:
        return self._registry_key

    @property
    def attr_key(self) -> str:
        return self._attr_key

    def read(self, mdata: MuData) -> sp.csr_array:
        """Checked links between the profiles of the two modalities, shape ``(n_a, n_b)``."""
        return registered_links(mdata, self._attr_key, *self._modalities)

    def validate_field(self, adata: MuData) -> None:
        self.read(adata)

    def register_field(self, adata: MuData) -> dict[str, Any]:
        return {"n_links": int(self.read(adata).nnz)}

    def transfer_field(self, state_registry: dict[str, Any], adata_target: MuData, **kwargs: Any) -> dict[str, Any]:
        return self.register_field(adata_target) if self._attr_key in adata_target.obsp else {"n_links": 0}

    def get_summary_stats(self, state_registry: dict[str, Any]) -> dict[str, int]:
        return {f"n_links_{self._registry_key}": state_registry["n_links"]}

    def view_state_registry(self, state_registry: dict[str, Any]) -> rich.table.Table | None:
        return None
