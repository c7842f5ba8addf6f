"""Writes the tables of the guide that are made of the source: slots and metrics.

    python docs/tables.py

A test fails if a page does not hold what the source says.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import couplevi as cvi
from couplevi import _constants

GUIDE = Path(__file__).parent / "guide"
PLACEHOLDERS = {"source": "{s}", "target": "{t}", "labels": "{labels}"}


class Slot(NamedTuple):
    """A row of the table."""

    name: str
    what: str
    shape: str
    written_by: str
    read_by: str


def slots() -> Iterator[Slot]:
    """What the docstrings of the constants say, in their order."""
    module = ast.parse(inspect.getsource(_constants))
    for name, doc in _documented(module):
        value = getattr(_constants, name)
        for holder, *cells in _rows(doc):
            yield Slot(f'{holder}["{value}"]', *cells)
    [key] = [node for node in module.body if isinstance(node, ast.ClassDef) and node.name == "Key"]
    for place in (node for node in key.body if isinstance(node, ast.ClassDef)):
        yield from _slots_of(place)


def _slots_of(place: ast.ClassDef) -> Iterator[Slot]:
    """What the docstrings of a class in `Key` say, its own first."""
    for holder, *cells in _rows(ast.get_docstring(place) or ""):
        yield Slot(f'{holder}.{place.name}["{_key(cells)}"]', *cells)
    for name, doc in _documented(place):
        value = getattr(getattr(_constants.Key, place.name), name)
        for holder, *cells in _rows(doc):
            key = _key(cells)
            slot = (
                value(**{p: {"key": key, **PLACEHOLDERS}[p] for p in _parameters(value)}) if callable(value) else value
            )
            inside = f'["{key}"]' if place.name == "uns" and not callable(value) else ""  # a function names a slot
            yield Slot(f'{holder}.{place.name}{inside}["{slot}"]', *cells)


def _documented(node: ast.Module | ast.ClassDef) -> Iterator[tuple[str, str]]:
    """Functions and constants of a body with their docstrings."""
    for statement, following in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(statement, ast.FunctionDef):
            yield statement.name, ast.get_docstring(statement) or ""
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            documented = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
            yield statement.target.id, inspect.cleandoc(following.value.value) if documented else ""


def _rows(doc: str) -> Iterator[list[str]]:
    """Cells of each line with bars."""
    for line in doc.splitlines():
        if "|" in line:
            yield [cell.strip() for cell in line.split("|")]


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(function).parameters


def _key(cells: list[str]) -> str:
    """Default of `key_added` of the first function that writes."""
    namespace, name = re.split(r"[,(]", cells[2])[0].split(".")
    parameters = _parameters(getattr(getattr(cvi, namespace), name))
    if "key_added" not in parameters:
        return ""
    return parameters["key_added"].default or parameters["method"].default


def slot_table() -> str:
    rows = ([f"`{slot.name}`", slot.what, slot.shape, _code(slot.written_by), _code(slot.read_by)] for slot in slots())
    return _table(["slot", "what", "shape", "written by", "read by"], rows)


def _code(names: str) -> str:
    """Names of functions in code."""
    return re.sub(r"\b(?:tl|pp|pl|data)\.\w+(?:\([^)]*\))?|setup_mudata\([^)]*\)", r"`\g<0>`", names)


def _table(columns: list[str], rows: Iterable[list[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def metric_table() -> str:
    rows = [{"name": f"`{name}`", **record.row()} for name, record in cvi.metrics.METRICS.items()]
    return _table(list(rows[0]), [list(row.values()) for row in rows])


TABLES = {"data_layout.md": slot_table, "metrics.md": metric_table}


def with_table(page: str) -> str:
    """Text of a page of the guide with its table as the source has it."""
    text = (GUIDE / page).read_text()
    start, end = "<!-- made by docs/tables.py -->\n\n", "\n\n<!-- end -->"
    before, rest = text.split(start)
    return before + start + TABLES[page]() + end + rest.split(end)[1]


if __name__ == "__main__":
    for page in TABLES:
        (GUIDE / page).write_text(with_table(page))
