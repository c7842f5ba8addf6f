"""What we rely on in scvi-tools beyond its public interface: these fail first when a release changes it."""

import ast
import inspect
from pathlib import Path

import pytest
import torch
from scvi.data._constants import _SCVI_UUID_KEY, _SETUP_METHOD_NAME
from scvi.data.fields import LayerField, ObsmField
from scvi.model._utils import parse_device_args
from scvi.model.base import BaseModelClass
from scvi.model.base._constants import SAVE_KEYS
from scvi.module.base import BaseModuleClass

import couplevi as cvi

SOURCES = list(Path(cvi.__file__).parent.rglob("*.py"))
IMPORTED = {
    "scvi.data._constants._SETUP_METHOD_NAME",
    "scvi.model._utils.parse_device_args",
    "scvi.model._utils.use_distributed_sampler",
    "scvi.model.base._de_core._de_core",
    "scvi.model.base._constants.SAVE_KEYS",
}
METHODS = {
    "_check_if_trained": {"warn"},
    "_get_init_params": {"locals"},
    "_get_most_recent_anndata_manager": {"adata"},
    "_get_setup_method_args": {"setup_locals"},
}
"""Methods of models that are called, and arguments that we pass."""
HOOKS = {"_get_inference_input", "_get_generative_input"}
"""Methods of modules that we implement."""
ATTRIBUTES = {"_adata", "_adata_manager", "_attr_key", "_registry_key"}


def nodes(kind):
    return [node for path in SOURCES for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kind)]


def test_no_other_private_names_are_imported():
    others = ("anndata", "lightning", "mudata", "scanpy", "scipy", "scvi", "sklearn", "torch")
    names = {
        f"{node.module}.{alias.name}"
        for node in nodes(ast.ImportFrom)
        if (node.module or "").split(".")[0] in others
        for alias in node.names
    }
    assert {name for name in names if "._" in name} == IMPORTED


def test_no_other_private_names_of_the_base_classes_are_used():
    own = {node.name for node in nodes(ast.FunctionDef)}
    inherited = {name for cls in (BaseModelClass, LayerField, ObsmField) for name in dir(cls) if name[:2] != "__"}
    used = {node.attr for node in nodes(ast.Attribute) if node.attr.startswith("_")}
    assert (used & inherited) - own <= METHODS.keys() | ATTRIBUTES | {"_module_cls"}


@pytest.mark.parametrize("name", METHODS)
def test_methods_take_our_arguments(name):
    parameters = inspect.signature(getattr(BaseModelClass, name)).parameters
    assert parameters.keys() >= METHODS[name] or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def test_modules_have_the_hooks():
    assert all(getattr(BaseModuleClass, name).__isabstractmethod__ for name in HOOKS)


def test_device_is_parsed():
    accelerator, _, device = parse_device_args(
        accelerator="cpu", devices="auto", return_device="torch", validate_single_device=True
    )
    assert (accelerator, device) == ("cpu", torch.device("cpu"))


def test_a_model_is_saved_under_the_names_that_scvi_tools_reads():
    assert SAVE_KEYS.MODEL_FNAME == "model.pt"
    assert {SAVE_KEYS.ADATA_FNAME, SAVE_KEYS.MDATA_FNAME} == {"adata.h5ad", "mdata.h5mu"}
    keys = {SAVE_KEYS.MODEL_STATE_DICT_KEY, SAVE_KEYS.VAR_NAMES_KEY, SAVE_KEYS.ATTR_DICT_KEY}
    assert keys == {"model_state_dict", "var_names", "attr_dict"}


def test_registry_names_the_method_of_setup(mdata):
    cvi.model.JAMIE.setup_mudata(mdata, modalities=("rna", "ephys"))
    model = cvi.model.JAMIE(mdata, n_latent=2)
    assert model.registry_[_SETUP_METHOD_NAME] == "setup_mudata"
    assert {"_adata", "_adata_manager"} <= vars(model).keys()
    assert _SCVI_UUID_KEY in mdata.uns
