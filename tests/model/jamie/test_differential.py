import anndata as ad
import mudata as md
import numpy as np
import pytest
import scipy.sparse as sp
import torch
from scipy.stats import norm
from small import BOTH, make_jamie
from sklearn.metrics import average_precision_score

import couplevi as cvi
from couplevi.model.jamie.differential import GroupMeans

N_PLANTED = 10


def planted_counts(n=400, n_vars=100, seed=0):
    """Two groups of cells, the first genes of which differ by a factor of 3; proteins that know the group."""
    rng = np.random.default_rng(seed)
    group = rng.permutation(np.arange(n) % 2)
    log_rate = np.tile(rng.normal(0, 1, n_vars), (n, 1))
    change = np.log(3) * rng.choice([-1, 1], N_PLANTED)
    log_rate[:, :N_PLANTED] += np.outer(group, change)
    share = np.exp(log_rate) / np.exp(log_rate).sum(axis=1, keepdims=True)
    rna = rng.poisson(rng.gamma(4, share * 1500 * rng.lognormal(0, 0.3, (n, 1)) / 4))
    protein = rng.poisson(np.exp(2 + rng.normal(0, 0.7, 12) * group[:, None]))
    mdata = md.MuData(
        {m: ad.AnnData(sp.csr_matrix(x.astype(np.float32))) for m, x in (("rna", rna), ("protein", protein))}
    )
    for m in mdata.mod:
        mdata[m].obs_names = [f"cell{i}" for i in range(n)]
        mdata[m].var_names = [f"{m}{j}" for j in range(mdata[m].n_vars)]
    mdata.update()
    mdata.obs["group"] = np.array(["low", "high"])[group]
    mdata.obs["at_random"] = rng.permutation(mdata.obs["group"].to_numpy())
    return mdata, np.sign(change)


@pytest.fixture(scope="module")
def counted():
    """A trained model of counts, its data, and the signs of the planted changes of the first genes."""
    mdata, sign = planted_counts()
    cvi.model.JAMIE.setup_mudata(mdata, modalities=("rna", "protein"))
    torch.manual_seed(0)
    model = cvi.model.JAMIE(mdata, n_latent=8, n_private=4, likelihoods={"rna": "nb", "protein": "poisson"})
    model.train(max_epochs=150, enable_progress_bar=False, accelerator="cpu")
    return model, mdata, sign


if __name__ == "__main__":
    import time, warnings

    for ep in (60, 150):
        mdata, sign = planted_counts()
        cvi.model.JAMIE.setup_mudata(mdata, modalities=("rna", "protein"))
        torch.manual_seed(0)
        model = cvi.model.JAMIE(mdata, n_latent=8, n_private=4, likelihoods={"rna": "nb", "protein": "poisson"})
        t = time.process_time()
        model.train(max_epochs=ep, enable_progress_bar=False, accelerator="cpu")
        print(ep, time.process_time() - t)
        for src in (None, "protein"):
            for by in ("group", "at_random"):
                tab = model.differential_expression(
                    modality="rna", source=src, groupby=by, group1="high", group2="low", silent=True
                )
                truth = tab.index.isin(mdata["rna"].var_names[:N_PLANTED])
                d = tab["is_de_fdr_0.05"].to_numpy()
                print(src, by, average_precision_score(truth, tab.proba_de), d.sum(), truth[d].sum())
        print(tab.iloc[:2].T)
