"""What all tests need, those in docstrings included."""

import os
import sys

import pytest

# Small tensors gain nothing from threads, and the processes of the suite share the cores. Read on import, by numba as
# well, whose first parallel loop otherwise gives torch all cores again.
for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"


@pytest.fixture(autouse=True, scope="session")
def _environment():
    import matplotlib as mpl

    from couplevi._mudata import without_pulling

    mpl.use("agg")
    with without_pulling():
        yield


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(autouse=True)
def _restore_random_state():
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield
