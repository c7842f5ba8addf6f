from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from couplevi._paths import user_path
from couplevi.cli._command import (
    MUDATA,
    Result,
    add_command,
    add_impute,
    add_model,
    add_normalize,
    add_out,
    add_saved,
    add_table,
    add_training,
)
from couplevi.cli._data import label_table, normalized, saved_class
from couplevi.cli._files import read
from couplevi.cli._run import check_impute, impute

if TYPE_CHECKING:
    from mudata import MuData

    from couplevi.cli._command import Commands


def add(commands: Commands) -> None:
    """Declare ``couplevi map``."""
    parser = add_command(commands, "map", "place new cells with a saved JAMIE or JAE", _map, (MUDATA,))
    add_saved(parser, "--with-model", about="saved by --model of `couplevi run` or `couplevi embed`")
    add_normalize(parser)
    add_impute(parser)
    parser.add_argument("--labels-key", metavar="COLUMN", help="JAMIE: labels to carry over, in .obs of --reference")
    parser.add_argument("--reference", type=user_path, metavar="MUDATA", help="data with these labels; default: input")
    add_training(parser)
    add_model(parser)
    add_table(parser, "also the predicted label of each cell")
    add_out(parser)


def _map(mdata: MuData, arguments: argparse.Namespace) -> Result:
    from couplevi import tl
    from couplevi._constants import Key
    from couplevi.model import JAE, JAMIE

    cls = saved_class(arguments.with_model)
    if cls not in (JAMIE, JAE):
        remedy = "Cells are named by a CellText with `couplevi annotate`, by an OTGM with `couplevi perturb`."
        raise ValueError(f"Expected a JAMIE or JAE in `--with-model`, found a {cls.__name__}. {remedy}")
    _check_labels(cls is JAE, arguments)
    check_impute(arguments, cls.load_registry(arguments.with_model)["setup_args"]["modalities"])
    normalized(mdata.mod, arguments.normalize)
    model = tl.map_query(
        mdata, arguments.with_model, seed=arguments.seed, train_kwargs={"max_epochs": arguments.max_epochs}
    )
    if isinstance(model, JAE):
        of = (Key.obs.jae_label, Key.obs.jae_label_confidence, Key.obs.jae_label_typicality)
        columns = [column("jae") for column in of]
        if arguments.csv is not None and not model.labels_:
            raise ValueError("Expected a model with labels with `--csv`, found one without. Leave `--csv` out.")
    else:
        if arguments.labels_key is not None:
            reference = None
            if arguments.reference is not None:
                reference = read(arguments.reference, (MUDATA,))
                normalized(reference.mod, arguments.normalize)
            tl.predict_labels(mdata, model, labels=arguments.labels_key, reference=reference)
        impute(mdata, model, arguments)
        columns = [of("jamie", arguments.labels_key) for of in (Key.obs.label, Key.obs.label_confidence)]
    return Result(model, {} if arguments.csv is None else {"csv": label_table(mdata.obs, columns)})


def _check_labels(is_jae: bool, arguments: argparse.Namespace) -> None:
    """JAE has labels of its own and imputes nothing; JAMIE is told of them."""
    if is_jae:
        for option in ("labels_key", "reference", "impute"):
            if getattr(arguments, option):
                given = f"--{option.replace('_', '-')}"
                remedy = "It predicts the labels that it learned, and imputes nothing."
                raise ValueError(f"Expected no `{given}` with a JAE, found it. {remedy}")
    elif arguments.labels_key is None:
        for option in ("reference", "csv"):
            if getattr(arguments, option) is not None:
                remedy = "Name the column of labels to carry over."
                raise ValueError(f"Expected `--labels-key` with `--{option}` of a JAMIE, found none. {remedy}")
