from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from couplevi._paths import user_path
from couplevi.cli._command import MUDATA, Result, add_command, add_normalize, add_saved, add_switch, names
from couplevi.cli._data import normalized
from couplevi.cli._files import read

if TYPE_CHECKING:
    import pandas as pd
    from mudata import MuData

    from couplevi.cli._command import Commands


def add(commands: Commands) -> None:
    """Declare ``couplevi evaluate``."""
    parser = add_command(commands, "evaluate", "score a saved model", _evaluate, (MUDATA,))
    add_saved(parser, "--model", about="saved by `couplevi run --model`")
    add_normalize(parser)
    parser.add_argument(
        "--training-data", type=user_path, metavar="MUDATA", help="what to fit baselines on; default: input"
    )
    parser.add_argument("--labels", metavar="COLUMN", help="cell types in .obs")
    parser.add_argument("--baselines", type=names, default=[], metavar="knn,ridge", help="simple methods beside it")
    add_switch(parser, "--in-sample", about="score imputation on fitted pairs, too")
    parser.add_argument(
        "--out", "--csv", dest="csv", type=user_path, metavar="CSV", help="all scores; default: a summary on the screen"
    )


def _evaluate(mdata: MuData, arguments: argparse.Namespace) -> Result:
    from couplevi import tl
    from couplevi.model import JAMIE

    normalized(mdata.mod, arguments.normalize)
    training = mdata
    if arguments.training_data is not None:
        training = read(arguments.training_data, (MUDATA,))
        normalized(training.mod, arguments.normalize)
    model = JAMIE.load(arguments.with_model, adata=training)
    frame: pd.DataFrame = tl.evaluate(
        mdata, model, labels=arguments.labels, baselines=arguments.baselines, in_sample=arguments.in_sample
    )
    if arguments.csv is None:
        sys.stdout.write(tl.summary(frame).to_string() + "\n")
        return Result(metrics=frame)
    return Result(tables={"csv": frame}, metrics=frame)
