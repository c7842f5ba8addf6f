"""What every public function, class and method says of itself."""

import inspect
import re
from pathlib import Path

import pytest

import couplevi as cvi

API = Path(__file__).parents[1] / "docs" / "api.md"


def public_functions():
    for namespace in cvi.__all__:
        module = getattr(cvi, namespace)
        for name in getattr(module, "__all__", ()):
            item = getattr(module, name)
            if inspect.isfunction(item):
                yield f"{namespace}.{name}", item


def public_methods():
    """Methods and properties of the models, inherited ones too, but for those of scvi-tools."""
    models = [getattr(cvi.model, name) for name in cvi.model.__all__ if hasattr(getattr(cvi.model, name), "train")]
    for model in models:
        for method, item in inspect.getmembers(model):
            item = item.fget if isinstance(item, property) else item
            function = inspect.unwrap(getattr(item, "__func__", item))
            ours = str(getattr(function, "__module__", None)).startswith("couplevi")
            if not method.startswith("_") and inspect.isfunction(function) and ours:
                yield f"model.{model.__name__}.{method}", function


def public_classes():
    for namespace in cvi.__all__:
        module = getattr(cvi, namespace)
        for name in getattr(module, "__all__", ()):
            item = getattr(module, name)
            if inspect.isclass(item):
                yield f"{namespace}.{name}", item


def sections(doc):
    """Text of each section of a numpy docstring by name."""
    parts = re.split(r"^(\w+)\n-{3,}$", inspect.cleandoc(doc), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def documented_names(text):
    return {n.strip(" `*") for line in re.findall(r"^(\S.*)$", text, re.MULTILINE) for n in line.split(",")}


FUNCTIONS = dict(public_functions())
METHODS = dict(public_methods())
CLASSES = dict(public_classes())


@pytest.mark.parametrize("name", [*FUNCTIONS, *METHODS])
def test_parameters_are_documented_and_typed(name):
    item = {**FUNCTIONS, **METHODS}[name]
    signature = inspect.signature(item)
    parameters = [p for n, p in signature.parameters.items() if n not in ("self", "cls", "args")]
    assert signature.return_annotation is not inspect.Signature.empty
    assert all(p.annotation is not inspect.Parameter.empty for p in parameters)
    if "Not available" in item.__doc__:
        return
    described = documented_names(sections(item.__doc__).get("Parameters", ""))
    assert {p.name for p in parameters} - described == set()


@pytest.mark.parametrize("name", [*FUNCTIONS, *METHODS, *CLASSES])
def test_everything_public_has_an_example(name):
    item = {**FUNCTIONS, **METHODS, **CLASSES}[name]
    assert ">>>" in sections(item.__doc__).get("Examples", "")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_say_what_they_return_and_raise(name):
    item = FUNCTIONS[name]
    found = sections(item.__doc__)
    if inspect.signature(item).return_annotation not in (None, "None"):
        assert found.get("Returns", "").strip()
    else:
        assert re.search(r"writes|Written|written", item.__doc__), "says where it writes"
    if re.search(r"^\s+raise \w", inspect.getsource(item), re.MULTILINE):
        assert found.get("Raises", "").strip()


@pytest.mark.parametrize("name", CLASSES)
def test_classes_say_what_they_take(name):
    assert re.search(r"^(Parameters|Attributes)\n-+$", inspect.cleandoc(CLASSES[name].__doc__), re.MULTILINE)


@pytest.mark.parametrize("name", ["tl.jamie", "tl.cplmixvae", "tl.explain", "tl.match", "metrics.foscttm"])
def test_methods_of_the_literature_name_their_source(name):
    assert sections(FUNCTIONS[name].__doc__).get("References", "").strip()


@pytest.mark.skipif(not API.is_file(), reason="the tests are not in a clone")
def test_every_public_name_is_in_the_api_reference():
    listed = set(re.findall(r"^   (\w+\.\w+)$", API.read_text(), re.MULTILINE))
    public = {f"{n}.{name}" for n in cvi.__all__ for name in getattr(getattr(cvi, n), "__all__", ())}
    assert listed == public
