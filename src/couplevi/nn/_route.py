from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self, TypeVar

import numpy as np
import torch
from torch import nn

from couplevi._arrays import dense
from couplevi.nn._derivative import Derivable, Derivative, chain

if TYPE_CHECKING:
    from couplevi._streamed import Matrix
    from couplevi._types import FloatArray, IntArray
    from couplevi.preparation import Preparation

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, eq=False)
class Route:
    """Way from the features of a modality to what is predicted from them, differentiable in between.

    Outputs are ``network(prepared) @ mix + offset``; a network that reads covariates has them behind the features.

    Attributes
    ----------
    preparation
        Linear map from features to what the network reads.
    network
        From prepared features, shape ``(n, n_prepared)``, to shape ``(n, n_inner)``. Its parameters take no gradients.
    mix, offset
        Shapes ``(n_inner, n_outputs)`` and ``(n_outputs,)``. A mix of None leaves what the network gives.
    names
        Names of the outputs.
    columns, n_possible
        Their places among all that could be asked for, and the number of these.
    n_covariates
        Number of covariates that the network reads; :meth:`given` tells them.
    to_prepare
        What is prepared of the values of the modality, given a matrix and where it is, for messages: of counts their
        logarithms, which then are the features. None are the values themselves.
    """

    preparation: Preparation
    network: nn.Module
    mix: FloatArray | None
    offset: FloatArray
    names: list[str]
    columns: IntArray
    n_possible: int
    n_covariates: int = 0
    to_prepare: Callable[[Matrix, str], Matrix] | None = None

    def read(self, matrix: Matrix, where: str) -> Matrix:
        """Features that are prepared of the values of the modality."""
        return matrix if self.to_prepare is None else self.to_prepare(matrix, where)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    def then(self, readout: nn.Module, names: Sequence[str], columns: IntArray) -> Self:
        """The route to some columns of what `readout` makes of its outputs; `names` are those of all columns.

        The route is one that ends at a latent: a readout of features would need their mix first.
        """
        assert self.mix is None
        chosen = linear(np.eye(len(names))[:, columns])
        network = nn.Sequential(self.network, readout, chosen).to(self.device).eval()
        shown = [names[c] for c in columns]
        offset = np.zeros(len(columns))
        return replace(
            self, network=network, mix=None, offset=offset, names=shown, columns=columns, n_possible=len(names)
        )

    def given(self, covariates: FloatArray) -> Self:
        """The route of profiles with these covariates, shape ``(n_covariates,)``, whose network reads features alone."""
        if not self.n_covariates:
            return self
        network = With(covariates, self.network).to(self.device).eval()
        return replace(self, network=network, n_covariates=0)

    def outputs(self, inner: FloatArray) -> FloatArray:
        """What the network gives, or attributions of it along the last axis, in the units of the outputs."""
        return inner if self.mix is None else inner @ self.mix

    @torch.inference_mode()
    def predict(self, prepared: FloatArray, columns: IntArray | slice = slice(None)) -> FloatArray:
        """Outputs, or some of them, of prepared features and covariates, shape ``(n, n_outputs)``."""
        inner = self.network(torch.from_numpy(prepared).to(self.device)).cpu().numpy()
        chosen = inner[:, columns] if self.mix is None else inner @ self.mix[:, columns]
        return chosen + self.offset[columns]

    def from_features(self) -> nn.Sequential:
        """The whole route as one network, from features in their own units to outputs in theirs."""
        loadings = dense(self.preparation.loadings)
        enter = linear(loadings, -self.preparation.mean.astype(np.float64) @ loadings)
        mix = np.eye(len(self.names)) if self.mix is None else self.mix
        return nn.Sequential(enter, self.network, linear(mix, self.offset)).to(self.device)


class With(Derivable):
    """A network that reads the same covariates behind the features of all profiles."""

    covariates: torch.Tensor

    def __init__(self, covariates: FloatArray, network: nn.Module) -> None:
        super().__init__()
        self.register_buffer("covariates", torch.from_numpy(np.asarray(covariates, dtype=np.float32)))
        self.network = network

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return self.network(self._told(h))

    def derivative(self, n_passes: int) -> Derivative | None:
        found = chain(self.network, n_passes)
        return None if found is None else lambda h: found(self._told(h))

    def _told(self, h: torch.Tensor) -> torch.Tensor:
        return torch.cat([h, self.covariates.expand(len(h), -1)], dim=1)


class Mean(nn.Module):
    """Mean of the distribution that a module gives."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.module(x).mean


def frozen_copy(module: Network) -> Network:
    """A copy whose parameters take no gradients, and to which others may attach hooks."""
    return deepcopy(module).requires_grad_(False)


def linear(weight: FloatArray, bias: FloatArray | None = None) -> nn.Linear:
    """Layer ``x @ weight + bias`` whose parameters take no gradients."""
    n_in, n_out = weight.shape
    layer = nn.Linear(n_in, n_out, bias=bias is not None).requires_grad_(False)
    layer.weight.copy_(torch.as_tensor(weight.T))
    if bias is not None:
        layer.bias.copy_(torch.as_tensor(bias))
    return layer
