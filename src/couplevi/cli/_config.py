"""Options from a file."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from couplevi._paths import user_path
from couplevi.cli._command import Pair, Parser
from couplevi.cli._files import check_there, unreadable


def with_config(argv: Sequence[str], commands: Mapping[str, Parser]) -> list[str]:
    """Arguments with those of ``--config`` before them, so that they give way to those on the command line.

    Raises
    ------
    ValueError, FileNotFoundError
        If the file is none of YAML with a mapping, or gives what is no option of the subcommand, or no value of one.
    """
    first = argparse.ArgumentParser(prog="couplevi", add_help=False, allow_abbrev=False, exit_on_error=False)
    first.add_argument("--config", type=user_path)
    try:
        path = first.parse_known_args(argv)[0].config
    except argparse.ArgumentError:  # the parser of the subcommand says it
        path = None
    if path is None or argv[0] not in commands:
        return list(argv)
    options = {name.replace("_", "-"): value for name, value in _read(path).items()}
    known = commands[argv[0]].options()
    _check_known(options, list(known), argv[0], path)
    given = [token for name, value in options.items() for token in _tokens(name, known[name], value, path)]
    return [argv[0], *given, *argv[1:]]


def _read(path: Path) -> dict[str, object]:
    check_there(path, "options in YAML")
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise unreadable(path, "YAML", error) from error
    if not isinstance(found, dict):
        kind = "nothing" if found is None else f"a {type(found).__name__}"
        raise ValueError(f"Expected {str(path)!r} to map options to values, found {kind}. Write `seed: 1`.")
    return {str(name): value for name, value in found.items()}


def _check_known(given: Mapping[str, object], known: Sequence[str], command: str, path: Path) -> None:
    import difflib

    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean `{close[0]}`?" if close else f"It has {sorted(known)}."
            raise ValueError(f"Expected options of `couplevi {command}` in {str(path)!r}, found `{name}`. {hint}")


def _tokens(name: str, action: argparse.Action, value: object, path: Path) -> Iterator[str]:
    """How a value is spelled on the command line; None gives none."""
    is_switch = isinstance(action, argparse.BooleanOptionalAction)
    if isinstance(value, bool) and is_switch:
        yield f"--{name}" if value else f"--no-{name}"
    elif isinstance(value, Mapping) and isinstance(action.type, Pair):
        for left, right in value.items():
            for one in right if isinstance(right, list) else [right]:
                yield f"--{name}={_text(left, name, path)}{action.type.separator}{_text(one, name, path)}"
    elif isinstance(value, list):
        texts = [_text(one, name, path) for one in value]
        if isinstance(action.type, Pair):
            yield from (f"--{name}={text}" for text in texts)
        else:
            yield f"--{name}={','.join(texts)}"
    elif is_switch and value is not None:
        raise ValueError(f"Expected true or false for `{name}` in {str(path)!r}, found {value!r}.")
    elif value is not None:
        yield f"--{name}={_text(value, name, path)}"


def _text(value: object, name: str, path: Path) -> str:
    """A text or number as text."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        remedy = "Put names such as yes, no, on and off in quotes."
        raise ValueError(f"Expected a text or number for `{name}` in {str(path)!r}, found {value!r}. {remedy}")
    return str(value)
