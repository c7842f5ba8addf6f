import os
from pathlib import Path

import mudata as md
import numpy as np
import pytest

import couplevi as cvi


@pytest.fixture(scope="session")
def quick():
    """Arguments of `train` for tests that do not look at quality."""
    return {"max_epochs": 3, "enable_progress_bar": False, "accelerator": "cpu"}


@pytest.fixture
def mdata():
    """60 cells, 30 of them measured in both modalities."""
    return cvi.data.branching_manifold(n_obs=60, n_features={"rna": 30, "ephys": 8}, paired=0.5, seed=1)


@pytest.fixture
def paired():
    """40 cells measured in both modalities."""
    return cvi.data.branching_manifold(n_obs=40, n_features={"rna": 30, "ephys": 8}, seed=1)


@pytest.fixture(scope="session")
def three_modalities():
    """Cells of two simulations under one set of names: rna, ephys and a third modality of some of them."""
    mdata = cvi.data.branching_manifold(n_obs=60, n_features={"rna": 30, "ephys": 8}, paired=0.6, seed=2)
    morph = mdata["ephys"][::2].copy()
    morph.X = morph.X[:, ::-1] + np.random.default_rng(0).normal(size=morph.shape).astype(np.float32)
    morph.var_names = [f"morph{j}" for j in range(morph.n_vars)]
    return md.MuData({"rna": mdata["rna"], "ephys": mdata["ephys"], "morph": morph})


@pytest.fixture(scope="session")
def fitted(quick):
    """A model trained for a few epochs, and its data. Not to be changed."""
    mdata = cvi.data.branching_manifold(n_obs=60, n_features={"rna": 30, "ephys": 8}, paired=0.5, seed=1)
    model = cvi.tl.jamie(mdata, modalities=("rna", "ephys"), layers={"rna": "log1p"}, seed=0, train_kwargs=quick)
    return model, mdata


@pytest.fixture(scope="session")
def data_folder():
    """Folder of real data; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("COUPLEVI_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (folder / "patchseq_motor.h5mu").is_file():
        pytest.skip(f"no real data at {folder}; set COUPLEVI_DATA")
    return folder


@pytest.fixture(scope="session")
def patchseq(data_folder):
    """Real Patch-seq data with log1p of counts per 10,000."""
    mdata = md.read_h5mu(data_folder / "patchseq_motor.h5mu")
    counts = mdata["rna"].X.astype(np.float32)
    scaled = counts.multiply(1e4 / counts.sum(axis=1)).tocsr()
    mdata["rna"].layers["log1p"] = np.log1p(scaled)
    return mdata
