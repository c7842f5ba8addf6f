"""Time and memory from 1,000 to 1,000,000 cells, in memory and from a file, beside totalVI and MultiVI.

    python -m benchmarks.runs.scale --out docs/_static/scale

Simulated sparse data: 2,000 and 500 features, 10 % of the values filled; half of the cells measured in both
modalities, a quarter in each one alone. Every row is measured in a process of its own.
"""

from __future__ import annotations

import logging
import multiprocessing
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import mudata as md
import numpy as np
import pandas as pd
from lightning.pytorch.callbacks import Callback
from matplotlib.figure import Figure

from benchmarks.runs._common import in_new_process, make_parser, markdown, peak, settle
from benchmarks.tasks.counts import N_FEATURES, random_counts

SIZES = (1_000, 10_000, 100_000, 1_000_000)
PEER_CELLS = 10_000
BATCH_SIZE = 256


def write(n: int, path: str) -> None:
    """Simulated data in a file."""
    settle()
    random_counts(n, paired=0.5).write(path)


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds, and what was returned."""
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def measure(n: int, backed: bool) -> dict[str, float]:
    """One row of the table."""
    import couplevi as cvi

    with tempfile.TemporaryDirectory() as folder:
        if backed:  # written by another process, whose memory does not count
            path = f"{folder}/x.h5mu"
            writer = multiprocessing.get_context("spawn").Process(target=write, args=(n, path))
            writer.start()
            writer.join()
            mdata = md.read_h5mu(path, backed="r")
        else:
            mdata = random_counts(n, paired=0.5)
        start = peak()
        quiet = {"enable_progress_bar": False, "accelerator": "cpu"}
        cvi.model.JAMIE.setup_mudata(mdata, modalities=tuple(N_FEATURES))
        model = cvi.model.JAMIE(mdata, batch_size=BATCH_SIZE)
        first, _ = timed(lambda: model.train(max_epochs=1, **quiet))
        clock = Clock()
        model.train(max_epochs=3 if n < 1_000_000 else 2, callbacks=[clock], **quiet)
        epoch = float(np.median(clock.epochs))
        loading, n_batches = timed(lambda: sum(1 for _ in clock.loader))
        embed, _ = timed(model.get_latent_representation)
        impute, imputed = timed(lambda: model.impute(source="rna", target="protein"))
        size = imputed.X.nbytes / 1e9
        save, _ = timed(lambda: model.save(f"{folder}/model"))
        load, _ = timed(lambda: cvi.model.JAMIE.load(f"{folder}/model", adata=mdata))
        return {
            "set-up and PCA (s)": first - epoch,
            "epoch (s)": epoch,
            "cells per second": n / epoch,
            "loader (share)": loading / epoch,
            "loader (ms per batch)": 1e3 * loading / n_batches,
            "embed (s)": embed,
            "impute (s)": impute,
            "save and load (s)": save + load,
            "peak (GB)": peak() / 1e9,
            "above the data (GB)": (peak() - start) / 1e9,
            "imputed values (GB)": size,
        }


def measure_peer(n: int, name: str) -> dict[str, float]:
    """Training speed of a model of scvi-tools on the fully paired equivalent, and of JAMIE in the same process."""
    import scvi

    import couplevi as cvi

    mdata = random_counts(n, paired=1.0)
    quiet = {"enable_progress_bar": False, "accelerator": "cpu", "batch_size": BATCH_SIZE, "early_stopping": False}
    cvi.model.JAMIE.setup_mudata(mdata, modalities=tuple(N_FEATURES))
    ours = cvi.model.JAMIE(mdata)
    if name == "totalVI":
        adata = mdata["rna"].copy()
        adata.obsm["protein"] = mdata["protein"].X.toarray()
        scvi.model.TOTALVI.setup_anndata(adata, protein_expression_obsm_key="protein")
        theirs = scvi.model.TOTALVI(adata, n_hidden=256, n_latent=32)
    else:
        scvi.model.MULTIVI.setup_mudata(mdata, modalities={"rna_layer": "rna", "atac_layer": "protein"})
        theirs = scvi.model.MULTIVI(mdata, n_genes=2_000, n_regions=500, n_hidden=256, n_latent=32)
    speeds = {}
    for label, model in (("JAMIE", ours), (name, theirs)):
        # totalVI needs validation cells; it does not look at them in these epochs
        options = quiet | (
            {"train_size": 1.0} if model is ours else {"train_size": 0.9, "check_val_every_n_epoch": 100}
        )
        model.train(max_epochs=1, **options)
        clock = Clock()
        model.train(max_epochs=3, callbacks=[clock], **options)
        speeds[label] = n * options["train_size"] / float(np.median(clock.epochs))
    return {
        "JAMIE (cells per second)": speeds["JAMIE"],
        "peer (cells per second)": speeds[name],
        "ratio": speeds["JAMIE"] / speeds[name],
    }


def measure_pca(n: int) -> dict[str, float]:
    """Components of sparse data: ours, weights included, against scanpy's."""
    import scanpy as sc

    from couplevi.preparation import fit_preparation

    adata = random_counts(n, paired=1.0)["rna"]
    start = peak()
    equal, _ = timed(lambda: fit_preparation(adata.X, 50, "equal"))
    weighted, _ = timed(lambda: fit_preparation(adata.X, 50))
    ours = (peak() - start) / 1e9
    theirs, _ = timed(lambda: sc.pp.pca(adata, n_comps=50))
    return {"ours (s)": equal, "ours, weighted (s)": weighted, "scanpy (s)": theirs, "ours, above the data (GB)": ours}


