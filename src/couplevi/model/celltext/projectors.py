"""What is learned of cells and texts on top of where they are placed in closed form."""

from __future__ import annotations

import torch
from torch import nn

N_HEADS, N_LAYERS = 4, 2


def residual(n_in: int, n_hidden: int, n_out: int, dropout_rate: float) -> nn.Sequential:
    """Two layers whose output is 0 until they are trained."""
    last = nn.Linear(n_hidden, n_out)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    hidden = nn.Linear(n_in, n_hidden)
    return nn.Sequential(nn.Dropout(dropout_rate), hidden, nn.GELU(), nn.Dropout(dropout_rate), last)


class QFormer(nn.Module):
    """Learned queries that attend to the tokens of a cell, and to each other; output 0 until it is trained.

    Parameters
    ----------
    n_in
        Size of a token.
    n_hidden, n_queries, n_out
        Size of the queries, their number, and size of the output, a linear function of their mean.
    dropout_rate
        Probability in [0, 1) that a hidden unit is dropped in training.

    References
    ----------
    Li et al., BLIP-2: bootstrapping language-image pre-training with frozen image encoders and large language models,
    ICML 2023 (the querying transformer, whose text side and matching head are left out here).
    """

    def __init__(self, n_in: int, n_hidden: int, n_queries: int, n_out: int, dropout_rate: float) -> None:
        super().__init__()
        heads = N_HEADS if n_hidden % N_HEADS == 0 else 1
        self.n_in = n_in
        self.enter = nn.Linear(n_in, n_hidden)
        self.queries = nn.Parameter(0.02 * torch.randn(n_queries, n_hidden))
        self.layers = nn.ModuleList(
            nn.TransformerDecoderLayer(
                n_hidden, heads, 4 * n_hidden, dropout_rate, "gelu", batch_first=True, norm_first=True
            )
            for _ in range(N_LAYERS)
        )
        self.leave = nn.Linear(n_hidden, n_out)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """From tokens, shape ``(n, n_tokens * n_in)``, NaN where a cell has fewer, to shape ``(n, n_out)``."""
        x = tokens.view(len(tokens), -1, self.n_in)
        absent = x.isnan().any(dim=2)
        memory = self.enter(torch.where(absent[..., None], 0.0, x))
        queries = self.queries.expand(len(x), -1, -1)
        for layer in self.layers:
            queries = layer(queries, memory, memory_key_padding_mask=absent)
        return self.leave(queries.mean(dim=1))
