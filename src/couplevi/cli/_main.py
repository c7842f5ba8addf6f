from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from couplevi.cli import _annotate, _cplmixvae, _embed, _evaluate, _explain, _map, _match, _perturb, _run
from couplevi.cli._command import EXAMPLE, Parser
from couplevi.cli._config import with_config
from couplevi.cli._files import check_paths, check_suffix, kind_of, read, write, write_table
from couplevi.cli._summary import new_slots, shapes, slots, write_summary

if TYPE_CHECKING:
    from couplevi.cli._command import Commands

SUBCOMMANDS = (_match, _run, _evaluate, _map, _explain, _embed, _cplmixvae, _perturb, _annotate)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, or 2 after one line about bad input."""
    parser, commands = _parser()
    try:
        given = with_config(sys.argv[1:] if argv is None else argv, commands.choices)
        _execute(parser.parse_args(given))
    except (ValueError, TypeError, KeyError, RuntimeError, OSError, ImportError) as error:
        text = error.args[0] if isinstance(error, KeyError) and error.args else str(error)
        if isinstance(error, UnicodeDecodeError):
            text = f"Expected names and texts in UTF-8, found a file that is not: {text}. Save it as UTF-8."
        sys.stderr.write(f"couplevi: {' '.join(str(text).split())}\n")
        return 2
    return 0


def _parser() -> tuple[Parser, Commands]:
    from couplevi import __version__

    parser = Parser(
        prog="couplevi",
        description=(
            "Coupled autoencoders for single-cell modalities, perturbations as transport between Gaussians, and cells "
            "named by texts."
        ),
        epilog=EXAMPLE,
    )
    parser.add_argument("--version", action="version", version=f"couplevi {__version__}")
    names = ",".join(module.__name__.rpartition("_")[2] for module in SUBCOMMANDS)
    commands = parser.add_subparsers(required=True, metavar=f"{{{names}}}")
    for module in SUBCOMMANDS:
        module.add(commands)
    return parser, commands


def _execute(arguments: argparse.Namespace) -> None:
    """Check, read, call the subcommand, and write what it found."""
    start = time.perf_counter()
    check_paths(arguments)
    data = read(arguments.input, arguments.kinds)
    out = getattr(arguments, "out", None)
    if out is not None:
        check_suffix(out, [kind_of(data)])
    before = slots(data)
    result = arguments.command(data, arguments)
    if result.model is not None and getattr(arguments, "model", None) is not None:
        result.model.save(arguments.model, overwrite=True)
    written = data if result.data is None else result.data
    if out is not None:
        write(written, out)
    for option, table in result.tables.items():
        write_table(table, getattr(arguments, option))
    if arguments.summary is not None:
        content = {
            "shapes": shapes(written),
            "slots": new_slots(before, slots(written)),
            "seconds": round(time.perf_counter() - start, 3),
        }
        write_summary(arguments.summary, arguments, content, result)