class Clock(Callback):
    """Seconds of each epoch, and the loader of the batches."""

    def __init__(self) -> None:
        self.epochs: list[float] = []
        self.loader: Any = None

    def on_train_epoch_start(self, *args: Any) -> None:
        self.start = time.perf_counter()

    def on_train_epoch_end(self, trainer: Any, *args: Any) -> None:
        self.epochs.append(time.perf_counter() - self.start)
        self.loader = trainer.train_dataloader


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--out", type=Path, required=True, help="tables (.md) and figure (.png), without the suffix")
    arguments = parser.parse_args()
    todo = [("in memory", n) for n in SIZES] + [("from a file", SIZES[-1])]
    scale = pd.DataFrame([_measured(kind, n) for kind, n in todo])
    peers = pd.DataFrame([_measured(name, PEER_CELLS) for name in PEERS])
    pca = pd.DataFrame([_measured("pca", 100_000)])
    scale["published, by formula (GB)"] = 3 * 8 * scale["cells"] ** 2 / 1e9  # three dense float64 matrices
    tables = ["\n".join(_table(frame)) for frame in (scale.set_index("data").T.reset_index(), peers, pca)]
    arguments.out.with_suffix(".md").write_text("\n\n".join(tables) + "\n")
    _figure(scale[scale["data"] == "in memory"]).savefig(arguments.out.with_suffix(".png"), dpi=150)


def _quietly(kind: str, n: int) -> dict[str, float]:
    settle()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    return MEASURES[kind](n)


def _measured(kind: str, n: int) -> dict[str, object]:
    """A row, measured in a process of its own."""
    result = in_new_process(_quietly, kind, n)
    print(kind, n, {name: float(f"{value:.3g}") for name, value in result.items()}, flush=True)
    return {"data": kind, "cells": n, **result}


def _table(frame: pd.DataFrame) -> Iterator[str]:
    rows = ([f"{v:.3g}" if isinstance(v, float) else v for v in row] for row in frame.to_numpy(dtype=object))
    return markdown(frame.columns.astype(str), rows)


def _figure(table: pd.DataFrame) -> Figure:
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for column in ("set-up and PCA (s)", "epoch (s)", "embed (s)", "impute (s)"):
        axes[0].loglog(table["cells"], table[column], marker="o", label=column.removesuffix(" (s)"))
    axes[1].loglog(table["cells"], table["above the data (GB)"], marker="o", label="couplevi, above the data")
    axes[1].loglog(table["cells"], table["published, by formula (GB)"], "--", color="grey", label="published algorithm")
    axes[0].set(xlabel="cells", ylabel="seconds")
    axes[1].set(xlabel="cells", ylabel="GB")
    for ax in axes:
        ax.legend(frameon=False, fontsize="small")
    return figure


PEERS = ("totalVI", "MultiVI")
MEASURES = {
    "in memory": partial(measure, backed=False),
    "from a file": partial(measure, backed=True),
    **{name: partial(measure_peer, name=name) for name in PEERS},
    "pca": measure_pca,
}

if __name__ == "__main__":
    main()
