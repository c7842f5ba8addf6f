"""What subcommands share: how they are declared, arguments of several of them, and what they hand back."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeAlias

from couplevi._paths import user_path

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from couplevi.model._base import Model

    Commands: TypeAlias = "argparse._SubParsersAction[Parser]"
    Container: TypeAlias = "argparse._ActionsContainer"

MUDATA, ANNDATA = "a MuData", "an AnnData"

EXAMPLE = """\
example:
  couplevi match cells.h5mu --modalities rna,atac --layer rna=log1p --group donor --out matched.h5mu
  couplevi run cells.h5mu --modalities rna,ephys --layer rna=log1p --impute rna:ephys --out integrated.h5mu --model jamie
  couplevi evaluate integrated.h5mu --model jamie --labels cell_type --in-sample
  couplevi map others.h5mu --with-model jamie --impute rna:ephys --out mapped.h5mu
  couplevi explain integrated.h5mu --model jamie --source rna --target ephys --csv drivers.csv
  couplevi embed cells.h5mu --modalities rna,protein --labels-key cell_type --batch-key donor --out embedded.h5mu
  couplevi cplmixvae cells.h5ad --n-categories 20 --normalize counts --out typed.h5ad
  couplevi perturb screen.h5ad --state-key perturbation --control non-targeting --layer log1p --out told.h5ad
  couplevi annotate cells.h5ad --labels-key cell_type --ontology cl.obo --labels asked.txt --model celltext --out named.h5ad
  couplevi annotate others.h5ad --with-model celltext --labels asked.txt --ontology cl.obo --out others_named.h5ad
"""


class Result(NamedTuple):
    """What a subcommand found, besides the slots that it wrote."""

    model: Model | None = None
    """Saved where ``--model`` says."""
    tables: Mapping[str, pd.DataFrame] = {}
    """Written as CSV where the option of that name says; with the index if that has a name."""
    metrics: pd.DataFrame | None = None
    """Scores, for the summary."""
    data: AnnData | None = None
    """Written in place of the input."""


class Parser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong, takes no abbreviations, and knows its options by name."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **settings)

    def error(self, message: str) -> NoReturn:
        """Exit with code 2."""
        self.exit(2, f"{self.prog}: {message}; see `{self.prog} --help`\n")

    def options(self) -> dict[str, argparse.Action]:
        """Options that take values, and switches, by name without dashes."""
        named = {o.removeprefix("--"): a for a in self._actions for o in a.option_strings if o.startswith("--")}
        off = {n for n, a in named.items() if isinstance(a, argparse.BooleanOptionalAction) and n.startswith("no-")}
        return {name: action for name, action in named.items() if name not in {*off, "help", "config"}}


@dataclass(frozen=True)
class Pair:
    """Type of an argument such as ``rna=log1p``; without the left side it is `default`, if there is one."""

    separator: str
    default: str = ""

    def __call__(self, text: str) -> tuple[str, str]:
        left, found, right = text.partition(self.separator)
        if not found:
            left, right = self.default, text
        if not (left and right):
            raise argparse.ArgumentTypeError(f"expected two names joined by {self.separator!r}, found {text!r}")
        return left, right


def names(text: str) -> list[str]:
    """Type of an argument such as ``rna,ephys``."""
    return [name.strip() for name in text.split(",") if name.strip()]


def listed(given: str, option: str) -> list[str]:
    """Names in a file, one a line, or between commas."""
    path = user_path(given)
    found = path.read_text(encoding="utf-8").splitlines() if path.is_file() else given.split(",")
    chosen = [name.strip() for name in found if name.strip()]
    if not chosen:
        raise ValueError(f"Expected one or more names in `{option}`, found none in {given!r}. Give them one a line.")
    return chosen


def add_command(
    commands: Commands, name: str, about: str, function: Callable[..., Result], kinds: tuple[str, ...], note: str = ""
) -> Parser:
    """Declare a subcommand that reads one of the kinds of data, and calls a function with them and its arguments."""
    parser = commands.add_parser(name, help=about, description=about, epilog=EXAMPLE)
    files = {MUDATA: "MuData, .h5mu or .zarr", ANNDATA: "AnnData, .h5ad or .zarr"}
    parser.add_argument("input", type=user_path, help="; or ".join(files[kind] for kind in kinds) + note)
    parser.add_argument("--config", type=user_path, metavar="YAML", help="values of options; the command line wins")
    parser.add_argument("--summary", type=user_path, metavar="JSON", help="what was done: options, slots, scores")
    parser.set_defaults(name=name, command=function, kinds=kinds)
    return parser


def add_modalities(parser: Parser, about: str) -> None:
    """Which modalities of a MuData are read, and which values of them."""
    parser.add_argument("--modalities", type=names, required=True, metavar="A,B", help=about)
    add_repeated(parser, "--layer", Pair("="), "A=LAYER", "layer; default X")
    add_repeated(parser, "--use-rep", Pair("="), "A=KEY", "representation in .obsm in place of a layer")


def add_normalize(parser: Parser) -> None:
    """Modalities of a MuData that are raw counts."""
    parser.add_argument(
        "--normalize",
        type=names,
        default=[],
        metavar="A[=LAYER],B",
        help="modalities whose X, or layer, has raw counts: their logarithms per 10,000 become a layer and are read",
    )


def add_impute(parser: Parser) -> None:
    """What is predicted, and how sure that is."""
    add_repeated(parser, "--impute", Pair(":"), "A:B", "predict B from A")
    add_switch(parser, "--return-sd", "--sd", about="with --impute, also standard deviations")


def add_repeated(parser: Parser, option: str, kind: Pair, metavar: str, about: str) -> None:
    """An option that may be given several times."""
    parser.add_argument(option, type=kind, action="append", default=[], metavar=metavar, help=about)


def add_switch(parser: Parser, *options: str, about: str, default: bool = False) -> None:
    """An option that is on or off."""
    parser.add_argument(*options, action=argparse.BooleanOptionalAction, default=default, help=about)


def add_training(parser: Parser) -> None:
    """How long a training is, and what reproduces it."""
    parser.add_argument("--max-epochs", type=int, help="passes through the data; default: the preset's")
    parser.add_argument("--seed", type=int, default=0, help="reproduces the result (0)")


def add_model(parser: Parser) -> None:
    """Where the model is saved."""
    parser.add_argument("--model", type=user_path, metavar="DIR", help="also save the model")


def add_saved(parser: Container, *options: str, about: str, required: bool = True) -> None:
    """Which model is read."""
    parser.add_argument(*options, dest="with_model", type=user_path, required=required, metavar="DIR", help=about)


def add_table(parser: Parser, about: str) -> None:
    """Where a table is written."""
    parser.add_argument("--csv", type=user_path, metavar="CSV", help=about)


def add_out(parser: Parser, *, required: bool = True, about: str = "the input with the new slots") -> None:
    """Where the data are written."""
    parser.add_argument("--out", type=user_path, required=required, metavar="OUT", help=about)
    add_switch(parser, "--overwrite", about="let --out replace the input")
