from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from couplevi._paths import user_path
from couplevi.cli._command import (
    MUDATA,
    Result,
    add_command,
    add_impute,
    add_modalities,
    add_model,
    add_normalize,
    add_out,
    add_switch,
    add_training,
)
from couplevi.cli._data import check_names, layers_of

if TYPE_CHECKING:
    from mudata import MuData

    from couplevi.cli._command import Commands
    from couplevi.model import JAMIE


def add(commands: Commands) -> None:
    """Declare ``couplevi run``."""
    parser = add_command(commands, "run", "train JAMIE; write latents and imputations", _run, (MUDATA,))
    add_modalities(parser, "two or more modalities")
    add_normalize(parser)
    add_impute(parser)
    parser.add_argument("--correspondence", metavar="KEY", help="links in .obsp; default: cells of the same name")
    parser.add_argument("--match", metavar="KEY", help="inferred links in .obsp")
    parser.add_argument("--batch-key", metavar="COLUMN", help="batch of each cell, in .obs")
    parser.add_argument("--labels-key", metavar="COLUMN", help="labels to predict from the latent, in .obs")
    parser.add_argument("--preset", default="default", help="default, integration or paper")
    parser.add_argument("--n-latent", type=int, default=32, help="latent dimensions (32)")
    parser.add_argument(
        "--checkpoint", type=user_path, metavar="FILE", help="written while training; resumed from if there"
    )
    add_training(parser)
    add_switch(parser, "--umap", about="also write a UMAP shared by all modalities")
    add_model(parser)
    add_out(parser)


def _run(mdata: MuData, arguments: argparse.Namespace) -> Result:
    from couplevi import tl

    check_impute(arguments, arguments.modalities)
    model = tl.jamie(
        mdata,
        modalities=arguments.modalities,
        layers=layers_of(mdata.mod, arguments),
        use_rep=dict(arguments.use_rep),
        correspondence_key=arguments.correspondence,
        match_key=arguments.match,
        batch_key=arguments.batch_key,
        preset=arguments.preset,
        n_latent=arguments.n_latent,
        seed=arguments.seed,
        train_kwargs={"max_epochs": arguments.max_epochs, "checkpoint": arguments.checkpoint},
    )
    if arguments.labels_key is not None:
        tl.predict_labels(mdata, model, labels=arguments.labels_key)
    impute(mdata, model, arguments)
    if arguments.umap:
        tl.umap(mdata, seed=arguments.seed)
    return Result(model)


def check_impute(arguments: argparse.Namespace, modalities: Sequence[str]) -> None:
    """Raise unless what is asked for can be imputed by a model of these modalities."""
    from couplevi._validate import check_different

    for pair in arguments.impute:
        check_names(pair, modalities, "--impute")
        check_different(*pair)


def impute(mdata: MuData, model: JAMIE, arguments: argparse.Namespace) -> None:
    """Impute what is asked for, with standard deviations where the model has them."""
    from couplevi import tl

    for source, target in dict.fromkeys(arguments.impute):
        has_sd = model.has_sd(source, target)
        tl.impute(mdata, model, source=source, target=target, return_sd=arguments.return_sd and has_sd)
        if arguments.return_sd and not has_sd:
            sys.stderr.write(f"couplevi: no standard deviations of {target} from {source}: they take 80 pairs\n")
