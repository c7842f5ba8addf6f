from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from couplevi._constants import SINGLE
from couplevi.cli._command import (
    ANNDATA,
    MUDATA,
    Pair,
    Result,
    add_command,
    add_model,
    add_normalize,
    add_out,
    add_repeated,
    add_switch,
    add_table,
    add_training,
    names,
)
from couplevi.cli._data import label_table, layers_of

if TYPE_CHECKING:
    from anndata import AnnData
    from mudata import MuData

    from couplevi.cli._command import Commands


def add(commands: Commands) -> None:
    """Declare ``couplevi cplmixvae``."""
    about = "train CplMixVAE; write cell types and states within them"
    parser = add_command(commands, "cplmixvae", about, _cplmixvae, (ANNDATA, MUDATA))
    parser.add_argument("--n-categories", type=int, required=True, metavar="K", help="number of types to start from")
    parser.add_argument("--modalities", type=names, metavar="A,B", help="one or more modalities of a MuData")
    add_repeated(parser, "--layer", Pair("=", SINGLE), "[A=]LAYER", "layer, of an AnnData without A=; default X")
    add_repeated(parser, "--use-rep", Pair("=", SINGLE), "[A=]KEY", "representation in .obsm in place of a layer")
    add_normalize(parser)
    parser.add_argument("--correspondence", metavar="KEY", help="links in .obsp; default: cells of the same name")
    parser.add_argument("--labels-key", metavar="KEY", help="column of .obs with the types of some cells")
    parser.add_argument("--batch-key", metavar="KEY", help="column of .obs with the batch of each cell")
    parser.add_argument("--n-init", type=int, default=1, help="trainings, of which the most typical one is kept")
    parser.add_argument("--max-epochs-prune", type=int, help="passes through the data after a type is removed")
    add_switch(parser, "--prune", about="remove types that are not needed", default=True)
    add_training(parser)
    add_model(parser)
    add_table(parser, "also the type of each cell")
    add_out(parser)


def _cplmixvae(data: AnnData | MuData, arguments: argparse.Namespace) -> Result:
    from couplevi import tl
    from couplevi._constants import Key

    cells, asked = _asked(data, arguments)
    model = tl.cplmixvae(
        cells,
        n_categories=arguments.n_categories,
        correspondence_key=arguments.correspondence,
        labels_key=arguments.labels_key,
        batch_key=arguments.batch_key,
        n_init=arguments.n_init,
        seed=arguments.seed,
        train_kwargs={
            "max_epochs": arguments.max_epochs,
            "max_epochs_prune": arguments.max_epochs_prune,
            "prune": arguments.prune,
        },
        **asked,
    )
    if arguments.csv is None:
        return Result(model)
    columns = [Key.obs.category("cplmixvae"), Key.obs.category_confidence("cplmixvae")]
    if arguments.n_init > 1:
        columns.append(Key.obs.category_stability("cplmixvae"))
    return Result(model, {"csv": label_table(cells.obs, columns)})


def _asked(data: AnnData | MuData, arguments: argparse.Namespace) -> tuple[AnnData | MuData, dict[str, Any]]:
    """Cells to model, and where their values are; a single modality of a MuData is an AnnData."""
    from couplevi._validate import check_modality

    several = hasattr(data, "mod")
    layers, reps = layers_of(data.mod if several else {SINGLE: data}, arguments), dict(arguments.use_rep)
    if several and len(arguments.modalities or ()) != 1:
        return data, {"modalities": arguments.modalities, "layers": layers, "use_rep": reps}
    name = arguments.modalities[0] if several else SINGLE
    if several:
        check_modality(data, name, "modalities")
    modalities = None if several else arguments.modalities
    cells = data.mod[name] if several else data
    return cells, {"modalities": modalities, "layers": layers.get(name), "use_rep": reps.get(name)}
