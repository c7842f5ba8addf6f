"""couplevi: coupled variational inference for single-cell multimodal data.

Import it as ``cvi``; the namespaces load on first use.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

    from couplevi import correspondence, data, metrics, model, pl, pp, tl

__version__ = version("couplevi")
__all__ = ["correspondence", "data", "metrics", "model", "pl", "pp", "tl"]


def __getattr__(name: str) -> "ModuleType":
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
