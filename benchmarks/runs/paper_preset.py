"""The published model as it is, on the paper's own data and preparation: does our implementation reproduce it?

    python -m benchmarks.runs.paper_preset --data DIR

trains ``preset="paper"`` with batches of 256 on `patchseq_motor` (raw RNA counts, standardised) for its full schedule
and prints in-sample label transfer accuracy and FOSCTTM; the paper reports 0.899 and 0.002.
"""

from __future__ import annotations

import time
from pathlib import Path

import mudata as md

import couplevi as cvi
from benchmarks.runs._common import make_parser, settle


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with patchseq_motor.h5mu")
    parser.add_argument("--max-epochs", type=int, help="shorten the schedule, for a trial")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    settle()
    mdata = md.read_h5mu(arguments.data / "patchseq_motor.h5mu")
    start = time.perf_counter()
    model = cvi.tl.jamie(
        mdata,
        modalities=("rna", "ephys"),
        preset="paper",
        seed=arguments.seed,
        train_kwargs={"batch_size": 256, "max_epochs": arguments.max_epochs, "enable_progress_bar": False},
    )
    seconds = time.perf_counter() - start
    rna, ephys = (mdata[m].obsm["X_jamie"] for m in ("rna", "ephys"))
    labels = mdata.obs["cell_type"].astype(str)
    lta = cvi.metrics.label_transfer_accuracy(ephys, labels, rna, labels)
    foscttm = cvi.metrics.foscttm(rna, ephys)
    epochs = len(model.history["train_loss"])
    print(f"preset paper: LTA {lta:.3f}, FOSCTTM {foscttm:.4f}, {epochs} epochs, {seconds:.0f} s")


if __name__ == "__main__":
    main()
