from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from couplevi._constants import SINGLE
from couplevi._paths import user_path
from couplevi.cli._command import ANNDATA, Result, add_command, add_model, add_out, add_saved, add_table
from couplevi.cli._data import label_table, normalized

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from couplevi.cli._command import Commands
    from couplevi.model import OTGM

FITTED = ("control", "layer", "group_key", "batch_key", "genes", "model")
MOVED = ("target", "source", "amount")
"""Options of a model that is fitted, and of one that is read."""


def add(commands: Commands) -> None:
    """Declare ``couplevi perturb``."""
    about = "rank genes and tell states of a screen with OTGM; with a saved one, tell and move other cells"
    parser = add_command(commands, "perturb", about, _perturb, (ANNDATA,))
    known = parser.add_mutually_exclusive_group(required=True)
    known.add_argument("--state-key", metavar="COLUMN", help="state of each cell, in .obs")
    add_saved(known, "--with-model", about="fit none: one saved by --model", required=False)
    parser.add_argument("--control", metavar="STATE", help="what the other states are compared with")
    values = parser.add_mutually_exclusive_group()
    values.add_argument("--layer", metavar="LAYER", help="layer of logarithmic values; default X")
    values.add_argument(
        "--normalize", metavar="X|LAYER", help="raw counts whose logarithms per 10,000 are read instead"
    )
    parser.add_argument("--group-key", metavar="COLUMN", help="compare states within cells of the same label in .obs")
    parser.add_argument("--batch-key", metavar="COLUMN", help="batch of each cell, in .obs")
    parser.add_argument("--genes", type=user_path, metavar="CSV", help="also the ranked genes of all states")
    parser.add_argument("--target", metavar="STATE", help="with --with-model: write the cells as if of this state")
    parser.add_argument(
        "--source", metavar="STATE", help="with --target: state that the cells are of; default: control"
    )
    parser.add_argument("--amount", type=float, metavar="T", help="with --target: how far to move them (1)")
    add_model(parser)
    add_table(parser, "also the most probable state of each cell")
    add_out(parser, required=False, about="the input with the new slots, or the cells that were moved")


def _perturb(adata: AnnData, arguments: argparse.Namespace) -> Result:
    _check_use(arguments)
    if arguments.with_model is not None:
        return _apply(adata, arguments)
    from couplevi import tl

    layer = _layer(adata, arguments)
    model = tl.otgm(
        adata,
        state_key=arguments.state_key,
        control=arguments.control,
        layer=layer,
        group_key=arguments.group_key,
        batch_key=arguments.batch_key,
    )
    tables = {}
    if arguments.genes is not None:
        import pandas as pd

        ranked = {state: model.rank_genes(state) for state in model.states_ if state != model.control_}
        tables["genes"] = pd.concat(ranked, names=["state"]).reset_index(level="state").reset_index(drop=True)
    if arguments.csv is not None:
        tables["csv"] = _told(model, adata)
    return Result(model, tables)


def _apply(adata: AnnData, arguments: argparse.Namespace) -> Result:
    """Other cells, told apart or moved by a saved model."""
    from couplevi.model import OTGM

    model = OTGM.load(arguments.with_model, adata=False)
    _layer(adata, arguments)
    tables = {} if arguments.csv is None else {"csv": _told(model, adata)}
    if arguments.target is None:
        return Result(tables=tables)
    amount = 1.0 if arguments.amount is None else arguments.amount
    return Result(tables=tables, data=model.perturb(adata, arguments.target, source=arguments.source, amount=amount))


def _layer(adata: AnnData, arguments: argparse.Namespace) -> str | None:
    """Layer to read, made of raw counts if asked."""
    if arguments.normalize is None:
        layer: str | None = arguments.layer
        return layer
    return normalized({SINGLE: adata}, [f"{SINGLE}={arguments.normalize}"])[SINGLE]


def _told(model: OTGM, adata: AnnData) -> pd.DataFrame:
    import pandas as pd

    p = pd.DataFrame(model.predict_state(adata, soft=True))
    states = pd.DataFrame({"state": model.predict_state(adata), "confidence": p.max(axis=1)})
    return label_table(states, ["state", "confidence"])


def _check_use(arguments: argparse.Namespace) -> None:
    """What is fitted and what is read take options of their own."""
    saved = arguments.with_model is not None
    use, other = ("--with-model", FITTED) if saved else ("--state-key", MOVED)
    for option in other:
        if getattr(arguments, option) is not None:
            given = f"--{option.replace('_', '-')}"
            raise ValueError(f"Expected no `{given}` with `{use}`, found it. Leave it out.")
    needed = ["control", "out"] if not saved else ["out"] if arguments.target is not None else ["csv"]
    for option in needed:
        if getattr(arguments, option) is None:
            raise ValueError(f"Expected `--{option}` with `{use}`, found none. It says {SAYS[option]}.")
    if saved and arguments.target is None:
        for option in ("source", "amount", "out"):
            if getattr(arguments, option) is not None:
                raise ValueError(f"Expected `--target` with `--{option}`, found none. Name the state to move cells to.")


SAYS = {
    "control": "what the other states are compared with",
    "out": "where cells are written",
    "csv": "where the states of the cells are written; or name a `--target` to move them to",
}
