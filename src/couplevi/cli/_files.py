"""What is read and written: suffixes say the format, outputs are complete before they replace anything."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from couplevi._paths import user_path
from couplevi.cli._command import ANNDATA, MUDATA

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from mudata import MuData

SUFFIXES = {MUDATA: (".h5mu", ".zarr"), ANNDATA: (".h5ad", ".zarr")}
INPUTS = ("input", "config", "with_model", "training_data", "reference", "descriptions", "ontology")
LISTS = ("labels", "targets", "texts", "cells")
OUTPUTS = ("out", "csv", "genes", "model", "summary")
"""Options that name what is read, what may be a file of names, and what is written."""
STORE = {"zarr.json", ".zgroup"}
"""One of these is in every zarr store."""


def check_paths(arguments: argparse.Namespace) -> None:
    """Raise unless all outputs can be written, each to a place of its own that is no input."""
    check_suffix(arguments.input, arguments.kinds)
    given = {name: value for name, value in vars(arguments).items() if value is not None}
    taken = {given[name].resolve(): name for name in INPUTS if name in given}
    lists = {name: user_path(given[name]).resolve() for name in LISTS if name in given}
    taken |= {path: name for name, path in lists.items() if path.is_file()}
    for name in (*OUTPUTS, "checkpoint"):
        path = given.get(name)
        if path is None:
            continue
        _check_output(path, name)
        other = taken.get(path.resolve())
        if other == "input" and name == "out" and arguments.overwrite:
            other = None
        if other in OUTPUTS:
            raise ValueError(
                f"Expected two files for `--{other}` and `--{name}`, found {str(path)!r} twice. Rename one."
            )
        if other is not None:
            remedy = "Choose another name, or add `--overwrite`." if name == "out" else "Choose another name."
            raise ValueError(f"Expected `--{name}` to be no input, found {str(path)!r}, which is read. {remedy}")
        if name == "out":
            check_suffix(path, arguments.kinds)
        taken[path.resolve()] = name


def _check_output(path: Path, name: str) -> None:
    if name == "model":
        if path.is_file():
            raise ValueError(f"Expected a folder for the model, found a file {str(path)!r}. Choose another name.")
        return
    if not path.parent.is_dir():
        raise FileNotFoundError(f"Expected a folder {str(path.parent)!r} to write to, found none. Create it first.")
    if not path.is_dir():
        return
    kind = "a zarr store" if name == "out" and path.suffix == ".zarr" else "a file"
    inside = {file.name for file in path.iterdir()}
    if kind == "a file" or (inside and not inside & STORE):
        raise ValueError(f"Expected {kind} to write to, found a folder {str(path)!r}. Name a file in it.")


def check_suffix(path: Path, kinds: Sequence[str]) -> None:
    """Raise unless the suffix of a path is one of those of some kinds of data."""
    if not any(path.suffix in SUFFIXES[kind] for kind in kinds):
        known = " or ".join(f"{kind} ({' or '.join(SUFFIXES[kind])})" for kind in kinds)
        found = f"the suffix {path.suffix!r}" if path.suffix else "no suffix"
        raise ValueError(f"Expected {str(path)!r} to be {known}, found {found}. The suffix says the format: rename it.")


def read(path: Path, kinds: Sequence[str]) -> AnnData | MuData:
    """Data of one of these kinds."""
    check_suffix(path, kinds)
    kind = " or ".join(kinds)
    check_there(path, kind)
    if path.suffix == ".zarr" and path.is_file():
        raise ValueError(f"Expected {str(path)!r} to be a zarr store, found a file. Rename it if it is HDF5.")
    import anndata
    import mudata

    from couplevi._mudata import without_pulling

    readers: dict[str, Callable[[Path], Any]] = {
        ".h5mu": mudata.read_h5mu,
        ".h5ad": anndata.read_h5ad,
        ".zarr": mudata.read_zarr,
    }
    try:
        with without_pulling():
            data = readers[path.suffix](path)
    except Exception as error:  # what is raised for other files is of many kinds, one of them private
        raise unreadable(path, f"{kind} ({path.suffix})", error) from error
    found = kind_of(data)
    if found not in kinds:
        raise ValueError(f"Expected {kind} in {str(path)!r}, found {found}.")
    if found == MUDATA:
        data._axis = int(data.axis)  # mudata 0.4 leaves what HDF5 holds, and zarr writes no integer of numpy
    return data


def kind_of(data: AnnData | MuData) -> str:
    """Whether data are a MuData or an AnnData."""
    return MUDATA if hasattr(data, "mod") else ANNDATA


def check_there(path: Path, what: str) -> None:
    """Raise if there is nothing at a path."""
    if not path.exists():
        raise FileNotFoundError(f"Expected {what} at {str(path)!r}, found no such file.")


def unreadable(path: Path, kind: str, error: Exception) -> ValueError:
    """Error about a file that is not what its name says."""
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return ValueError(f"Expected {str(path)!r} to be {kind}, found a file that is not: {reason}")


def write(data: AnnData | MuData, path: Path) -> None:
    """Write data in the format of the suffix."""
    from couplevi._mudata import without_pulling

    def put(temporary: Path) -> None:
        with without_pulling(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*zarr v[23]")  # of anndata, about its own next release
            data.write_zarr(temporary) if path.suffix == ".zarr" else data.write(temporary)

    replace(path, put)


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV; with its index if that has a name."""
    replace(path, lambda temporary: table.to_csv(temporary, index=table.index.name is not None))


def replace(path: Path, put: Callable[[Path], object]) -> None:
    """Let `put` write beside a path, and move what it wrote there once it is complete."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as folder:
        temporary = Path(folder) / path.name
        put(temporary)
        if path.is_dir() or temporary.is_dir():  # a folder is not replaced in one step
            os.replace(path, Path(folder) / "replaced") if path.exists() else None
        os.replace(temporary, path)
    sys.stderr.write(f"couplevi: wrote {path}\n")
