import pytest
import torch

from couplevi.losses import _blocks
from couplevi.losses._blocks import blocks


@pytest.mark.parametrize("size", [1, 7, 10, 1000])
def test_blocks_are_the_rows_in_their_order_a_few_at_a_time(monkeypatch, size):
    monkeypatch.setattr(_blocks, "BLOCK", size)
    x = torch.arange(15.0).reshape(5, 3)
    parts = blocks(x)
    torch.testing.assert_close(torch.cat(parts), x)
    assert max(len(part) for part in parts) == min(max(size // 3, 1), 5)


def test_nothing_has_no_values():
    assert sum(len(part) for part in blocks(torch.empty(0, 3))) == 0
    assert torch.cat(blocks(torch.empty(4, 0))).shape == (4, 0)
