import subprocess
import sys

import pytest

import couplevi


def test_namespaces_load_on_first_use():
    code = "import sys, couplevi; print(sorted(m for m in sys.modules if m.startswith('couplevi')), 'torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "['couplevi'] False"
    assert set(couplevi.__all__) <= set(dir(couplevi))
    for name in couplevi.__all__:
        assert getattr(couplevi, name).__name__ == f"couplevi.{name}"


def test_unknown_namespace():
    with pytest.raises(AttributeError, match="no attribute 'tools'"):
        couplevi.tools  # noqa: B018


def test_import_has_no_side_effects():
    code = """
import random, warnings, numpy, torch, scvi, scanpy
state = torch.random.get_rng_state(), torch.backends.cudnn.benchmark, list(warnings.filters), torch.get_num_threads()
from couplevi import data, metrics, model, pl, pp, tl
assert torch.equal(state[0], torch.random.get_rng_state())
assert state[1:] == (torch.backends.cudnn.benchmark, list(warnings.filters), torch.get_num_threads())
"""
    subprocess.run([sys.executable, "-c", code], check=True)
