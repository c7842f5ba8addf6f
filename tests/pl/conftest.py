from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pytest

import couplevi as cvi

ROUTE = {"source": "rna", "target": "ephys"}


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


@pytest.fixture
def overlapping():
    """Function that draws a figure without saving it and finds pairs of its texts that overlap."""

    def find(*texts):
        texts[0].figure.draw_without_rendering()
        shown = [(text.get_text(), text.get_window_extent()) for text in texts if text.get_text()]
        return [(a, b) for (a, box_a), (b, box_b) in combinations(shown, 2) if box_a.overlaps(box_b)]

    return find


@pytest.fixture(scope="session")
def placed():
    """Positions where `cvi.tl.umap` writes them; one modality lies aside. Not to be changed."""
    mdata = cvi.data.branching_manifold(n_obs=60, n_features={"rna": 30, "ephys": 8}, paired=0.5, seed=1)
    rng = np.random.default_rng(0)
    for i, m in enumerate(mdata.mod):
        mdata[m].obsm["X_jamie_umap"] = rng.normal([3 * i, 10 * i], size=(mdata[m].n_obs, 2))
    mdata.uns["jamie"] = {"modalities": list(mdata.mod)}
    return mdata


@pytest.fixture(scope="session")
def imputed(fitted):
    """Values imputed by a model and by its baseline beside measured ones. Not to be changed."""
    model, mdata = fitted
    mdata = mdata.copy()
    cvi.tl.impute(mdata, model, **ROUTE)
    cvi.tl.impute_baseline(mdata, model, **ROUTE, method="knn")
    return mdata


@pytest.fixture(scope="session")
def both(imputed):
    """Names of the cells measured in both modalities, in the order of ephys."""
    return imputed["ephys"].obs_names[imputed["ephys"].obs_names.isin(imputed["rna"].obs_names)]


@pytest.fixture(scope="session")
def fitted_mixture():
    """A mixture of five categories or fewer, and its data. Not to be changed."""
    adata = cvi.data.count_clusters(n_obs=200, seed=0)["rna"]
    quick = {"max_epochs": 20, "max_epochs_prune": 5, "enable_progress_bar": False, "accelerator": "cpu"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *args, **kwargs: None)
        model = cvi.tl.cplmixvae(
            adata, n_categories=5, layers="log1p", seed=0, train_kwargs={**quick, "min_consensus": 0.5}, batch_size=128
        )
    return model, adata


@pytest.fixture(scope="session")
def screened():
    """A model of a simulated screen with two perturbations and both at once, and its data. Not to be changed."""
    adata = cvi.data.perturbation_screen(n_obs=240, n_perturbations=2, doubles=True)
    model = cvi.tl.otgm(adata, state_key="perturbation", control="control", layer="log1p", n_pcs=8)
    return model, adata
