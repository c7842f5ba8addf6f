"""Model files: tensors, numbers, strings, tuples, lists and dicts; nothing that could run code."""

from __future__ import annotations

import math
import os
import pickle
import re
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import anndata
import mudata
import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from mudata import MuData
from scvi.model.base._constants import SAVE_KEYS

from couplevi._constants import Registry
from couplevi._paths import user_path
from couplevi._validate import expected, warn
from couplevi.registry import registered_design

WEIGHTS, VAR_NAMES, ATTRIBUTES = (
    SAVE_KEYS.MODEL_STATE_DICT_KEY,
    SAVE_KEYS.VAR_NAMES_KEY,
    SAVE_KEYS.ATTR_DICT_KEY,
)
REGISTRY = "registry_"
FORMAT_KEY = "format"
FORMAT = 5
"""Number of the format that is written; files without one are of format 0."""

DATA_FRAME = "data_frame"
DATA_FILES = {MuData: SAVE_KEYS.MDATA_FNAME, AnnData: SAVE_KEYS.ADATA_FNAME}


def model_path(folder: str | os.PathLike[str], prefix: str | None) -> Path:
    """Path of the file of a model in its folder."""
    return user_path(folder) / f"{prefix or ''}{SAVE_KEYS.MODEL_FNAME}"


def data_paths(folder: str | os.PathLike[str], prefix: str | None) -> dict[type, Path]:
    """Paths of the data that may lie beside a model, by kind."""
    return {kind: user_path(folder) / f"{prefix or ''}{name}" for kind, name in DATA_FILES.items()}


