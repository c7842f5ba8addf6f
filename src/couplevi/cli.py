"""Command line: what :mod:`couplevi.tl` does in a notebook, for pipelines."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from couplevi._paths import user_path

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from mudata import MuData

    from couplevi.model import CellText

EXAMPLE = """\
example:
  couplevi match cells.h5mu --modalities rna,atac --layer rna=log1p --group donor --out matched.h5mu
  couplevi run cells.h5mu --modalities rna,ephys --layer rna=log1p --impute rna:ephys --out integrated.h5mu --model jamie
  couplevi evaluate integrated.h5mu --model jamie --labels cell_type --in-sample
  couplevi embed cells.h5mu --modalities rna,protein --labels-key cell_type --batch-key donor --out embedded.h5mu
  couplevi perturb screen.h5ad --state-key perturbation --control non-targeting --layer log1p --out told.h5ad
  couplevi annotate cells.h5ad --labels-key cell_type --ontology cl.obo --labels asked.txt --model celltext --out named.h5ad
  couplevi annotate others.h5ad --with-model celltext --labels asked.txt --ontology cl.obo --out others_named.h5ad
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, or 2 after one line about bad input."""
    arguments = _parser().parse_args(argv)
    try:
        arguments.command(arguments)
    except (ValueError, TypeError, KeyError, RuntimeError, OSError, ImportError) as error:
        text = error.args[0] if isinstance(error, KeyError) and error.args else str(error)
        sys.stderr.write(f"couplevi: {' '.join(str(text).split())}\n")
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    from couplevi import __version__

    parser = argparse.ArgumentParser(
        prog="couplevi",
        description=(
            "Coupled autoencoders for single-cell modalities, perturbations as transport between Gaussians, and cells "
            "named by texts."
        ),
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"couplevi {__version__}")
    commands = parser.add_subparsers(required=True, metavar="{match,run,evaluate,embed,perturb,annotate}")

    match = commands.add_parser("match", help="infer which cells of two modalities belong together", epilog=EXAMPLE)
    match.formatter_class = argparse.RawDescriptionHelpFormatter
    match.add_argument("input", type=user_path, help="MuData, .h5mu")
    match.add_argument("--modalities", type=_names, required=True, metavar="A,B", help="rows and columns")
    match.add_argument(
        "--layer", type=_pair("="), action="append", default=[], metavar="A=LAYER", help="layer; default X"
    )
    match.add_argument("--method", default="auto", help="auto, anchored, gw or unioncom")
    match.add_argument("--known", metavar="KEY", help="known links in .obsp, or by_name; default: none")
    match.add_argument("--group", metavar="COLUMN", help="match only cells with the same label in .obs")
    match.add_argument("--seed", type=int, default=0, help="reproduces the result (0)")
    match.add_argument(
        "--out", type=user_path, required=True, metavar="OUT.h5mu", help="the MuData with .obsp['match']"
    )
    match.set_defaults(command=_match)

    run = commands.add_parser("run", help="train JAMIE; write latents and imputations", epilog=EXAMPLE)
    run.formatter_class = argparse.RawDescriptionHelpFormatter
    run.add_argument("input", type=user_path, help="MuData, .h5mu")
    run.add_argument("--modalities", type=_names, required=True, metavar="A,B", help="two or more modalities")
    run.add_argument(
        "--layer", type=_pair("="), action="append", default=[], metavar="A=LAYER", help="layer; default X"
    )
    run.add_argument("--impute", type=_pair(":"), action="append", default=[], metavar="A:B", help="predict B from A")
    run.add_argument("--sd", action="store_true", help="with --impute, also standard deviations")
    run.add_argument("--correspondence", metavar="KEY", help="links in .obsp; default: cells of the same name")
    run.add_argument("--match", metavar="KEY", help="inferred links in .obsp")
    run.add_argument("--batch-key", metavar="COLUMN", help="batch of each cell, in .obs")
    run.add_argument("--preset", default="default", help="default, integration or paper")
    run.add_argument("--n-latent", type=int, default=32, help="latent dimensions (32)")
    run.add_argument("--max-epochs", type=int, help="passes through the data; default: the preset's")
    run.add_argument(
        "--checkpoint", type=user_path, metavar="FILE", help="written while training; resumed from if there"
    )
    run.add_argument("--seed", type=int, default=0, help="reproduces the result (0)")
    run.add_argument("--umap", action="store_true", help="also write a UMAP shared by all modalities")
    run.add_argument("--model", type=user_path, metavar="DIR", help="also save the model")
    run.add_argument("--out", type=user_path, required=True, metavar="OUT.h5mu", help="the MuData with the new slots")
    run.set_defaults(command=_run)

    evaluate = commands.add_parser("evaluate", help="score a saved model", epilog=EXAMPLE)
    evaluate.formatter_class = argparse.RawDescriptionHelpFormatter
    evaluate.add_argument("input", type=user_path, help="MuData, .h5mu")
    evaluate.add_argument(
        "--model", type=user_path, required=True, metavar="DIR", help="saved by `couplevi run --model`"
    )
    evaluate.add_argument(
        "--training-data", type=user_path, metavar="H5MU", help="what to fit baselines on; default: input"
    )
    evaluate.add_argument("--labels", metavar="COLUMN", help="cell types in .obs")
    evaluate.add_argument("--baselines", type=_names, default=[], metavar="knn,ridge", help="simple methods beside it")
    evaluate.add_argument("--in-sample", action="store_true", help="score imputation on fitted pairs, too")
    evaluate.add_argument("--out", type=user_path, metavar="CSV", help="all scores; default: a summary on the screen")
    evaluate.set_defaults(command=_evaluate)

    embed = commands.add_parser("embed", help="train JAE; write one embedding, and labels", epilog=EXAMPLE)
    embed.formatter_class = argparse.RawDescriptionHelpFormatter
    embed.add_argument("input", type=user_path, help="MuData, .h5mu")
    embed.add_argument("--modalities", type=_names, required=True, metavar="A,B", help="one or more modalities")
    embed.add_argument(
        "--layer", type=_pair("="), action="append", default=[], metavar="A=LAYER", help="layer; default X"
    )
    embed.add_argument("--labels-key", metavar="COLUMN", help="label of each cell, where it is known, in .obs")
    embed.add_argument("--batch-key", metavar="COLUMN", help="batch of each cell, in .obs")
    embed.add_argument("--preset", default="default", help="default or paper")
    embed.add_argument("--max-epochs", type=int, help="passes through the data; default: the preset's")
    embed.add_argument("--seed", type=int, default=0, help="reproduces the result (0)")
    embed.add_argument("--model", type=user_path, metavar="DIR", help="also save the model")
    embed.add_argument("--csv", type=user_path, metavar="CSV", help="also the predicted label of each cell")
    embed.add_argument("--out", type=user_path, required=True, metavar="OUT.h5mu", help="the MuData with the new slots")
    embed.set_defaults(command=_embed)

    perturb = commands.add_parser("perturb", help="rank genes and tell states of a screen with OTGM", epilog=EXAMPLE)
    perturb.formatter_class = argparse.RawDescriptionHelpFormatter
    perturb.add_argument("input", type=user_path, help="AnnData, .h5ad")
    perturb.add_argument("--state-key", required=True, metavar="COLUMN", help="state of each cell, in .obs")
    perturb.add_argument("--control", required=True, metavar="STATE", help="what the other states are compared with")
    perturb.add_argument("--layer", metavar="LAYER", help="layer of logarithmic values; default X")
    perturb.add_argument("--group-key", metavar="COLUMN", help="compare states within cells of the same label in .obs")
    perturb.add_argument("--batch-key", metavar="COLUMN", help="batch of each cell, in .obs")
    perturb.add_argument("--genes", type=user_path, metavar="CSV", help="also the ranked genes of all states")
    perturb.add_argument(
        "--out", type=user_path, required=True, metavar="OUT.h5ad", help="the AnnData with the new slots"
    )
    perturb.set_defaults(command=_perturb)
    _annotate_arguments(commands.add_parser("annotate", help="name cells by texts with CellText", epilog=EXAMPLE))
    return parser


def _annotate_arguments(annotate: argparse.ArgumentParser) -> None:
    annotate.formatter_class = argparse.RawDescriptionHelpFormatter
    annotate.add_argument("input", type=user_path, help="AnnData, .h5ad; or MuData, .h5mu, with --modality")
    annotate.add_argument("--modality", metavar="M", help="modality of a MuData")
    known = annotate.add_mutually_exclusive_group(required=True)
    known.add_argument("--labels-key", metavar="COLUMN", help="type of each cell, where it is known, in .obs")
    known.add_argument("--text-key", metavar="COLUMN", help="text of each cell in .obs, in place of types")
    known.add_argument("--with-model", type=user_path, metavar="DIR", help="train none: one saved by --model")
    annotate.add_argument(
        "--labels", metavar="FILE|A,B", help="types to choose from, one a line; default: all that have cells or texts"
    )
    annotate.add_argument(
        "--descriptions",
        type=user_path,
        metavar="FILE",
        help="texts of types: .json, or .tsv with columns label and text",
    )
    annotate.add_argument(
        "--ontology", type=user_path, metavar="FILE", help="texts of the other types: .obo, or .tsv of its terms"
    )
    annotate.add_argument(
        "--text-encoder", metavar="NAME|DIR", help="tfidf (default), or a sentence-transformers model of this machine"
    )
    values = annotate.add_mutually_exclusive_group()
    values.add_argument("--layer", metavar="LAYER", help="layer of values; default X")
    values.add_argument("--use-rep", metavar="KEY", help="representation in .obsm in place of a layer")
    annotate.add_argument(
        "--unknown-below", type=float, default=0.05, metavar="T", help="typicality below which a cell is unknown (0.05)"
    )
    annotate.add_argument("--max-epochs", type=int, help="passes through the data; default: the preset's")
    annotate.add_argument("--seed", type=int, default=0, help="reproduces the result (0)")
    annotate.add_argument("--model", type=user_path, metavar="DIR", help="also save the model")
    annotate.add_argument("--csv", type=user_path, metavar="CSV", help="also the label of each cell")
    annotate.add_argument("--out", type=user_path, required=True, metavar="OUT", help="the input with the new slots")
    annotate.set_defaults(command=_annotate)


def _match(arguments: argparse.Namespace) -> None:
    _check_output(arguments.out)
    mdata = _read(arguments.input)

    from couplevi import tl

    tl.match(
        mdata,
        modalities=arguments.modalities,
        layers=dict(arguments.layer),
        method=arguments.method,
        known=arguments.known,
        group_key=arguments.group,
        seed=arguments.seed,
    )
    _write(mdata, arguments.out)


def _run(arguments: argparse.Namespace) -> None:
    _check_output(arguments.out)
    _check_model(arguments.model)
    mdata = _read(arguments.input)

    from couplevi import tl
    from couplevi._validate import check_option

    for source, target in arguments.impute:
        check_option(source, arguments.modalities, "--impute")
        check_option(target, arguments.modalities, "--impute")
    model = tl.jamie(
        mdata,
        modalities=arguments.modalities,
        layers=dict(arguments.layer),
        correspondence_key=arguments.correspondence,
        match_key=arguments.match,
        batch_key=arguments.batch_key,
        preset=arguments.preset,
        n_latent=arguments.n_latent,
        seed=arguments.seed,
        train_kwargs={"max_epochs": arguments.max_epochs, "checkpoint": arguments.checkpoint},
    )
    for source, target in arguments.impute:
        has_sd = model.has_sd(source, target)
        tl.impute(mdata, model, source=source, target=target, return_sd=arguments.sd and has_sd)
        if arguments.sd and not has_sd:
            sys.stderr.write(f"couplevi: no standard deviations of {target} from {source}: they take 80 pairs\n")
    if arguments.umap:
        tl.umap(mdata, seed=arguments.seed)
    if arguments.model is not None:
        model.save(arguments.model, overwrite=True)
    _write(mdata, arguments.out)


def _evaluate(arguments: argparse.Namespace) -> None:
    if arguments.out is not None:
        _check_output(arguments.out)
    mdata = _read(arguments.input)

    from couplevi import tl
    from couplevi.model import JAMIE

    training = mdata if arguments.training_data is None else _read(arguments.training_data)
    model = JAMIE.load(arguments.model, adata=training)
    frame: pd.DataFrame = tl.evaluate(
        mdata, model, labels=arguments.labels, baselines=arguments.baselines, in_sample=arguments.in_sample
    )
    if arguments.out is None:
        sys.stdout.write(tl.summary(frame).to_string() + "\n")
    else:
        frame.to_csv(arguments.out, index=False)


def _embed(arguments: argparse.Namespace) -> None:
    _check_output(arguments.out)
    _check_model(arguments.model)
    _check_table(arguments.csv, "--csv", arguments.out)
    if arguments.csv is not None and arguments.labels_key is None:
        raise ValueError("Expected `--labels-key` with `--csv`, found none. Labels are predicted where some are known.")
    mdata = _read(arguments.input)

    from couplevi import tl

    model = tl.jae(
        mdata,
        modalities=arguments.modalities,
        layers=dict(arguments.layer),
        labels_key=arguments.labels_key,
        batch_key=arguments.batch_key,
        preset=arguments.preset,
        seed=arguments.seed,
        train_kwargs={"max_epochs": arguments.max_epochs},
    )
    if arguments.csv is not None and not model.labels_:
        raise ValueError(f"Expected two or more labels in column {arguments.labels_key!r}, found fewer.")
    if arguments.model is not None:
        model.save(arguments.model, overwrite=True)
    _write(mdata, arguments.out)
    if arguments.csv is not None:
        from couplevi._constants import Key

        columns = (Key.obs.jae_label("jae"), Key.obs.jae_label_confidence("jae"), Key.obs.jae_label_typicality("jae"))
        _write_labels(mdata.obs[list(columns)], arguments.csv)


def _write_labels(table: pd.DataFrame, path: Path) -> None:
    """Write label, confidence and typicality of each cell as a table."""
    table.set_axis(["label", "confidence", "typicality"], axis=1).to_csv(path, index_label="cell")
    sys.stderr.write(f"couplevi: wrote {path}\n")


def _perturb(arguments: argparse.Namespace) -> None:
    _check_output(arguments.out)
    _check_table(arguments.genes, "--genes", arguments.out)
    adata = _read_anndata(arguments.input)

    from couplevi import tl

    model = tl.otgm(
        adata,
        state_key=arguments.state_key,
        control=arguments.control,
        layer=arguments.layer,
        group_key=arguments.group_key,
        batch_key=arguments.batch_key,
    )
    _write(adata, arguments.out)
    if arguments.genes is not None:
        import pandas as pd

        ranked = {state: model.rank_genes(state) for state in model.states_ if state != model.control_}
        frame = pd.concat(ranked, names=["state"]).reset_index(level="state")
        frame.to_csv(arguments.genes, index=False)
        sys.stderr.write(f"couplevi: wrote {arguments.genes}\n")


def _annotate(arguments: argparse.Namespace) -> None:
    _check_output(arguments.out)
    _check_model(arguments.model)
    _check_table(arguments.csv, "--csv", arguments.out)
    _check_use(arguments)
    asked = None if arguments.labels is None else _labels(arguments.labels)
    texts = {} if arguments.descriptions is None else _descriptions(arguments.descriptions)
    data = _read(arguments.input) if arguments.input.suffix == ".h5mu" else _read_anndata(arguments.input)
    adata = _modality(data, arguments.modality, arguments.labels_key or arguments.text_key)

    from couplevi import tl

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
    if arguments.model is not None:
        model.save(arguments.model, overwrite=True)
    _write(data, arguments.out)
    if arguments.csv is not None:
        from couplevi._constants import Key

        columns = (
            Key.obs.text_label("celltext"),
            Key.obs.text_confidence("celltext"),
            Key.obs.text_typicality("celltext"),
        )
        _write_labels(adata.obs[list(columns)], arguments.csv)


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


def _modality(data: AnnData | MuData, modality: str | None, column: str | None) -> AnnData:
    """The cells to annotate; types of a MuData's cells may be in its own `obs`."""
    import anndata

    if isinstance(data, anndata.AnnData):
        if modality is not None:
            raise ValueError(f"Expected no `--modality` with an AnnData, found {modality!r}.")
        return data
    if modality not in data.mod:
        raise ValueError(f"Expected `--modality` to be one of {list(data.mod)}, found {modality!r}.")
    adata = data.mod[modality]
    if column is not None and column not in adata.obs and column in data.obs:
        adata.obs[column] = data.obs[column].reindex(adata.obs_names)
    return adata


