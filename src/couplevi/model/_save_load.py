from __future__ import annotations

import copy
import os
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, Self

import anndata
import mudata
import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from mudata import MuData
from scvi.data._constants import _SETUP_METHOD_NAME
from scvi.model._utils import parse_device_args
from scvi.model.base._constants import SAVE_KEYS

from couplevi._validate import expected

DATA_FRAME = "data_frame"
DATA_FILES = {MuData: SAVE_KEYS.MDATA_FNAME, AnnData: SAVE_KEYS.ADATA_FNAME}


class SaveLoadMixin:
    """Writes a model as tensors, numbers, strings and lists, and reads nothing else.

    A file from an untrusted source cannot run code: it is opened with ``weights_only``. A model offers
    ``_from_attributes``, which builds it from what was saved of it.
    """

    module: torch.nn.Module
    adata: Any
    to_device: Callable[..., None]
    _from_attributes: Callable[..., Self]
    var_names_: dict[str, Sequence[str]]

    def save(
        self,
        dir_path: str | os.PathLike[str],
        prefix: str | None = None,
        overwrite: bool = False,
        save_anndata: bool = False,
        **anndata_write_kwargs: Any,
    ) -> None:
        """Save the model; an existing file is replaced only after the new one is complete.

        Parameters
        ----------
        dir_path
            Folder; it is created.
        prefix
            Prepended to the file names.
        overwrite
            Allow an existing folder.
        save_anndata
            Write the data beside the model, as ``mdata.h5mu`` or ``adata.h5ad``.
        **anndata_write_kwargs
            Arguments of their ``write``.

        Raises
        ------
        ValueError
            If the folder exists and `overwrite` is False.
        """
        folder = Path(dir_path)
        if folder.exists() and not overwrite:
            raise ValueError(expected("a new folder", f"{str(folder)!r}, which exists", "Pass `overwrite=True`."))
        folder.mkdir(parents=True, exist_ok=True)
        attributes = {name: value for name, value in vars(self).items() if name.endswith("_") and name[0] != "_"}
        state = {
            SAVE_KEYS.MODEL_STATE_DICT_KEY: dict(self.module.state_dict()),
            SAVE_KEYS.VAR_NAMES_KEY: to_plain(self.var_names_),
            SAVE_KEYS.ATTR_DICT_KEY: to_plain(attributes),
        }
        paths = {kind: folder / f"{prefix or ''}{name}" for kind, name in DATA_FILES.items()}
        if save_anndata:
            path = paths.pop(type(self.adata))
            _replace(path, lambda temporary: self.adata.write(temporary, **anndata_write_kwargs))
        for path in paths.values():
            path.unlink(missing_ok=True)  # another model's data
        _replace(folder / f"{prefix or ''}{SAVE_KEYS.MODEL_FNAME}", lambda temporary: torch.save(state, temporary))

    @classmethod
    def load(
        cls,
        dir_path: str | os.PathLike[str],
        adata: AnnData | MuData | bool | None = None,
        accelerator: str = "auto",
        device: int | str = "auto",
        prefix: str | None = None,
    ) -> Self:
        """Load a saved model.

        Parameters
        ----------
        dir_path
            Folder given to :meth:`save`.
        adata
            Data with the registered values; None takes those saved with the model, False none: the model then applies
            to whatever it is given.
        accelerator, device
            Where to put the model, see :class:`lightning.pytorch.Trainer`.
        prefix
            Prefix given to :meth:`save`.

        Returns
        -------
        The model, in evaluation mode.

        Raises
        ------
        FileNotFoundError
            If there is no model.
        ValueError
            If the file is not a model of this class, or holds anything but tensors, numbers, strings and lists.
        """
        _, _, target = parse_device_args(
            accelerator=accelerator, devices=device, return_device="torch", validate_single_device=True
        )
        state = read_model_file(dir_path, prefix)
        attributes = from_plain(state[SAVE_KEYS.ATTR_DICT_KEY])
        registry = attributes.pop("registry_")
        if registry["model_name"] != cls.__name__:
            raise ValueError(expected(f"a {cls.__name__} model", f"a {registry['model_name']} model"))
        if adata is None:
            adata = _read_saved_data(dir_path, prefix)
        if adata is False:
            adata = None
        else:
            setup = getattr(cls, registry[_SETUP_METHOD_NAME])
            setup(adata, source_registry=registry, **registry["setup_args"])
        model = cls._from_attributes(adata, registry, attributes)
        model.module.load_state_dict(state[SAVE_KEYS.MODEL_STATE_DICT_KEY])
        model.module.eval()
        model.to_device(target)
        return model

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A model with weights and settings of its own, for the same data; the trainer cannot be copied."""
        other = type(self).__new__(type(self))
        memo[id(self)] = other
        shared = {"trainer", "_adata", "_adata_manager"}
        vars(other).update({n: v if n in shared else copy.deepcopy(v, memo) for n, v in vars(self).items()})
        return other

    @staticmethod
    def load_registry(dir_path: str | os.PathLike[str], prefix: str | None = None) -> dict[str, Any]:
        """Registry saved with a model: how its data were set up.

        Parameters
        ----------
        dir_path
            Folder given to :meth:`save`.
        prefix
            Prefix given to :meth:`save`.

        Returns
        -------
        Nested mapping of strings, as scvi-tools makes it.

        Raises
        ------
        FileNotFoundError, ValueError
            As :meth:`load`.
        """
        return read_model_file(dir_path, prefix)[SAVE_KEYS.ATTR_DICT_KEY]["registry_"]


def read_model_file(dir_path: str | os.PathLike[str], prefix: str | None = None) -> dict[str, Any]:
    """Content of a model file, opened with ``weights_only``."""
    path = Path(dir_path) / f"{prefix or ''}{SAVE_KEYS.MODEL_FNAME}"
    if not path.is_file():
        raise FileNotFoundError(
            expected(f"a saved model at {str(path)!r}", "no such file", "Write one with `model.save(folder)`.")
        )
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
    if not isinstance(state, dict) or SAVE_KEYS.ATTR_DICT_KEY not in state:
        raise ValueError(expected(f"{str(path)!r} to be a model saved by couplevi", "a file without its entries"))
    return state


def to_plain(value: Any) -> Any:
    """Tensors, numbers, strings, tuples, lists and dicts in place of arrays and data frames."""
    if is_dataclass(value) and not isinstance(value, type):
        return to_plain(asdict(value))
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
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
        if DATA_FRAME in value:
            return pd.DataFrame(value[DATA_FRAME], index=pd.Index(value["index"], name=value["index_name"]))
        return {key: from_plain(item) for key, item in value.items()}
    return value


def _replace(path: Path, write: Any) -> None:
    """Write to a temporary file beside `path` and move it there when it is complete."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".saving-") as folder:
        temporary = Path(folder) / path.name
        write(temporary)
        os.replace(temporary, path)


def _read_saved_data(dir_path: str | os.PathLike[str], prefix: str | None) -> AnnData | MuData | bool:
    for kind, read in ((MuData, mudata.read_h5mu), (AnnData, anndata.read_h5ad)):
        path = Path(dir_path) / f"{prefix or ''}{DATA_FILES[kind]}"
        if path.is_file():
            return read(path)
    warnings.warn(
        f"No data were saved in {str(dir_path)!r} and none were passed: the model is loaded without data. Pass "
        "`adata=False` if that is meant.",
        UserWarning,
        stacklevel=3,
    )
    return False