def write_model_file(path: Path, weights: Mapping[str, torch.Tensor], attributes: Mapping[str, Any]) -> None:
    """Write a model in the current format; a file at `path` is replaced once the new one was read back.

    Raises
    ------
    TypeError
        If something would be written that is not read again.
    """
    state = {
        FORMAT_KEY: FORMAT,
        WEIGHTS: dict(weights),
        VAR_NAMES: to_plain(attributes["var_names_"]),
        ATTRIBUTES: to_plain(attributes),
    }

    def write(temporary: Path) -> None:
        torch.save(state, temporary)
        try:
            torch.load(temporary, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            what = "attributes of tensors, numbers, strings, lists and dicts"
            remedy = "Nothing was saved. Pass plain Python values as settings and at set-up."
            raise TypeError(expected(what, str(error).splitlines()[0], remedy)) from error

    replace_file(path, write)


def read_model_file(folder: str | os.PathLike[str], prefix: str | None = None) -> dict[str, Any]:
    """Content of a model file, opened with ``weights_only``, in the current format.

    Raises
    ------
    FileNotFoundError
        If there is no file.
    ValueError
        If it is not one of couplevi, or of a later format.
    """
    path = model_path(folder, prefix)
    if not path.is_file():
        remedy = "Write one with `model.save(folder)`, and name the same folder and prefix."
        raise FileNotFoundError(expected(f"a saved model at {str(path)!r}", "no such file", remedy))
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Detected pickle protocol")  # a plain pickle: refused below
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files raise almost anything
        raise ValueError(
            expected(
                f"{str(path)!r} to be a model saved by couplevi",
                "a damaged file, one that holds something else, or a pickle with objects in it",
                "It was not opened: pickles can run code. Only tensors, numbers, strings and lists are read.",
            )
        ) from error
    if not isinstance(state, dict) or ATTRIBUTES not in state:
        raise ValueError(expected(f"{str(path)!r} to be a model saved by couplevi", "a file without its entries"))
    number = state.get(FORMAT_KEY, 0)
    if number > FORMAT:
        raise ValueError(expected(f"a file of format {FORMAT} or lower", number, "Update couplevi to read it."))
    for upgrade in UPGRADES[number:]:
        upgrade(state)
    return state


def _from_0_to_1(state: dict[str, Any]) -> None:
    """Format 0 to 1: fields of links say what they link, and blocks of the networks have other names."""
    registry = state[ATTRIBUTES][REGISTRY]
    setup = registry["setup_args"]
    for kind in ("correspondence", "match"):
        keys = setup.get(f"{kind}_key")
        for pair in [tuple(setup["modalities"])] if isinstance(keys, str) else keys or {}:
            field = registry["field_registries"][Registry.links(kind, *pair)]
            field["state_registry"] |= {"kind": kind, "modalities": tuple(pair)}
    state[ATTRIBUTES]["ranges_"] = {}
    renamed = (
        (r"^preparations\.(\d+)\.", r"observations.\1.preparation."),
        (r"^decoders\.(\d+)\.head\.mean\.", r"decoders.\1.output."),
        (r"^arms\.(\d+)\.head\.zero_logits$", r"arms.\1.zero_logits"),
    )
    for old, new in renamed:
        state[WEIGHTS] = {re.sub(old, new, name): value for name, value in state[WEIGHTS].items()}


def _from_1_to_2(state: dict[str, Any]) -> None:
    """Format 1 to 2: JAMIE has no private latents, covariates or weights of pairs of modalities."""
    attributes, weights = state[ATTRIBUTES], state[WEIGHTS]
    if attributes[REGISTRY].get("model_name") != "JAMIE":
        return
    settings, n_modalities = attributes["settings_"], len(attributes["modalities_"])
    settings |= {"n_private": 0, "private_dropout_rate": 0.0}
    weights["pair_weights"] = torch.ones(n_modalities, n_modalities)
    weights["embedding.shared_map"] = torch.eye(settings["n_latent"])
    for i in range(n_modalities):
        weights[f"embedding.private_map_{i}"] = torch.eye(0)
        weights[f"embedding.expectation_{i}"] = torch.zeros(settings["n_latent"] + 1, 0)


def _from_2_to_3(state: dict[str, Any]) -> None:
    """Format 2 to 3: JAMIE measures intervals in each batch, and may be mapped to other data."""
    attributes, weights = state[ATTRIBUTES], state[WEIGHTS]
    if attributes[REGISTRY].get("model_name") != "JAMIE":
        return
    attributes["mapped_"] = False
    n_batches = len(registered_design(attributes[REGISTRY]).batches)
    for i, j in permutations(range(len(attributes["modalities_"])), 2):
        weights[f"batch_inflation_{i}_{j}"] = torch.full((n_batches,), math.nan)


def _from_3_to_4(state: dict[str, Any]) -> None:
    """Format 3 to 4: JAMIE has linear paths between modalities, here without a share, explains counts, and widths vary."""
    attributes, weights = state[ATTRIBUTES], state[WEIGHTS]
    if attributes[REGISTRY].get("model_name") != "JAMIE":
        return
    sizes = [len(weights[f"observations.{i}.preparation.mean"]) for i in range(len(attributes["modalities_"]))]
    for i, n in enumerate(sizes):
        sizes[i] = len(weights.get(f"observations.{i}.preparation.components", torch.empty(n, 0)))
    n_covariates = registered_design(attributes[REGISTRY]).width
    for i, (source, target) in enumerate(permutations(range(len(sizes)), 2)):
        n_vars = len(weights[f"observations.{target}.preparation.mean"])
        for path, n_out in ((f"linear_paths.{i}", sizes[target]), (f"widths.{i}.path", n_vars)):
            weights[f"{path}.weight"] = torch.zeros(n_out, sizes[source])
            weights[f"{path}.bias"] = torch.zeros(n_out)
            for side in ("source", "target"):
                weights[f"{path}.{side}_effects"] = torch.zeros(n_out, n_covariates)
            weights[f"{path}.share"] = torch.zeros(())
        weights[f"widths.{i}.path.bias"] += 1
        weights[f"widths.{i}.centre"], weights[f"widths.{i}.slope"] = torch.zeros(2, n_vars)
    weights["null_deviance"], weights["log_library"] = torch.ones(len(sizes)), torch.zeros(len(sizes), 2)


def _from_4_to_5(state: dict[str, Any]) -> None:
    """Format 4 to 5: CplMixVAE takes out how profiles were measured, here nothing, and may have labels."""
    attributes, weights = state[ATTRIBUTES], state[WEIGHTS]
    if attributes[REGISTRY].get("model_name") != "CplMixVAE":
        return
    attributes["labels_"] = []
    for i in range(len(attributes["modalities_"])):
        n = len(weights[f"observations.{i}.preparation.mean"])
        n_prepared = len(weights.get(f"observations.{i}.preparation.components", torch.empty(n, 0)))
        weights[f"measurements.{i}.mean"], weights[f"measurements.{i}.effects"] = (
            torch.zeros(1),
            torch.zeros(1, n_prepared),
        )


UPGRADES: tuple[Callable[[dict[str, Any]], None], ...] = (
    _from_0_to_1,
    _from_1_to_2,
    _from_2_to_3,
    _from_3_to_4,
    _from_4_to_5,
)
"""What turns the content of a file of format i into one of format i + 1, in place."""


def to_plain(value: Any) -> Any:
    """Tensors, numbers, strings, tuples, lists and dicts in place of arrays and data frames."""
    if is_dataclass(value) and not isinstance(value, type):
        return to_plain(asdict(value))
    if isinstance(value, Mapping):
        return {to_plain(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, pd.DataFrame):
        columns = {name: column.tolist() for name, column in value.items()}
        return {DATA_FRAME: columns, "index": value.index.tolist(), "index_name": value.index.name}
    if isinstance(value, np.ndarray | pd.Index):
        array = np.asarray(value)
        return torch.from_numpy(array.copy()) if array.dtype.kind in "fib" else [str(item) for item in array]
    if isinstance(value, tuple | list):
        return type(value)(to_plain(item) for item in value)
    return value.item() if isinstance(value, np.generic) else value


def from_plain(value: Any) -> Any:
    """Inverse of :func:`to_plain`, except that lists of strings stay lists."""
    if isinstance(value, torch.Tensor):
        return value.numpy()
    if isinstance(value, dict):
        if value.keys() == {DATA_FRAME, "index", "index_name"}:
            return pd.DataFrame(value[DATA_FRAME], index=pd.Index(value["index"], name=value["index_name"]))
        return {key: from_plain(item) for key, item in value.items()}
    return value


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Write to a temporary file beside `path` and move it there when it is complete."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".saving-") as folder:
        temporary = Path(folder) / path.name
        write(temporary)
        os.replace(temporary, path)


def read_saved_data(folder: str | os.PathLike[str], prefix: str | None) -> AnnData | MuData | None:
    """Data that were saved beside a model; None, with a warning, if there are none."""
    paths = data_paths(folder, prefix)
    for kind, read in ((MuData, mudata.read_h5mu), (AnnData, anndata.read_h5ad)):
        if paths[kind].is_file():
            return read(paths[kind])
    warn(
        f"No data were saved in {str(folder)!r} and none were passed: the model is loaded without data. Pass "
        "`adata=False` if that is meant.",
    )
    return None
