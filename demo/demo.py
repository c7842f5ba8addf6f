"""Two modalities, half of the cells measured in both: train, impute what was not measured, and score it.

The data are simulated, so the values that were "not measured" are known: the same simulation, complete, is what the
scores are taken on.
"""

import sys
import time
from pathlib import Path

import mudata as md

import couplevi as cvi

HERE = Path(__file__).parent


def main() -> None:
    """Run the demonstration."""
    if hasattr(md, "set_options"):  # mudata before 0.4
        md.set_options(pull_on_update=False)

    size = {"n_obs": 600, "seed": 0}
    mdata = cvi.data.branching_manifold(**size, paired=0.5)
    complete = cvi.data.branching_manifold(**size, paired=1.0)
    print(f"{mdata.n_obs} cells: rna in {mdata['rna'].n_obs}, ephys in {mdata['ephys'].n_obs}, both in half of all\n")

    start = time.perf_counter()
    model = cvi.tl.jamie(mdata, modalities=("rna", "ephys"), layers={"rna": "log1p"}, seed=0)
    print(f"\n{model}\ntrained in {time.perf_counter() - start:.0f} s\n")

    cvi.tl.impute(mdata, model, source="rna", target="ephys")
    cvi.tl.impute(mdata, model, source="ephys", target="rna")
    frame = cvi.tl.evaluate(complete, model, labels="cell_type", baselines=("knn",))
    print("Scores; knn: 5 nearest neighbours, held_out: cells that were measured in one modality only\n")
    print(cvi.tl.summary(frame).to_string(na_rep=""), "\n")

    cvi.tl.umap(mdata)
    cvi.pl.latent(mdata, color="cell_type", save=HERE / "latent.png")
    mdata.write(HERE / "integrated.h5mu")
    print(f"wrote {HERE / 'integrated.h5mu'}\n      {HERE / 'latent.png'}")


if __name__ == "__main__":
    sys.exit(main())
