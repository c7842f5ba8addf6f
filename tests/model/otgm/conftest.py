import anndata as ad
import numpy as np
import pandas as pd
import pytest

import couplevi as cvi

N_VARS, N_SHIFTED = 300, 12


def screen(seed=0, n=(300, 150, 120), batches=False):
    """Log values of a control and of two perturbed genes: the gene itself is lower, and others shift with it.

    Genes vary together in four programmes; the shifts of `a` are in the first genes, those of `b` in the last.
    """
    rng = np.random.default_rng(seed)
    states = np.repeat(["control", "gene5", "gene290"], n)
    programmes = rng.normal(size=(4, N_VARS)) * 0.4
    x = 6.0 + rng.normal(size=(len(states), 4)) @ programmes + rng.normal(size=(len(states), N_VARS)) * 0.5
    x[states == "gene5", :N_SHIFTED] += 0.5 * np.where(np.arange(N_SHIFTED) % 2, 1, -1)
    x[states == "gene5", 5] -= 1.5
    x[states == "gene290", -N_SHIFTED:] += 0.6
    x[states == "gene290", 290] -= 2.5
    obs = pd.DataFrame({"state": states, "type": rng.choice(["s", "t"], len(states))})
    obs.index = [f"cell{i}" for i in range(len(states))]
    if batches:
        obs["batch"] = rng.choice(["x", "y"], len(states))
        x[obs["batch"] == "y"] += rng.normal(size=N_VARS)
    adata = ad.AnnData(x.astype(np.float32), obs=obs)
    adata.var_names = [f"gene{i}" for i in range(N_VARS)]
    return adata


@pytest.fixture
def make_screen():
    return screen


@pytest.fixture(scope="session")
def perturbed():
    """A fitted model and its data; not to be changed."""
    adata = screen()
    return cvi.tl.otgm(adata, state_key="state", control="control", n_pcs=10), adata
