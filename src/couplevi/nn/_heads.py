from __future__ import annotations

import torch
from torch import nn
from torch.distributions import Normal


class GaussianHead(nn.Module):
    """Last layer of a decoder: a Gaussian of unit variance over the prepared features.

    A head maps hidden features, shape ``(n, n_hidden)``, to a distribution over ``(n, n_out)``; this is all that a
    likelihood has to offer to a decoder.
    """

    def __init__(self, n_hidden: int, n_out: int) -> None:
        super().__init__()
        self.mean = nn.Linear(n_hidden, n_out)

    def forward(self, hidden: torch.Tensor) -> Normal:
        return Normal(self.mean(hidden), 1.0, validate_args=False)
