"""Who may import whom, file by file."""

import ast
from pathlib import Path

import pytest

import couplevi

ROOT = Path(couplevi.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
MODELS = sorted(p.name for p in (ROOT / "model").iterdir() if (p / "__init__.py").exists())
ALLOWED = {
    "": set(),  # files of the root
    "data": set(),
    "preparation": set(),
    "correspondence": set(),
    "gaussians": set(),
    "losses": set(),
    "metrics": set(),
    "registry": set(),
    "text": set(),
    "nn": {"preparation"},
    "dataloaders": set(),
    "train": {"losses"},
    "pp": {"preparation", "registry"},
    "pl": {"metrics"},
    "model": {"train", "nn", "losses", "metrics", "dataloaders", "preparation", "registry", "gaussians", "text"},
    "tl": {"metrics", "preparation", "correspondence", "registry", "nn", "gaussians", "text"},
    "cli": {"tl", "model", "pp", "data"},
}
"""The rooms that a file of a room may import besides its own and the root; what follows narrows or widens that."""
TOOLS = {
    **{f"_{m}.py": {m} for m in MODELS},
    "_evaluate_perturbations.py": {"otgm"},
    "_evaluate_text.py": {"celltext"},
    "_map_query.py": {"jamie", "jae"},
    "_write_jamie.py": {"jamie"},
}
"""Tools that fit or apply a model, and which."""
MODULES = {"nn", "losses", "preparation", "model", "gaussians"}
"""What the module of a model may import: its mathematics, and its own folder."""
WIDER = {
    "__init__.py": {room for room in ALLOWED if room},  # namespaces that load on first use
    "_protocols.py": {"nn", "registry", "gaussians"},  # types alone
    **{f"tl/{file}": {*ALLOWED["tl"], "model"} for file in TOOLS},
}


def room_of(path):
    """Room of a file, or of a module's dotted name without the package; empty for the root."""
    parts = path.split(".") if "/" not in path and not path.endswith(".py") else Path(path).parts
    return parts[0] if parts and parts[0] in ALLOWED else ""


def name_of(path):
    """Dotted name of a file within the package."""
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULE_NAMES = {name_of(path): path for path in FILES}


def imports(path):
    """Modules of the package that a file imports, at any depth and under TYPE_CHECKING."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "couplevi"}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if (node.module or "").split(".")[0] == "couplevi":
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    is_module = whole.removeprefix("couplevi.") in MODULE_NAMES
                    found.add(whole if is_module else node.module)
    return {name.removeprefix("couplevi").removeprefix(".") for name in found}


def inside(name, model, file):
    """Whether a file of a model may import a module of the room of models."""
    part = (name.split(".") + [""])[1]
    return part == model or (file != "module.py" and part.startswith("_"))


def forbidden(path):
    """Imports of a file that the design does not allow."""
    place = str(path.relative_to(ROOT))
    own = room_of(place)
    allowed = WIDER.get(place, ALLOWED[own])
    parts = Path(place).parts
    if own == "model" and parts[-1] == "module.py":
        allowed = MODULES
    bad = set()
    for name in imports(path):
        room = room_of(name)
        if room not in {own, ""} | allowed:
            bad.add(name)
        elif own == "model" and len(parts) > 2 and room == "model" and not inside(name, parts[1], parts[-1]):
            bad.add(name)  # a model imports another one, or its module what is not mathematics
        elif own == "tl" and room == "model" and name not in {f"model.{m}" for m in TOOLS.get(parts[-1], ())}:
            bad.add(name)  # a tool imports another model, or goes past the door
        elif room not in (own, "") and len(name.split(".")) > (2 if room in ("model", "data") else 1):
            bad.add(name)  # past the door of a room
    return bad


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_follow_the_arrows(path):
    assert not forbidden(path)


def test_every_room_is_known():
    rooms = {p.name for p in ROOT.iterdir() if (p / "__init__.py").exists()}
    assert rooms == {room for room in ALLOWED if room}


def test_no_cycle_of_files():
    graph = {name: imports(path) for name, path in MODULE_NAMES.items() if name}
    done, path = set(), []

    def visit(name):
        assert name not in path, f"cycle {[*path[path.index(name) :], name]}"
        if name in done or name not in graph:
            return
        path.append(name)
        for other in graph[name]:
            visit(other)
        path.pop()
        done.add(name)

    for name in graph:
        visit(name)


def private_names(tree):
    """Private attributes that are read of something else than oneself."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            is_own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            is_super = isinstance(node.value, ast.Call) and getattr(node.value.func, "id", "") == "super"
            if not is_own and not is_super:
                yield node.attr


def defined(tree):
    """Private names that a file defines, as functions or as attributes of oneself."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            yield node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


NAMED_TUPLE = {"_replace", "_asdict", "_fields"}
"""Public methods of named tuples, whatever their names."""


def test_no_private_attribute_is_touched_across_rooms():
    trees = {path: ast.parse(path.read_text()) for path in FILES}
    of_room = {}
    for path, tree in trees.items():
        of_room.setdefault(room_of(str(path.relative_to(ROOT))), set()).update(defined(tree))
    touched = {
        f"{path.relative_to(ROOT)}: {name}"
        for path, tree in trees.items()
        for name in set(private_names(tree)) - of_room[room_of(str(path.relative_to(ROOT)))] - NAMED_TUPLE
    }
    assert not touched


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("losses/_new.py", "from couplevi.nn import Encoder"),
        ("losses/_new.py", "from couplevi import pl"),
        ("tl/_evaluate.py", "from couplevi.model import JAMIE"),
        ("tl/_jamie.py", "from couplevi.model.cplmixvae import CplMixVAE"),
        ("tl/_jamie.py", "from couplevi.model.jamie.module import JAMIEModule"),
        ("model/jamie/model.py", "from couplevi.model.cplmixvae import CplMixVAE"),
        ("model/jamie/model.py", "from couplevi.model import CplMixVAE"),
        ("model/jamie/module.py", "from couplevi.registry import Registered"),
        ("model/jamie/module.py", "from couplevi.model._base import Model"),
        ("model/_base.py", "from couplevi.registry._reader import ModalityReader"),
    ],
)
def test_the_test_sees_a_forbidden_import(place, line, tmp_path, monkeypatch):
    file = tmp_path / place
    file.parent.mkdir(parents=True)
    file.write_text(f"def f():\n    {line}\n")
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    assert forbidden(file)
