from __future__ import annotations

import copy
import os
from abc import abstractmethod
from functools import partial
from inspect import getattr_static
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self

import rich.pretty  # noqa: F401  scvi-tools 1.4.2 uses it in view_anndata_setup without importing it
from lightning.fabric.utilities.exceptions import MisconfigurationException
from scvi.data._constants import _SETUP_METHOD_NAME
from scvi.model._utils import parse_device_args
from scvi.model.base import BaseModelClass

from couplevi._constants import SINGLE
from couplevi._docs import fill_docs
from couplevi._paths import user_path
from couplevi._validate import check_option, expected
from couplevi.model._components import choose_components
from couplevi.model._files import (
    ATTRIBUTES,
    REGISTRY,
    WEIGHTS,
    data_paths,
    from_plain,
    model_path,
    read_model_file,
    read_saved_data,
    replace_file,
    write_model_file,
)
from couplevi.registry import Registered, Seen, completed, registered_keys, registered_readers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch
    from anndata import AnnData
    from mudata import MuData

    from couplevi._types import FloatArray
    from couplevi.registry import ModalityReader


class Hidden:
    """Stands for an inherited method that does not apply, so that nobody finds it."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: object, owner: type) -> NoReturn:
        raise AttributeError(f"{owner.__name__} has no `{self.name}`")


class Model(BaseModelClass):
    """What all models share: registered data, and files that a stranger's machine can open safely.

    A leaf says in `saved` what is saved of it, has settings of the class `settings_class`, and builds its module from
    the attributes named in `saved` alone.

    Parameters
    ----------
    adata, registry
        Data that are set up, or the registry of such data.
    settings
        Settings of the model.
    strict
        Whether the user chose the number of principal components: too many are refused then, and lowered otherwise.
    """

    saved: ClassVar[tuple[str, ...]] = (
        "is_trained_",
        "train_indices_",
        "validation_indices_",
        "test_indices_",
        "history_",
        "run_name_",
        "run_id_",
        "settings_",
        "modalities_",
        "var_names_",
        "n_components_",
        "ranges_",
    )
    """Attributes that are saved, besides the registry, and put back if a training fails."""
    settings_class: ClassVar[type]
    shared: ClassVar[frozenset[str]] = frozenset({"trainer", "_adata", "_adata_manager"})
    """Attributes that a deep copy shares with the model."""

    def __init__(
        self, adata: AnnData | MuData | None, registry: dict[str, Any] | None, settings: Any, *, strict: bool
    ) -> None:
        super().__init__(adata, registry)
        self.settings_ = settings
        self.modalities_: list[str] = sorted(self.registry_["setup_args"].get("modalities", [SINGLE]))
        readers = registered_readers(self.registry_, self.modalities_)
        self.var_names_: dict[str, Sequence[str]] = {m: reader.var_names for m, reader in readers.items()}
        seen = {} if adata is None else {m: Seen.of(reader.read(adata)) for m, reader in readers.items()}
        self.ranges_: dict[str, tuple[Any, ...]] = {m: tuple(s) for m, s in seen.items() if s is not None}
        n_obs = {m: None if adata is None else reader.profiles(adata).n_obs for m, reader in readers.items()}
        sizes = {m: (n_obs[m], len(names)) for m, names in self.var_names_.items()}
        self.n_components_ = choose_components(settings.n_pcs, sizes, strict=strict)

    @abstractmethod
    def _build_module(self) -> torch.nn.Module:
        """Module of the sizes and settings of the model."""

    get_normalized_expression: Any = Hidden()
    differential_abundance = Hidden()
    minify_adata = Hidden()
    minify_mudata = Hidden()
    convert_legacy_save = Hidden()
    get_var_names = Hidden()

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if not isinstance(getattr_static(self, name, None), Hidden)]

    # data

    def reader(self, modality: str, name: str = "modality") -> ModalityReader:
        """Reader of the registered values of a modality from any data, features as the model was trained on.

        Parameters
        ----------
        modality
            Modality of the model.
        name
            What it is called in the message if there is none.

        Returns
        -------
        An object whose ``read(data)`` gives the values, cells by features.

        Raises
        ------
        ValueError
            If the model has no such modality.

        Examples
        --------
        >>> import couplevi as cvi
        >>> mdata = cvi.data.branching_manifold(n_obs=100)
        >>> cvi.model.JAMIE.setup_mudata(mdata, modalities=("rna", "ephys"), layers={"rna": "log1p"})
        >>> reader = cvi.model.JAMIE(mdata).reader("rna")
        >>> reader.where, reader.read(mdata[:10]).shape
        ("`layers['log1p']` of modality 'rna'", (10, 400))
        """
        check_option(modality, self.modalities_, name)
        return self._readers()[modality]

    def _readers(self) -> dict[str, ModalityReader]:
        readers = registered_readers(self.registry_, self.modalities_)
        seen = {m: Seen(*values) for m, values in self.ranges_.items()}
        return {
            m: reader.of_model(self.var_names_[m], seen.get(m), self._stand_in(m) if self.is_trained_ else None)
            for m, reader in readers.items()
        }

    def _stand_in(self, modality: str) -> FloatArray | None:
        """Values of features that new data lack; None if such data are refused."""
        return None

    def _registered(self, adata: AnnData | MuData | None = None) -> Registered:
        """Data, those of the model by default, as they were registered."""
        keys = {kind: registered_keys(self.registry_, kind) for kind in ("correspondence", "match")}
        return Registered(self.adata if adata is None else adata, self._readers(), keys)

    # files

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
            Arguments of :meth:`mudata.MuData.write` or :meth:`anndata.AnnData.write_h5ad`, such as ``compression``.

        Raises
        ------
        ValueError
            If the folder exists and `overwrite` is False, is a file, or `prefix` names a folder.

        Examples
        --------
        >>> import tempfile
        >>> from pathlib import Path
        >>> import couplevi as cvi
        >>> adata = cvi.data.perturbation_screen(n_obs=200)
        >>> model = cvi.tl.otgm(adata, state_key="perturbation", control="control", layer="log1p", n_pcs=10)
        >>> folder = tempfile.mkdtemp() + "/screen"
        >>> model.save(folder, save_anndata=True)
        >>> sorted(path.name for path in Path(folder).iterdir())
        ['adata.h5ad', 'model.pt']
        """
        folder = user_path(dir_path)
        if folder.exists() and not folder.is_dir():
            raise ValueError(expected("a folder", f"{str(folder)!r}, which is a file", "Choose another name."))
        if Path(prefix or "_").name != (prefix or "_"):
            raise ValueError(expected("`prefix` for names of files", f"{prefix!r}", "Name the folder in `dir_path`."))
        if folder.exists() and not overwrite:
            raise ValueError(expected("a new folder", f"{str(folder)!r}, which exists", "Pass `overwrite=True`."))
        folder.mkdir(parents=True, exist_ok=True)
        attributes = {name: getattr(self, name) for name in (REGISTRY, *self.saved)}
        paths = data_paths(folder, prefix)

        def write_model() -> None:
            write_model_file(model_path(folder, prefix), self.module.state_dict(), attributes)

        def write_both(temporary: Path) -> None:
            self.adata.write(temporary, **anndata_write_kwargs)
            write_model()  # once its data are written: a model never lies beside those of another

        if save_anndata:
            replace_file(paths.pop(type(self.adata)), write_both)
        else:
            write_model()
        for path in paths.values():
            path.unlink(missing_ok=True)  # another model's data

    @classmethod
    @fill_docs
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
        %(device)s
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
            If the file is not a model of this class, is of a later format, or holds anything but tensors, numbers,
            strings and lists; if the data lack more than a fifth of the features of a modality; or if this machine
            lacks the hardware.

        Examples
        --------
        >>> import tempfile
        >>> import couplevi as cvi
        >>> adata = cvi.data.perturbation_screen(n_obs=200)
        >>> model = cvi.tl.otgm(adata, state_key="perturbation", control="control", layer="log1p", n_pcs=10)
        >>> folder = tempfile.mkdtemp() + "/screen"
        >>> model.save(folder)
        >>> cvi.model.OTGM.load(folder, adata)
        OTGM model, trained, 5 states (control: 'control'), 300 features
        """
        target = device_of(accelerator, device)
        state = read_model_file(dir_path, prefix)
        attributes = from_plain(state[ATTRIBUTES])
        registry = attributes[REGISTRY]
        if registry["model_name"] != cls.__name__:
            remedy = f"Call `cvi.model.{registry['model_name']}.load`."
            raise ValueError(expected(f"a {cls.__name__} model", f"a {registry['model_name']} model", remedy))
        data = read_saved_data(dir_path, prefix) if adata is None else adata
        if data is None or data is False:
            data = None
        else:
            setup = getattr(cls, registry[_SETUP_METHOD_NAME])
            setup(data, source_registry=registry, **registry["setup_args"])
        attributes["settings_"] = cls.settings_class(**attributes["settings_"])
        model = cls._of(data, registry, attributes)
        model.module.load_state_dict(state[WEIGHTS])
        model.to_device(target)
        return model

    @classmethod
    def _of(cls, data: AnnData | MuData | None, registry: dict[str, Any], attributes: Mapping[str, Any]) -> Self:
        """A model with these attributes for data that are set up; its module has its sizes, and no weights yet."""
        model = cls.__new__(cls)
        BaseModelClass.__init__(model, data, registry if data is None else None)
        model.registry_ = completed(model.registry_, registry)
        for name in cls.saved:
            setattr(model, name, attributes[name])
        model.module = model._build_module()  # of the sizes of the model, not of the data at hand
        model.module.eval()
        if data is not None:
            for values in model._registered().of_present().readers.values():
                values.read(data)  # has the features of the model, or says what is missing
        return model

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

        Examples
        --------
        >>> import tempfile
        >>> import couplevi as cvi
        >>> adata = cvi.data.perturbation_screen(n_obs=200)
        >>> model = cvi.tl.otgm(adata, state_key="perturbation", control="control", layer="log1p", n_pcs=10)
        >>> folder = tempfile.mkdtemp() + "/screen"
        >>> model.save(folder)
        >>> registry = cvi.model.OTGM.load_registry(folder)
        >>> registry["model_name"], registry["setup_args"]["state_key"]
        ('OTGM', 'perturbation')
        """
        return read_model_file(dir_path, prefix)[ATTRIBUTES][REGISTRY]

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        """Models hold their data, and pickles can run code: there is a format for them."""
        remedy = f"Write `model.save(folder)`, and read `{type(self).__name__}.load(folder)`."
        raise TypeError(expected("a model to be saved by its own method", "a pickle (also joblib, torch.save)", remedy))

    def __copy__(self) -> Self:
        """A model that shares all with this one."""
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        return other

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A model with weights and settings of its own, for the same data; the trainer cannot be copied."""
        other = type(self).__new__(type(self))
        memo[id(self)] = other
        other.__dict__.update({n: v if n in self.shared else copy.deepcopy(v, memo) for n, v in vars(self).items()})
        return other


def device_of(accelerator: str, device: int | str) -> torch.device:
    """Where to put a model, a GPU being told by its index; raise ValueError if this machine lacks it."""
    parsed = partial(parse_device_args, accelerator, return_device="torch", validate_single_device=True)
    try:
        if str(device).isdecimal() and parsed("auto")[2].type != "cpu":
            return parsed([int(device)])[2]  # scvi-tools takes a number by itself for how many
        return parsed(device)[2]
    except (MisconfigurationException, ImportError, ValueError, TypeError) as error:
        found = f"`accelerator={accelerator!r}` and `device={device!r}`: {' '.join(str(error).split()).rstrip('.!')}"
        raise ValueError(expected("hardware of this machine", found, "Leave both out.")) from error
