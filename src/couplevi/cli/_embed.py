from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from couplevi.cli._command import (
    MUDATA,
    Result,
    add_command,
    add_modalities,
    add_model,
    add_normalize,
    add_out,
    add_table,
    add_training,
)
from couplevi.cli._data import label_table, layers_of

if TYPE_CHECKING:
    from mudata import MuData

    from couplevi.cli._command import Commands


def add(commands: Commands) -> None:
    """Declare ``couplevi embed``."""
    parser = add_command(commands, "embed", "train JAE; write one embedding, and labels", _embed, (MUDATA,))
    add_modalities(parser, "one or more modalities")
    add_normalize(parser)
    parser.add_argument("--labels-key", metavar="COLUMN", help="label of each cell, where it is known, in .obs")
    parser.add_argument("--batch-key", metavar="COLUMN", help="batch of each cell, in .obs")
    parser.add_argument("--preset", default="default", help="default or paper")
    add_training(parser)
    add_model(parser)
    add_table(parser, "also the predicted label of each cell")
    add_out(parser)


def _embed(mdata: MuData, arguments: argparse.Namespace) -> Result:
    from couplevi import tl
    from couplevi._constants import Key

    if arguments.csv is not None and arguments.labels_key is None:
        raise ValueError("Expected `--labels-key` with `--csv`, found none. Labels are predicted where some are known.")
    model = tl.jae(
        mdata,
        modalities=arguments.modalities,
        layers=layers_of(mdata.mod, arguments),
        use_rep=dict(arguments.use_rep),
        labels_key=arguments.labels_key,
        batch_key=arguments.batch_key,
        preset=arguments.preset,
        seed=arguments.seed,
        train_kwargs={"max_epochs": arguments.max_epochs},
    )
    if arguments.csv is None:
        return Result(model)
    if not model.labels_:
        raise ValueError(f"Expected two or more labels in column {arguments.labels_key!r}, found fewer.")
    columns = (Key.obs.jae_label("jae"), Key.obs.jae_label_confidence("jae"), Key.obs.jae_label_typicality("jae"))
    return Result(model, {"csv": label_table(mdata.obs, columns)})
