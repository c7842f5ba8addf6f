"""What was done, as JSON."""

from __future__ import annotations

import argparse
import json
import math
import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from couplevi.cli._command import Result
from couplevi.cli._files import OUTPUTS, replace

if TYPE_CHECKING:
    from anndata import AnnData
    from mudata import MuData

PACKAGES = ("couplevi", "anndata", "mudata", "numpy", "scanpy", "scvi-tools", "torch")
MATRICES = ("obsm", "varm", "obsp", "layers", "uns")
NO_OPTIONS = ("command", "name", "kinds")


def slots(data: AnnData | MuData) -> dict[str, Any]:
    """All slots by name, spelled as in the guide, with what is in them."""
    places = (
        {"mdata": data, **{f'mdata["{m}"]': adata for m, adata in data.mod.items()}}
        if hasattr(data, "mod")
        else {"adata": data}
    )
    return dict(_slots(places))


def _slots(places: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, data in places.items():
        for column in data.obs:
            yield f'{name}.obs["{column}"]', data.obs[column]
        for attribute in MATRICES:
            for key, value in (getattr(data, attribute, None) or {}).items():  # a MuData has no layers
                if key is not None:  # X, which anndata 0.13 has among the layers
                    yield f'{name}.{attribute}["{key}"]', value


def new_slots(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Names of slots that are new or hold something else; not those of scvi-tools."""

    def same(name: str) -> bool:
        if name not in before:
            return False
        return before[name] is after[name] or (".obs[" in name and bool(before[name].equals(after[name])))

    return sorted(name for name in after if '["_scvi' not in name and not same(name))


def shapes(data: AnnData | MuData) -> dict[str, list[int]]:
    """Cells and features of the data, and of each modality."""
    parts = {f'mdata["{m}"]': adata.shape for m, adata in data.mod.items()} if hasattr(data, "mod") else {}
    return {name: list(shape) for name, shape in {"mdata" if parts else "adata": data.shape, **parts}.items()}


def write_summary(path: Path, arguments: argparse.Namespace, content: Mapping[str, Any], result: Result) -> None:
    """Write what was asked and done, with the same keys whatever the subcommand."""
    options = {name: value for name, value in sorted(vars(arguments).items()) if name not in NO_OPTIONS}
    files = {name: options[name] for name in OUTPUTS if options.get(name) is not None}
    history = getattr(result.model, "history", None) or {}
    summary = {
        "format": 1,
        "command": arguments.name,
        "options": options,
        "versions": {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}},
        "files": files,
        **content,
        "losses": {name: float(frame.iloc[-1, 0]) for name, frame in history.items()},
        "metrics": [] if result.metrics is None else result.metrics.to_dict("records"),
    }
    text = json.dumps(_plain(summary), indent=2, allow_nan=False, ensure_ascii=False)
    replace(path, lambda temporary: temporary.write_text(f"{text}\n", encoding="utf-8"))


def _plain(value: Any) -> Any:
    """Values that JSON holds: paths as texts, and null for numbers that are not finite."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value
