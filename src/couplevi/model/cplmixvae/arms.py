"""One arm of a mixture: a category, a state given the category, and a decoder that is affine in the state."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.distributions import Distribution, Normal

from couplevi.nn import HEADS, LOG_VARIANCE_RANGE, hidden_layers

EXCLUDED = -1e9
"""Logit of a category that is not active; finite, so that gradients are."""
INITIAL_GAP = 6.0
"""Median difference of the two largest logits right after :meth:`CategoryEncoder.start`."""
INITIAL_ZERO_LOGIT = -2.0


class CategoryEncoder(nn.Module):
    """Hidden features of a profile and the logits of its categories.

    The logits are those of the nearest centre, which is linear in the profile, plus what a hidden layer adds to them.

    Parameters
    ----------
    n_in, n_hidden, n_categories
        Number of prepared features, of hidden units and of categories.
    dropout_rate, input_dropout_rate
        Probability in [0, 1) that a hidden unit, or a prepared feature, is dropped in training.
    """

    def __init__(
        self, n_in: int, n_hidden: int, n_categories: int, *, dropout_rate: float, input_dropout_rate: float
    ) -> None:
        super().__init__()
        self.input_dropout = nn.Dropout(input_dropout_rate)
        self.hidden = hidden_layers(
            n_in, [n_hidden], normalization="layer", activation="gelu", dropout_rate=dropout_rate
        )
        self.nearest = nn.Linear(n_in, n_categories)
        self.logits = nn.Linear(n_hidden, n_categories)
        nn.init.zeros_(self.logits.weight)
        nn.init.zeros_(self.logits.bias)

    @torch.no_grad()
    def start(self, h: torch.Tensor, centers: torch.Tensor, used: torch.Tensor) -> None:
        """Make the category of a profile that of the nearest of `centers`, shape ``(n_categories, n_in)``.

        Only the ones that are `used`, their numbers, can be the nearest; of a single one every profile is.
        """
        if len(used) == 1:
            self.nearest.weight.zero_()
            self.nearest.bias.zero_()
            self.nearest.bias[used] = INITIAL_GAP
            return
        offset = -0.5 * centers.square().sum(dim=1)
        best = (h @ centers.T + offset)[:, used].topk(2, dim=1).values
        gain = INITIAL_GAP / (best[:, 0] - best[:, -1]).median().clamp(min=1e-6)
        self.nearest.weight.copy_(gain * centers)
        self.nearest.bias.copy_(gain * offset)

    def forward(self, h: torch.Tensor, active: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Hidden features and logits of profiles, those of categories that are not `active` being about -1e9."""
        h = self.input_dropout(h)
        hidden = self.hidden(h)
        logits = (self.nearest(h) + self.logits(hidden)).float()  # half precision cannot hold what is excluded
        return hidden, logits.masked_fill(~active, EXCLUDED)


class StateEncoder(nn.Module):
    """Approximate posterior of the state given hidden features and the category, one-hot or nearly so."""

    def __init__(self, n_hidden: int, n_categories: int, n_state: int) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(n_hidden + n_categories, n_hidden), nn.GELU())
        self.mean = nn.Linear(n_hidden, n_state)
        self.log_variance = nn.Linear(n_hidden, n_state)

    def forward(self, hidden: torch.Tensor, category: torch.Tensor) -> Normal:
        """Posterior of the state."""
        joint = self.hidden(torch.cat([hidden, category], dim=1))
        log_variance = self.log_variance(joint).clamp(*LOG_VARIANCE_RANGE)
        return Normal(self.mean(joint), (0.5 * log_variance).exp(), validate_args=False)


class AffineByCategory(nn.Module):
    """A centre for each category, and what one unit of each state dimension adds to it within that category.

    A decoder that is affine in the state cannot bridge separate types by it, so that these need categories.
    """

    def __init__(self, n_categories: int, n_state: int, n_out: int) -> None:
        super().__init__()
        self.centers = nn.Parameter(0.1 * torch.randn(n_categories, n_out))
        self.loadings = nn.Parameter(0.1 * torch.randn(n_categories, n_state, n_out))

    def forward(self, category: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """Outputs, shape ``(n, n_out)``, of categories and states."""
        loadings = (category @ self.loadings.flatten(1)).unflatten(1, self.loadings.shape[1:])
        return category @ self.centers + (state[:, None] @ loadings)[:, 0]


class Posterior(NamedTuple):
    """Of one arm: posteriors of the category and, given it, of the state, with a sample of each."""

    log_q: torch.Tensor
    """Shape ``(n, n_categories)``; about -1e9 for categories that are not active."""
    category: torch.Tensor
    """Straight-through sample, one-hot in the forward pass, shape ``(n, n_categories)``."""
    q_state: Normal
    state: torch.Tensor


class Arm(nn.Module):
    """One mixture variational autoencoder: a category, a state given the category, and a decoder.

    Further zeros of counts have a probability per category and feature, and batches of counts an effect on each feature.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        n_categories: int,
        n_state: int,
        n_hidden: int,
        likelihood: str,
        n_batches: int,
        dropout_rate: float,
        input_dropout_rate: float,
    ) -> None:
        super().__init__()
        self.category = CategoryEncoder(
            n_in, n_hidden, n_categories, dropout_rate=dropout_rate, input_dropout_rate=input_dropout_rate
        )
        self.state = StateEncoder(n_hidden, n_categories, n_state)
        self.decoder = AffineByCategory(n_categories, n_state, n_out)
        self.head = HEADS[likelihood](n_out)
        n_logits = (self.head.n_parameters - 1) * n_out
        self.zero_logits = nn.Parameter(torch.full((n_categories, n_logits), INITIAL_ZERO_LOGIT)) if n_logits else None
        self.batch_effects = nn.Parameter(torch.zeros(n_batches, n_out)) if n_batches else None

    def decode(
        self,
        category: torch.Tensor,
        state: torch.Tensor,
        library: torch.Tensor | None,
        told: torch.Tensor | None = None,
    ) -> Distribution:
        """Distribution of profiles, of counts with that many in a library of shape ``(n, 1)``.

        `told` is how they were measured relative to the mean one, which is meant without it; indicators of batches are
        its last columns.
        """
        eta = self.decoder(category, state)
        if self.batch_effects is not None and told is not None:
            eta = eta + told[:, -len(self.batch_effects) :] @ self.batch_effects
        if self.zero_logits is not None:
            eta = torch.cat([eta, category @ self.zero_logits], dim=1)
        return self.head(eta, library)
