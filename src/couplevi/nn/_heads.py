"""Heads: from what a decoder gives to the distribution of a profile. One interface for all likelihoods."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from scvi.distributions import NegativeBinomial, ZeroInflatedNegativeBinomial
from torch import nn
from torch.distributions import Bernoulli, Distribution, Normal, Poisson

VARIANCE_MOMENTUM = 0.05
MINIMUM_VARIANCE = 1e-6
SMALLEST_MEAN = 1e-6
"""Of counts of a feature that was never seen."""
NO_INFLATION = -3.0
"""Logit of further zeros at which training starts."""


class Head(nn.Module, ABC):
    """Distribution over ``(n, n_out)`` given the outputs of a decoder.

    Parameters
    ----------
    n_out
        Number of features that are explained.
    """

    n_parameters: ClassVar[int] = 1
    """Numbers that a decoder gives for each feature: its outputs have shape ``(n, n_parameters * n_out)``."""

    def __init__(self, n_out: int) -> None:
        super().__init__()
        self.n_out = n_out

    @abstractmethod
    def forward(self, eta: torch.Tensor, library: torch.Tensor | None = None) -> Distribution:
        """Distribution given outputs of a decoder and, for counts, the library size, shape ``(n, 1)``."""

    def adapt(self, residuals: torch.Tensor) -> None:
        """Learn from what a batch leaves unexplained, shape ``(n, n_out)``, besides by gradients."""

    @abstractmethod
    def stabilised(self, px: Distribution) -> torch.Tensor:
        """Transform of the means, ``(n, n_out)``, whose squared differences are deviances, as far as these are small."""


class CountHead(Head, ABC):
    """Distribution of counts whose rates are the exponentials of what a decoder gives.

    Given the library size, rates are scaled to it: features have shares of it that sum to one. Without it, their sum is
    the one that is expected.
    """

    def outputs(self, mean: torch.Tensor) -> torch.Tensor:
        """What a decoder gives where counts have these means, shape ``(n_parameters * n_out,)``."""
        return mean.clamp(min=SMALLEST_MEAN).log()

    def rates(self, eta: torch.Tensor, library: torch.Tensor | None) -> torch.Tensor:
        """Means of counts, shape ``(n, n_out)``."""
        return eta.exp() if library is None else library * eta.softmax(dim=1)


class UnitGaussianHead(Head):
    """Gaussian of unit variance: the likelihood of squared errors."""

    def forward(self, eta: torch.Tensor, library: torch.Tensor | None = None) -> Normal:
        return Normal(eta, 1.0, validate_args=False)

    def stabilised(self, px: Distribution) -> torch.Tensor:
        return px.mean


class ResidualGaussianHead(Head):
    """Gaussian whose variance per feature follows what the model leaves unexplained, as a running mean.

    That mean is the optimum of the likelihood, which gradients approach slowly (Rybkin, Daniilidis and Levine 2021).
    """

    variance: torch.Tensor

    def __init__(self, n_out: int) -> None:
        super().__init__(n_out)
        self.register_buffer("variance", torch.ones(n_out))

    def forward(self, eta: torch.Tensor, library: torch.Tensor | None = None) -> Normal:
        return Normal(eta, (self.variance + MINIMUM_VARIANCE).sqrt(), validate_args=False)

    def stabilised(self, px: Distribution) -> torch.Tensor:
        return px.mean / px.stddev

    @torch.no_grad()
    def adapt(self, residuals: torch.Tensor) -> None:
        """Move the variance towards that of the residuals of a batch."""
        self.variance.lerp_(residuals.float().square().mean(dim=0), VARIANCE_MOMENTUM)


class PoissonHead(CountHead):
    """Poisson counts."""

    def forward(self, eta: torch.Tensor, library: torch.Tensor | None = None) -> Poisson:
        return Poisson(self.rates(eta, library), validate_args=False)

    def stabilised(self, px: Distribution) -> torch.Tensor:
        return 2 * px.mean.sqrt()


class BernoulliHead(CountHead):
    """Whether a feature was seen at all, and the library the number of features that were.

    Odds are the exponentials of what a decoder gives, times how many more were seen than that expects.
    """

    def outputs(self, mean: torch.Tensor) -> torch.Tensor:
        return mean.logit(eps=SMALLEST_MEAN)

    def forward(self, eta: torch.Tensor, library: torch.Tensor | None = None) -> Bernoulli:
        shift = 0.0 if library is None else (library / eta.sigmoid().sum(dim=1, keepdim=True)).log()
        return Bernoulli(logits=eta + shift, validate_args=False)

    def stabilised(self, px: Distribution) -> torch.Tensor:
        return 2 * px.mean.sqrt().asin()


class NegativeBinomialHead(CountHead):
    """Negative binomial counts, with a dispersion per feature."""

    def __init__(self, n_out: int) -> None:
        super().__init__(n_out)
        self.log_inverse_dispersion = nn.Parameter(torch.zeros(n_out))

    def forward(self, eta: torch.Tensor, library: torch.Tensor | None = None) -> Distribution:
        return NegativeBinomial(mu=self.rates(eta, library), theta=self.log_inverse_dispersion.exp())

    def stabilised(self, px: Distribution) -> torch.Tensor:
        shape = self.log_inverse_dispersion.exp()
        return 2 * shape.sqrt() * (px.mean / shape).sqrt().asinh()


class ZeroInflatedNegativeBinomialHead(NegativeBinomialHead):
    """The same with further zeros, whose logits are the second half of the outputs."""

    n_parameters: ClassVar[int] = 2

    def outputs(self, mean: torch.Tensor) -> torch.Tensor:
        return torch.cat([super().outputs(mean), torch.full_like(mean, NO_INFLATION)])

    def forward(self, eta: torch.Tensor, library: torch.Tensor | None = None) -> Distribution:
        eta, zi_logits = eta.split(self.n_out, dim=1)
        theta = self.log_inverse_dispersion.exp()
        return ZeroInflatedNegativeBinomial(mu=self.rates(eta, library), theta=theta, zi_logits=zi_logits)


HEADS: dict[str, type[Head]] = {
    "gaussian": ResidualGaussianHead,
    "nb": NegativeBinomialHead,
    "zinb": ZeroInflatedNegativeBinomialHead,
    "poisson": PoissonHead,
    "bernoulli": BernoulliHead,
}
"""Head of each likelihood, by name."""
