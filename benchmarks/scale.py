"""Time and memory from 1,000 to 1,000,000 cells, in memory and from a file, beside totalVI and MultiVI.

    python -m benchmarks.scale --out docs/_static/scale

Simulated sparse data: 2,000 and 500 features, 10 % of the values filled; half of the cells measured in both
modalities, a quarter in each one alone. Every row is measured in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path

import anndata as ad
import matplotlib.pyplot as plt
import mudata as md
import numpy as np
import pandas as pd
import scipy.sparse as sp
from lightning.pytorch.callbacks import Callback
from matplotlib.figure import Figure

SIZES = (1_000, 10_000, 100_000, 1_000_000)
PEER_CELLS = 10_000
N_FEATURES = {"rna": 2_000, "protein": 500}
BATCH_SIZE = 256
ROWS = 10_000


def peak() -> float:
    """Largest memory of this process so far, GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def simulate(n: int, paired: float) -> md.MuData:
    """Counts from 1 to 9 at random places, row by row, so that making them takes no more than the data."""
    rng = np.random.default_rng(0)
    names = np.array([f"cell{i}" for i in range(n)])
    alone = round((1 - paired) * n / 2)
    cells = {"rna": names[: n - alone], "protein": names[alone:]}
    modalities = {}
    for m, n_vars in N_FEATURES.items():
        n_filled, n_cells = n_vars // 10, len(cells[m])
        places = [
            rng.integers(0, n_vars, size=(min(ROWS, n_cells - start), n_filled)).astype(np.int32)
            for start in range(0, n_cells, ROWS)
        ]
        indices = np.concatenate(places).ravel()
        values = rng.integers(1, 10, len(indices)).astype(np.float32)
        x = sp.csr_matrix((values, indices, np.arange(0, len(indices) + 1, n_filled)), shape=(n_cells, n_vars))
        x.sum_duplicates()
        modalities[m] = ad.AnnData(x, obs=pd.DataFrame(index=cells[m]))
        modalities[m].var_names = [f"{m}{j}" for j in range(n_vars)]
    return md.MuData(modalities)


def write(n: int, path: str) -> None:
    """Simulated data in a file."""
    simulate(n, paired=0.5).write(path)


def timed(call) -> tuple[float, object]:
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
            mdata = simulate(n, paired=0.5)
        start = peak()
        quiet = {"enable_progress_bar": False, "accelerator": "cpu"}
        cvi.model.JAMIE.setup_mudata(mdata, modalities=tuple(N_FEATURES))
        model = cvi.model.JAMIE(mdata, batch_size=BATCH_SIZE)
        first, _ = timed(lambda: model.train(max_epochs=1, **quiet))
        clock = Clock()
        model.train(max_epochs=3 if n < 1_000_000 else 2, callbacks=[clock], **quiet)
        loader = _loader_seconds(model)
        epoch = float(np.median(clock.epochs))
        embed, _ = timed(model.get_latent_representation)
        impute, imputed = timed(lambda: model.impute(source="rna", target="protein"))
        size = imputed.X.nbytes / 1e9
        save, _ = timed(lambda: model.save(f"{folder}/model"))
        load, _ = timed(lambda: cvi.model.JAMIE.load(f"{folder}/model", adata=mdata))
        return {
            "set-up and PCA (s)": first - epoch,
            "epoch (s)": epoch,
            "cells per second": n / epoch,
            "loader (share)": loader["share"] / epoch,
            "loader (ms per batch)": loader["batch"],
            "embed (s)": embed,
            "impute (s)": impute,
            "save and load (s)": save + load,
            "peak (GB)": peak(),
            "above the data (GB)": peak() - start,
            "imputed values (GB)": size,
        }


def _loader_seconds(model) -> dict[str, float]:
    """Seconds that the loader alone takes for an epoch, and milliseconds for a batch."""
    from couplevi.dataloaders import CoupledDataSplitter

    dataset, _ = model._training_data()
    splitter = CoupledDataSplitter(
        None, dataset=dataset, batch_size=BATCH_SIZE, mixup_alpha=model.settings_.mixup_alpha
    )
    loader = splitter.train_dataloader()
    seconds, n_batches = timed(lambda: sum(1 for _ in loader))
    return {"share": seconds, "batch": 1e3 * seconds / n_batches}


def measure_peer(n: int, name: str) -> dict[str, float]:
    """Training speed of a model of scvi-tools on the fully paired equivalent, and of JAMIE in the same process."""
    import scvi

    import couplevi as cvi

    mdata = simulate(n, paired=1.0)
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

    adata = simulate(n, paired=1.0)["rna"]
    start = peak()
    equal, _ = timed(lambda: fit_preparation(adata.X, 50, "equal"))
    weighted, _ = timed(lambda: fit_preparation(adata.X, 50))
    ours = peak() - start
    theirs, _ = timed(lambda: sc.pp.pca(adata, n_comps=50))
    return {"ours (s)": equal, "ours, weighted (s)": weighted, "scanpy (s)": theirs, "ours, above the data (GB)": ours}


class Clock(Callback):
    """Seconds of each epoch."""

    def __init__(self) -> None:
        self.epochs: list[float] = []

    def on_train_epoch_start(self, *args) -> None:
        self.start = time.perf_counter()

    def on_train_epoch_end(self, *args) -> None:
        self.epochs.append(time.perf_counter() - self.start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="tables (.md, .csv) and figure (.png), without the suffix")
    parser.add_argument("--one", nargs=2, metavar=("KIND", "N"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        kind, n = arguments.one[0], int(arguments.one[1])
        warnings.filterwarnings("ignore")
        logging.disable(logging.WARNING)
        print(json.dumps(MEASURES[kind](n)))
        return
    todo = [("in memory", n) for n in SIZES] + [("from a file", SIZES[-1])]
    scale = pd.DataFrame([{"data": kind, "cells": n, **_in_own_process(kind, n)} for kind, n in todo])
    peers = pd.DataFrame([{"peer": name, "cells": PEER_CELLS, **_in_own_process(name, PEER_CELLS)} for name in PEERS])
    pca = pd.DataFrame([{"cells": 100_000, **_in_own_process("pca", 100_000)}])
    scale["published, by formula (GB)"] = 3 * 8 * scale["cells"] ** 2 / 1e9  # three dense float64 matrices
    tables = [
        frame.to_markdown(index=False, floatfmt=".3g")
        for frame in (scale.set_index("data").T.reset_index(), peers, pca)
    ]
    arguments.out.with_suffix(".md").write_text("\n\n".join(tables) + "\n")
    _figure(scale[scale["data"] == "in memory"]).savefig(arguments.out.with_suffix(".png"), dpi=150)


def _in_own_process(kind: str, n: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.scale", "--one", kind, str(n)]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(run.stderr[-2000:])
    result = json.loads(run.stdout.splitlines()[-1])
    print(kind, n, {name: float(f"{value:.3g}") for name, value in result.items()}, flush=True)
    return result


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
