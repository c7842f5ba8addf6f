from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from couplevi.nn import Route, frozen_copy, linear

if TYPE_CHECKING:
    from couplevi._types import FloatArray
    from couplevi.model.celltext.module import CellTextModule


class Placed(nn.Module):
    """Cells in the common space, of prepared features."""

    def __init__(self, module: CellTextModule) -> None:
        super().__init__()
        self.module = module

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        """Places, shape ``(n, n_prepared)``."""
        return self.module.encode(h)


def make_text_route(module: CellTextModule, texts: Sequence[str], placed: FloatArray) -> Route:
    """Route from features to the cosine with texts, see :meth:`~couplevi.model.CellText.route`."""
    network = nn.Sequential(Placed(frozen_copy(module)), linear(placed.T)).to(module.device).eval()
    record, n = module.observation.preparation.record(), len(texts)
    return Route(record, network, None, np.zeros(n), list(texts), np.arange(n), n)