def _types(adata: AnnData, column: str | None) -> list[str]:
    """Types that an ontology is asked for: those of cells."""
    if column not in adata.obs:
        return []  # set-up says what is missing
    from couplevi._labels import label_texts

    return sorted({label for label in label_texts(adata.obs[column]) if isinstance(label, str)})


def _labels(given: str) -> list[str]:
    """Types of a file, one a line, or between commas."""
    path = user_path(given)
    found = path.read_text(encoding="utf-8").splitlines() if path.is_file() else given.split(",")
    names = [name.strip() for name in found if name.strip()]
    if not names:
        raise ValueError(f"Expected one or more types in `--labels`, found none in {given!r}.")
    return names


def _descriptions(path: Path) -> dict[str, Any]:
    """Texts of types, from a table or from JSON."""
    _check_input(path, "descriptions")
    shape = "a .json file of {label: text}, or a .tsv file with columns label and text"
    if path.suffix == ".json":
        import json

        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise _unreadable(path, shape, error) from error
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


def _read(path: Path) -> MuData:
    _check_input(path, "a MuData")
    import mudata

    from couplevi._mudata import without_pulling

    try:
        with without_pulling():
            return mudata.read_h5mu(path)
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise _unreadable(path, "a MuData (.h5mu)", error) from error


