from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from couplevi._paths import user_path
from couplevi.cli._command import (
    ANNDATA,
    MUDATA,
    Result,
    add_command,
    add_model,
    add_out,
    add_saved,
    add_table,
    add_training,
    listed,
)
from couplevi.cli._data import label_table, modality_of
from couplevi.cli._files import check_there, unreadable

if TYPE_CHECKING:
    from anndata import AnnData
    from mudata import MuData

    from couplevi.cli._command import Commands
    from couplevi.model import CellText


def add(commands: Commands) -> None:
    """Declare ``couplevi annotate``."""
    about = "name cells by texts with CellText"
    parser = add_command(commands, "annotate", about, _annotate, (ANNDATA, MUDATA), ", with --modality")
    parser.add_argument("--modality", metavar="M", help="modality of a MuData")
    known = parser.add_mutually_exclusive_group(required=True)
    known.add_argument("--labels-key", metavar="COLUMN", help="type of each cell, where it is known, in .obs")
    known.add_argument("--text-key", metavar="COLUMN", help="text of each cell in .obs, in place of types")
    add_saved(known, "--with-model", about="train none: one saved by --model", required=False)
    parser.add_argument(
        "--labels", metavar="FILE|A,B", help="types to choose from, one a line; default: all that have cells or texts"
    )
    parser.add_argument(
        "--descriptions",
        type=user_path,
        metavar="FILE",
        help="texts of types: .json, or .tsv with columns label and text",
    )
    parser.add_argument(
        "--ontology", type=user_path, metavar="FILE", help="texts of the other types: .obo, or .tsv of its terms"
    )
    parser.add_argument(
        "--text-encoder", metavar="NAME|DIR", help="tfidf (default), or a sentence-transformers model of this machine"
    )
    values = parser.add_mutually_exclusive_group()
    values.add_argument("--layer", metavar="LAYER", help="layer of values; default X")
    values.add_argument("--use-rep", metavar="KEY", help="representation in .obsm in place of a layer")
    parser.add_argument(
        "--unknown-below", type=float, default=0.05, metavar="T", help="typicality below which a cell is unknown (0.05)"
    )
    add_training(parser)
    add_model(parser)
    add_table(parser, "also the label of each cell")
    add_out(parser)


def _annotate(data: AnnData | MuData, arguments: argparse.Namespace) -> Result:
    from couplevi import tl
    from couplevi._constants import Key

    _check_use(arguments)
    asked = None if arguments.labels is None else listed(arguments.labels, "--labels")
    texts = {} if arguments.descriptions is None else _descriptions(arguments.descriptions)
    adata = modality_of(data, arguments.modality, arguments.labels_key or arguments.text_key)
    if arguments.with_model is None:
        texts = _with_terms(arguments.ontology, [*_types(adata, arguments.labels_key), *(asked or ())], texts)
        model = _trained(adata, arguments, texts)
    else:
        from couplevi.model import CellText

        model = CellText.load(arguments.with_model, adata=False, text_encoder=arguments.text_encoder)
        new = [label for label in asked or () if label not in model.descriptions_]
        texts = _with_terms(arguments.ontology, new, texts)
    labels = asked or sorted({*model.labels_, *model.descriptions_, *texts})
    tl.annotate(adata, model, labels=labels, descriptions=texts, unknown_below=arguments.unknown_below)
    if arguments.csv is None:
        return Result(model)
    of = (Key.obs.text_label, Key.obs.text_confidence, Key.obs.text_typicality)
    return Result(model, {"csv": label_table(adata.obs, [column("celltext") for column in of])})


def _check_use(arguments: argparse.Namespace) -> None:
    """A model that is there was trained, and knows what it reads."""
    if arguments.with_model is None:
        return
    for option in ("layer", "use_rep", "max_epochs", "model"):
        if getattr(arguments, option) is not None:
            given = f"--{option.replace('_', '-')}"
            raise ValueError(f"Expected no `{given}` with `--with-model`, found it. Leave it out: nothing is trained.")


def _trained(adata: AnnData, arguments: argparse.Namespace, texts: dict[str, Any]) -> CellText:
    from couplevi import tl

    return tl.celltext(
        adata,
        labels_key=arguments.labels_key,
        text_key=arguments.text_key,
        descriptions=texts,
        layer=arguments.layer,
        use_rep=arguments.use_rep,
        text_encoder=arguments.text_encoder or "tfidf",
        seed=arguments.seed,
        train_kwargs={"max_epochs": arguments.max_epochs},
    )


def _types(adata: AnnData, column: str | None) -> list[str]:
    """Types that an ontology is asked for: those of cells."""
    if column not in adata.obs:
        return []  # set-up says what is missing
    from couplevi._labels import label_texts

    return sorted({label for label in label_texts(adata.obs[column]) if isinstance(label, str)})


def _descriptions(path: Path) -> dict[str, Any]:
    """Texts of types, from a table or from JSON."""
    check_there(path, "descriptions")
    shape = "a .json file of {label: text}, or a .tsv file with columns label and text"
    if path.suffix == ".json":
        import json

        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise unreadable(path, shape, error) from error
        if not isinstance(found, dict):
            raise ValueError(f"Expected {str(path)!r} to be {shape}, found a {type(found).__name__}.")
        return found
    import pandas as pd

    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    if not {"label", "text"} <= set(table):
        raise ValueError(f"Expected {str(path)!r} to be {shape}, found columns {list(table)}.")
    return {str(label): list(texts) for label, texts in table.groupby("label", sort=False)["text"]}


def _with_terms(ontology: Path | None, labels: Sequence[str], texts: dict[str, Any]) -> dict[str, Any]:
    """Texts of an ontology for those labels that have none."""
    if ontology is None:
        return texts
    from couplevi import data, pp

    open_labels = [label for label in dict.fromkeys(labels) if label not in texts]
    return pp.describe_labels(open_labels, data.read_ontology(ontology)) | texts
