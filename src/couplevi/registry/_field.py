from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scvi.data.fields import BaseAnnDataField

if TYPE_CHECKING:
    import rich.table


class Field(BaseAnnDataField):
    """What all fields share: they are never empty, and scvi-tools has no table to show of them.

    Parameters
    ----------
    registry_key
        Name in the registry.
    attr_key
        Key in the attribute of the data; None for ``X``.
    """

    is_empty = False

    def __init__(self, registry_key: str, attr_key: str | None) -> None:
        super().__init__()
        self._registry_key = registry_key
        self._attr_key = attr_key

    @property
    def registry_key(self) -> str:
        return self._registry_key

    @property
    def attr_key(self) -> str | None:
        return self._attr_key

    def view_state_registry(self, state_registry: dict[str, Any]) -> rich.table.Table | None:
        return None
