from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import couplevi as cvi

ROUTE = {"source": "rna", "target": "ephys"}


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


@pytest.fixture
def opened(imputed):
    """The same with ephys0 binary, ephys1 counts that are mostly 0, and the others as they are."""
    mdata = imputed.copy()
    x = mdata["ephys"].X
    x[:, 0] = x[:, 0] > np.quantile(x[:, 0], 0.4)
    x[:, 1] = np.where(x[:, 1] > np.quantile(x[:, 1], 0.87), np.arange(len(x)) % 3 + 1, 0)
    return mdata


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


class Finder:
    """Stands for a model: cells are where ``obsm["place"]`` is, texts where a dictionary says."""

    def __init__(self, texts, labels):
        self.texts = {text: np.asarray(x, dtype=float) / np.linalg.norm(x) for text, x in texts.items()}
        self.labels_ = labels

    def get_latent_representation(self, adata=None):
        z = adata.obsm["place"]
        return (z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float32)

    def encode_text(self, texts):
        return np.stack([self.texts[text] for text in ([texts] if isinstance(texts, str) else texts)])

    def retrieve_cells(self, text, k=50, *, adata=None):
        score = pd.Series(self.get_latent_representation(adata) @ self.texts[text], adata.obs_names, name="score")
        return score.sort_values(ascending=False, kind="stable")[:k].to_frame()


@pytest.fixture
def finding():
    """Function that makes cells of some types around directions of their own, and a model with a text for each."""

    def make(n_types=3, n_cells=20, noise=0.1, seed=0):
        rng = np.random.default_rng(seed)
        names = [f"type {i:02d}" for i in range(n_types)]
        labels = np.repeat(names, n_cells)
        centres = np.eye(n_types + 1)[:n_types]
        place = np.repeat(centres, n_cells, axis=0) + noise * rng.normal(size=(n_types * n_cells, n_types + 1))
        obs = pd.DataFrame({"type": labels}, index=[f"cell{i}" for i in range(len(labels))])
        angles = 2 * np.pi * np.arange(n_types) / n_types
        umap = 10 * np.column_stack([np.cos(angles), np.sin(angles)]).repeat(n_cells, axis=0)
        umap += rng.normal(size=umap.shape)
        adata = AnnData(np.zeros((len(obs), 1)), obs=obs, obsm={"place": place, "X_umap": umap})
        return adata, Finder(dict(zip(names, centres, strict=True)), names)

    return make


@pytest.fixture(scope="session")
def named_by_text():
    """A small CellText model and its cells. Not to be changed."""
    mdata = cvi.data.count_clusters(n_obs=200)
    adata = mdata["rna"].copy()
    adata.obs["type"] = mdata.obs["cell_type"].astype(str)
    quick = {"max_epochs": 5, "enable_progress_bar": False, "accelerator": "cpu"}
    return cvi.tl.celltext(adata, labels_key="type", seed=0, train_kwargs=quick), adata
