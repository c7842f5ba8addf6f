"""What all tests need, those in docstrings included."""

import matplotlib as mpl
import pytest
import torch

from couplevi._mudata import without_pulling


@pytest.fixture(autouse=True, scope="session")
def _environment():
    """Small tensors gain nothing from threads, and the processes of the suite share the cores."""
    torch.set_num_threads(1)
    mpl.use("agg")
    with without_pulling():
        yield


@pytest.fixture(autouse=True)
def _restore_random_state():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield
