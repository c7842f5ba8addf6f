"""Who may import whom."""

import ast
from pathlib import Path

import couplevi

ROOT = Path(couplevi.__file__).parent
ROOMS = sorted(p.name for p in ROOT.iterdir() if p.is_dir() and (p / "__init__.py").exists())
ALLOWED = {
    "data": set(),
    "preparation": set(),
    "correspondence": set(),
    "losses": set(),
    "metrics": set(),
    "nn": {"preparation"},
    "dataloaders": {"data"},
    "module": {"nn", "losses"},
    "train": {"losses"},
    "pp": {"preparation"},
    "pl": {"metrics"},
    "model": {"train", "module", "dataloaders", "correspondence", "preparation", "data"},
    "tl": set(ROOMS),
    "cli": {"tl", "model"},
}
"""The rooms that each room may import, besides itself and the private modules of the root."""


def imported_rooms(path: Path) -> set[str]:
    """Rooms that a file imports, at any depth and under TYPE_CHECKING."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            parts = name.split(".")
            if parts[0] == "couplevi" and len(parts) > 1 and parts[1] in {*ROOMS, "cli"}:
                rooms.add(parts[1])
    return rooms


def arrows() -> dict[str, set[str]]:
    found = {room: set() for room in [*ROOMS, "cli"]}
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            found[room] |= imported_rooms(path) - {room}
    found["cli"] = imported_rooms(ROOT / "cli.py") - {"cli"}
    return found


def test_every_room_is_known():
    assert set(ROOMS) <= set(ALLOWED)


def test_imports_follow_the_arrows():
    forbidden = {room: sorted(to - ALLOWED[room]) for room, to in arrows().items() if to - ALLOWED[room]}
    assert not forbidden, f"not allowed by the design: {forbidden}"


def test_imports_have_no_cycle():
    graph, path = arrows(), []

    def visit(room):
        assert room not in path, f"cycle {[*path, room]}"
        path.append(room)
        for other in graph[room]:
            visit(other)
        path.pop()

    for room in graph:
        visit(room)


def test_private_root_modules_import_no_room():
    for path in ROOT.glob("_*.py"):
        if path.name != "__init__.py":
            assert not imported_rooms(path), path


def test_the_test_sees_a_forbidden_import(tmp_path):
    file = tmp_path / "x.py"
    file.write_text("def f():\n    from couplevi.tl import jamie\n    from couplevi import pl\n")
    assert imported_rooms(file) == {"tl", "pl"}
