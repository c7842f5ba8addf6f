import random

import numpy as np
import pytest
import torch

from couplevi import __version__
from couplevi.tl._fit import seeded, versions


def test_a_seed_holds_inside_the_block_alone():
    torch.manual_seed(5)
    expected = torch.rand(3), torch.rand(3)
    torch.manual_seed(5)
    before = torch.rand(3)
    with seeded(1):
        first = torch.rand(3)
    with seeded(1):
        assert torch.rand(3).equal(first)
    with seeded(2):
        assert not torch.rand(3).equal(first)
    assert (before.equal(expected[0]), torch.rand(3).equal(expected[1])) == (True, True)


def test_the_state_is_restored_after_a_failure():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with pytest.raises(ValueError, match="stop"), seeded(1):
        torch.rand(7)
        raise ValueError("stop")
    assert torch.rand(3).equal(expected)


def test_without_a_seed_the_random_state_is_that_of_the_caller():
    torch.manual_seed(5)
    expected = torch.rand(6)
    torch.manual_seed(5)
    with seeded(None):
        inside = torch.rand(3)
    assert torch.cat([inside, torch.rand(3)]).equal(expected)


def test_generators_of_others_are_left_alone():
    states = random.getstate(), np.random.get_state()[1].copy()
    with seeded(1):
        torch.rand(3)
    assert random.getstate() == states[0]
    np.testing.assert_array_equal(np.random.get_state()[1], states[1])


def test_versions_are_texts_that_a_file_can_hold():
    assert versions()["couplevi"] == __version__
    assert versions()["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert set(versions()) == {"couplevi", "scvi-tools", "torch"}
