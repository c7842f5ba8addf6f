"""AnnData on disk that is filled row by row."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anndata as ad
import pandas as pd
import zarr

from couplevi._paths import user_path
from couplevi._validate import expected

ENCODING: dict[str, Any] = {"encoding-type": "array", "encoding-version": "0.2.0"}


@contextmanager
def imputation_store(
    path: Path, obs: pd.DataFrame, var: pd.DataFrame, n_rows: int, return_sd: bool
) -> Iterator[tuple[Any, Any]]:
    """Arrays ``X`` and, if asked for, ``layers["sd"]`` to write into; the store is at `path` once all is written.

    Raises
    ------
    FileExistsError
        If there is something at `path`.
    """
    path = user_path(path)
    if path.exists():
        raise FileExistsError(expected(f"nothing at {str(path)!r}", "a file or folder", "Choose another name."))
    unfinished = path.with_name(path.name + ".part")
    try:
        group = zarr.open_group(unfinished, mode="w")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="zarr v3 autosharding")  # of anndata, about itself
            ad.io.write_elem(group, "/", ad.AnnData(obs=obs, var=var))
        shape = (len(obs), len(var))
        options: dict[str, Any] = {"shape": shape, "chunks": (max(1, min(n_rows, shape[0])), shape[1])}
        names = ["X", "layers/sd"] if return_sd else ["X"]
        arrays = [
            group.create_array(name, attributes=ENCODING, dtype="float32", overwrite=True, **options) for name in names
        ]
        yield arrays[0], arrays[-1]
        unfinished.rename(path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
