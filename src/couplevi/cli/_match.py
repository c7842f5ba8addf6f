from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from couplevi.cli._command import MUDATA, Result, add_command, add_modalities, add_normalize, add_out
from couplevi.cli._data import layers_of

if TYPE_CHECKING:
    from mudata import MuData

    from couplevi.cli._command import Commands


def add(commands: Commands) -> None:
    """Declare ``couplevi match``."""
    parser = add_command(commands, "match", "infer which cells of two modalities belong together", _match, (MUDATA,))
    add_modalities(parser, "rows and columns")
    add_normalize(parser)
    parser.add_argument("--method", default="auto", help="auto, anchored, gw or unioncom")
    parser.add_argument("--known", metavar="KEY", help="known links in .obsp, or by_name; default: none")
    parser.add_argument("--group", metavar="COLUMN", help="match only cells with the same label in .obs")
    parser.add_argument("--seed", type=int, default=0, help="reproduces the result (0)")
    add_out(parser)


def _match(mdata: MuData, arguments: argparse.Namespace) -> Result:
    from couplevi import tl

    tl.match(
        mdata,
        modalities=arguments.modalities,
        layers=layers_of(mdata.mod, arguments),
        use_rep=dict(arguments.use_rep),
        method=arguments.method,
        known=arguments.known,
        group_key=arguments.group,
        seed=arguments.seed,
    )
    return Result()
