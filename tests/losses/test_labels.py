import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from couplevi.losses import smoothed_cross_entropy, uniform_cross_entropy


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_that_of_torch_and_zero_without_a_label(smoothing):
    torch.manual_seed(0)
    logits, label = torch.randn(6, 4, requires_grad=True), torch.tensor([0, 3, -1, 2, -1, 1])
    found = smoothed_cross_entropy(logits, label, smoothing)
    known = label >= 0
    torch.testing.assert_close(
        found[known], cross_entropy(logits[known], label[known], label_smoothing=smoothing, reduction="none")
    )
    assert (found[~known] == 0).all()
    found.sum().backward()
    assert (logits.grad[~known] == 0).all()
    assert (logits.grad[known] != 0).all()


def test_equal_logits_reach_the_least_of_the_uniform_term():
    torch.testing.assert_close(uniform_cross_entropy(torch.full((2, 5), 3.0)), torch.full((2,), math.log(5)))
    assert (uniform_cross_entropy(torch.randn(9, 5)) > math.log(5)).all()
