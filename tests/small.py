"""Small models and data with planted truth that several test files build."""

import anndata as ad
import lightning.pytorch as pl
import mudata as md
import numpy as np
import torch
from torch.utils.data import DataLoader

import couplevi as cvi

BOTH = ("rna", "ephys")
QUICK = {"max_epochs": 4, "prune": False, "enable_progress_bar": False, "accelerator": "cpu"}
"""Arguments of training for a mixture that is not pruned."""
FEW = {"max_epochs": 80, "max_epochs_prune": 50, "enable_progress_bar": False, "accelerator": "cpu"}
"""Arguments of training for one that is."""


def make_jamie(mdata, *, seed=0, **kwargs):
    """A JAMIE model, set up and not trained."""
    options = {"n_latent": 4, **{k: kwargs.pop(k) for k in list(kwargs) if k in ("n_pcs", "n_latent", "preset")}}
    cvi.model.JAMIE.setup_mudata(mdata, **{"modalities": BOTH, **kwargs})
    torch.manual_seed(seed)
    return cvi.model.JAMIE(mdata, **options)


def planted(n=600, n_types=3, n_features=40, seed=0):
    """Types with a gradient of one dimension inside each."""
    rng = np.random.default_rng(seed)
    kind, gradient = rng.integers(n_types, size=n), rng.uniform(-1, 1, n)
    mean, slope = rng.normal(0, 1.5, (n_types, n_features)), rng.normal(0, 0.6, (n_types, n_features))
    x = mean[kind] + gradient[:, None] * slope[kind] + rng.normal(0, 0.6, (n, n_features))
    adata = ad.AnnData(x.astype(np.float32))
    adata.obs_names = [f"cell{i}" for i in range(n)]
    adata.var_names = [f"gene{j}" for j in range(n_features)]
    adata.obs["type"], adata.obs["gradient"] = kind.astype(str), gradient
    return adata


def two_modalities(n=300, share=0.7):
    """Types seen in two modalities; each lacks some of the cells."""
    a, b = planted(n), planted(n, n_features=12)
    rng = np.random.default_rng(3)
    b.X = (rng.normal(0, 2, (3, 12))[a.obs["type"].astype(int)] + rng.normal(0, 0.5, (n, 12))).astype(np.float32)
    b.var_names = [f"b{j}" for j in range(12)]
    n_both = int(share * n)
    first, second = (n + n_both) // 2, n - (n + n_both) // 2
    mdata = md.MuData({"a": a[:first].copy(), "b": b[second:].copy()})
    mdata.obs["type"] = a.obs["type"].reindex(mdata.obs_names)
    return mdata


def fit_mixture(adata, n_categories=5, train=QUICK, seed=0, **settings):
    """A mixture of an AnnData, trained."""
    torch.manual_seed(seed)
    cvi.model.CplMixVAE.setup_anndata(adata)
    model = cvi.model.CplMixVAE(adata, n_categories, **{"batch_size": 128, **settings})
    model.train(**train)
    return model


class StepPlan(pl.LightningModule):
    """Moves all parameters by one, and adds one to a buffer, in each step."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def training_step(self, batch, batch_idx):
        self.module.seen += 1
        return sum(p.sum() for p in self.module.parameters())

    def configure_optimizers(self):
        return torch.optim.SGD([p for p in self.module.parameters() if p.requires_grad], lr=1.0)


class FourUnits(pl.LightningDataModule):
    """Four units to train on, two per step, and none to validate on."""

    train_idx, val_idx, test_idx, n_train, n_val = np.arange(4), np.arange(0), np.arange(0), 4, 0

    def train_dataloader(self):
        return DataLoader(torch.zeros(4, 1), batch_size=2)


class LittleModel:
    """As little of a model as a training needs."""

    saved = ("is_trained_", "history_", "note_")

    def __init__(self):
        self.module = torch.nn.Linear(2, 1)
        self.module.register_buffer("seen", torch.zeros(()))
        self.is_trained_, self.history_, self.note_ = False, None, "before"

    def to_device(self, device):
        self.module.to(device)


WORDS = ("round", "granular", "motile", "striated", "ciliated", "spindly")


def worded(n=360, n_features=40, seed=0, counts=False):
    """Cells of fifteen types, each named by two of six words; each word adds a programme of genes. And their texts."""
    rng = np.random.default_rng(seed)
    pairs = [(a, b) for i, a in enumerate(WORDS) for b in WORDS[i + 1 :]]
    names = np.array([f"{a}/{b}" for a, b in pairs])
    programmes = dict(zip(WORDS, rng.normal(size=(len(WORDS), n_features)), strict=True))
    means = 2 + np.stack([programmes[a] + programmes[b] for a, b in pairs])
    kind = np.arange(n) % len(pairs)
    x = means[kind] + 0.3 * rng.normal(size=(n, n_features))
    if counts:
        share = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
        x = rng.poisson(rng.uniform(800, 2000, n)[:, None] * share)
    adata = ad.AnnData(x.astype(np.float32))
    adata.obs_names = [f"cell{i}" for i in range(n)]
    adata.obs["type"] = names[kind]
    texts = {f"{a}/{b}": f"A {a} and {b} cell. It looks {a} and is {b}." for a, b in pairs}
    return adata, texts