def _read_anndata(path: Path) -> AnnData:
    _check_input(path, "an AnnData")
    import anndata

    try:
        return anndata.read_h5ad(path)
    except Exception as error:  # what anndata raises for other files is of many kinds, one of them private
        raise _unreadable(path, "an AnnData (.h5ad)", error) from error


def _unreadable(path: Path, kind: str, error: Exception) -> ValueError:
    reason = str(error).splitlines()[0]
    return ValueError(f"Expected {str(path)!r} to be {kind}, found a file that is not: {reason}")


def _write(data: AnnData | MuData, path: Path) -> None:
    from couplevi._mudata import without_pulling

    # complete before it replaces anything, which may be what was read
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as folder, without_pulling():
        temporary = Path(folder) / path.name
        data.write(temporary)
        os.replace(temporary, path)
    sys.stderr.write(f"couplevi: wrote {path}\n")


def _check_input(path: Path, kind: str) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"Expected {kind} at {str(path)!r}, found no such file.")


def _check_output(path: Path) -> None:
    if not path.parent.is_dir():
        raise FileNotFoundError(f"Expected a folder {str(path.parent)!r} to write to, found none. Create it first.")
    if path.is_dir():
        raise ValueError(f"Expected a file to write to, found a folder {str(path)!r}. Name a file in it.")


def _check_table(path: Path | None, option: str, out: Path) -> None:
    """A second output, which must not replace the first."""
    if path is None:
        return
    _check_output(path)
    if path.resolve() == out.resolve():
        raise ValueError(f"Expected two files for `--out` and `{option}`, found {str(out)!r} twice.")


def _check_model(path: Path | None) -> None:
    if path is not None and path.is_file():
        raise ValueError(f"Expected a folder for the model, found a file {str(path)!r}. Choose another name.")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _pair(separator: str) -> Callable[[str], tuple[str, str]]:
    """Type of an argument such as ``rna=log1p``."""

    def parse(text: str) -> tuple[str, str]:
        left, found, right = text.partition(separator)
        if not (found and left and right):
            raise argparse.ArgumentTypeError(f"expected two names joined by {separator!r}, found {text!r}")
        return left, right

    return parse


if __name__ == "__main__":
    sys.exit(main())
