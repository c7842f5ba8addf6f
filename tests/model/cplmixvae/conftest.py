import pytest
import torch
from small import FEW, QUICK, fit_mixture, planted, two_modalities

import couplevi as cvi


@pytest.fixture(scope="session")
def adata():
    """600 cells of three types; not to be changed."""
    return planted()


@pytest.fixture(scope="session")
def pruned(adata):
    """Trained with pruning from 6 categories; not to be changed."""
    return fit_mixture(adata, 6, {**FEW, "max_connectivity": 1.0})


@pytest.fixture(scope="session")
def joint():
    """Trained on two modalities; not to be changed."""
    torch.manual_seed(0)
    mdata = two_modalities()
    cvi.model.CplMixVAE.setup_mudata(mdata, modalities=("a", "b"))
    model = cvi.model.CplMixVAE(mdata, 3, batch_size=128)
    model.train(**{**QUICK, "max_epochs": 40})
    return model, mdata
