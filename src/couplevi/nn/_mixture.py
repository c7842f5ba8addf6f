"""Blocks of a mixture model: a category, a state given the category, and a decoder that is affine in the state."""

from __future__ import annotations

import torch
from scvi.distributions import NegativeBinomial, ZeroInflatedNegativeBinomial
from torch import nn
from torch.distributions import Distribution, Normal

from couplevi.nn._blocks import LOG_VARIANCE_RANGE, hidden_layers

EXCLUDED = -1e9
"""Logit of a category that is not active; finite, so that gradients are."""
INITIAL_GAP = 3.0
"""Median difference of the two largest logits right after :meth:`CategoryEncoder.start`."""
VARIANCE_MOMENTUM = 0.05
MINIMUM_VARIANCE = 1e-6


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
    def start(self, h: torch.Tensor, centers: torch.Tensor) -> None:
        """Make the category of a profile that of the nearest of `centers`, shape ``(n_categories, n_in)``."""
        offset = -0.5 * centers.square().sum(dim=1)
        best = (h @ centers.T + offset).topk(2, dim=1).values
        gain = INITIAL_GAP / (best[:, 0] - best[:, 1]).median().clamp(min=1e-6)
        self.nearest.weight.copy_(gain * centers)
        self.nearest.bias.copy_(gain * offset)

    def forward(self, h: torch.Tensor, active: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
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
        loadings = (category @ self.loadings.flatten(1)).unflatten(1, self.loadings.shape[1:])
        return category @ self.centers + (state[:, None] @ loadings)[:, 0]


class ResidualGaussianHead(nn.Module):
    """Gaussian whose variance per feature follows what the model leaves unexplained, as a running mean.

    That mean is the optimum of the likelihood, which gradients approach slowly (Rybkin, Daniilidis and Levine 2021).
    """

    variance: torch.Tensor

    def __init__(self, n_out: int, n_categories: int) -> None:
        super().__init__()
        self.register_buffer("variance", torch.ones(n_out))

    def forward(self, eta: torch.Tensor, category: torch.Tensor, library: torch.Tensor | None) -> Normal:
        return Normal(eta, (self.variance + MINIMUM_VARIANCE).sqrt(), validate_args=False)

    @torch.no_grad()
    def adapt(self, residuals: torch.Tensor) -> None:
        """Move the variance towards that of the residuals of a batch, shape ``(n, n_out)``."""
        self.variance.lerp_(residuals.float().square().mean(dim=0), VARIANCE_MOMENTUM)


class NegativeBinomialHead(nn.Module):
    """Negative binomial counts: shares of the library that sum to one, and a dispersion per feature."""

    def __init__(self, n_out: int, n_categories: int) -> None:
        super().__init__()
        self.log_inverse_dispersion = nn.Parameter(torch.zeros(n_out))

    def forward(self, eta: torch.Tensor, category: torch.Tensor, library: torch.Tensor) -> Distribution:
        scale = eta.softmax(dim=1)
        theta = self.log_inverse_dispersion.exp()
        return NegativeBinomial(mu=library * scale, theta=theta, scale=scale)

    def adapt(self, residuals: torch.Tensor) -> None:
        """Nothing to do: the dispersion is learned."""


class ZeroInflatedNegativeBinomialHead(NegativeBinomialHead):
    """The same with further zeros, with a probability per category and feature."""

    def __init__(self, n_out: int, n_categories: int) -> None:
        super().__init__(n_out, n_categories)
        self.zero_logits = nn.Parameter(torch.full((n_categories, n_out), -2.0))

    def forward(self, eta: torch.Tensor, category: torch.Tensor, library: torch.Tensor) -> Distribution:
        scale = eta.softmax(dim=1)
        theta = self.log_inverse_dispersion.exp()
        zi_logits = category @ self.zero_logits
        return ZeroInflatedNegativeBinomial(mu=library * scale, theta=theta, zi_logits=zi_logits, scale=scale)


HEADS: dict[str, type[ResidualGaussianHead] | type[NegativeBinomialHead]] = {
    "gaussian": ResidualGaussianHead,
    "nb": NegativeBinomialHead,
    "zinb": ZeroInflatedNegativeBinomialHead,
}


def likelihood_head(likelihood: str, n_out: int, n_categories: int) -> ResidualGaussianHead | NegativeBinomialHead:
    """Head from the output of a decoder to a distribution over ``(n, n_out)``, by name of the likelihood."""
    return HEADS[likelihood](n_out, n_categories)
