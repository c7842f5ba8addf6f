from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from couplevi.cli._command import (
    ANNDATA,
    MUDATA,
    Result,
    add_command,
    add_normalize,
    add_out,
    add_saved,
    add_table,
    listed,
)
from couplevi.cli._data import modality_of, normalized, saved_class

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from mudata import MuData

    from couplevi.cli._command import Commands


def add(commands: Commands) -> None:
    """Declare ``couplevi explain``."""
    about = "which features drive what a saved JAMIE predicts, or pull cells towards texts of a CellText"
    parser = add_command(commands, "explain", about, _explain, (MUDATA, ANNDATA))
    add_saved(parser, "--model", about="saved by --model of `couplevi run` or `couplevi annotate`")
    add_normalize(parser)
    parser.add_argument("--source", metavar="A", help="JAMIE: modality whose features explain")
    parser.add_argument("--target", metavar="B", help="JAMIE: modality that is explained, latent, or predicted labels")
    parser.add_argument("--targets", metavar="FILE|X,Y", help="features of the target; default: all")
    parser.add_argument("--method", default="gradient", help="gradient, permutation or deep")
    parser.add_argument("--texts", metavar="FILE|X,Y", help="CellText: texts, or labels that it knows")
    parser.add_argument("--modality", metavar="M", help="CellText: modality of a MuData")
    parser.add_argument("--cells", metavar="FILE|X,Y", help="cells to explain; default: all")
    parser.add_argument("--seed", type=int, default=0, help="reproduces the result (0)")
    add_table(parser, "also mean absolute Shapley values, features by what is explained")
    add_out(parser)


def _explain(data: AnnData | MuData, arguments: argparse.Namespace) -> Result:
    from couplevi.model import JAMIE, CellText

    cls = saved_class(arguments.with_model)
    asked = {JAMIE: (("source", "target"), _by_features), CellText: (("texts",), _by_texts)}
    if cls not in asked:
        raise ValueError(f"Expected a JAMIE or CellText in `--model`, found a {cls.__name__}. It explains nothing.")
    needed, function = asked[cls]
    for option in ("source", "target", "texts"):
        if (option in needed) == (getattr(arguments, option) is None):
            word, found = ("", "none") if option in needed else ("no ", "it")
            remedy = f"It takes {' and '.join(f'`--{name}`' for name in needed)}."
            raise ValueError(f"Expected {word}`--{option}` with a {cls.__name__}, found {found}. {remedy}")
    table = function(data, arguments).rename_axis("feature")
    return Result(tables={} if arguments.csv is None else {"csv": table})


def _by_features(mdata: MuData, arguments: argparse.Namespace) -> pd.DataFrame:
    import pandas as pd

    from couplevi import tl
    from couplevi._validate import check_mudata
    from couplevi.model import JAMIE

    normalized(check_mudata(mdata).mod, arguments.normalize)
    found = tl.explain(
        mdata,
        JAMIE.load(arguments.with_model, adata=False),
        source=arguments.source,
        target=arguments.target,
        targets=_chosen(arguments, "targets"),
        cells=_chosen(arguments, "cells"),
        method=arguments.method,
        aggregate="mean_abs",
        seed=arguments.seed,
    )
    return pd.DataFrame(found.values, index=found.feature_names, columns=found.output_names)


def _by_texts(data: AnnData | MuData, arguments: argparse.Namespace) -> pd.DataFrame:
    import numpy as np
    import pandas as pd

    from couplevi import tl
    from couplevi.model import CellText

    found = tl.explain_text(
        modality_of(data, arguments.modality),
        CellText.load(arguments.with_model, adata=False),
        texts=listed(arguments.texts, "--texts"),
        cells=_chosen(arguments, "cells"),
        seed=arguments.seed,
    )
    return pd.DataFrame(np.abs(found.values).mean(axis=0), index=found.feature_names, columns=found.output_names)


def _chosen(arguments: argparse.Namespace, option: str) -> list[str] | None:
    given = getattr(arguments, option)
    return None if given is None else listed(given, f"--{option}")
