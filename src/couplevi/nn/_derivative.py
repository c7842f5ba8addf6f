"""Derivatives of a network in closed form: of many outputs at once, where gradients take one pass for each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import nn

MAX_TABLE = 2**24
"""Products of weights that are held: 64 MB of float32."""

PASSES_SAVED = 2
"""How many times as quick as gradients a multiplication in closed form is: no pass reads and writes hidden units."""

Derivative: TypeAlias = "Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]"
"""From inputs, shape ``(n, n_in)``, to outputs, shape ``(n, n_out)``, and their derivatives by features.

Covariates, which stand behind the features, are held. Derivatives have shape ``(n, n_out, n_features)``, or
``(n_out, n_features)`` where they are those of all rows.
"""


class Derivable(nn.Module, ABC):
    """Network that may know its derivatives in closed form."""

    @abstractmethod
    def derivative(self, n_passes: int) -> Derivative | None:
        """The derivative, or None where there is none, or `n_passes` gradients are quicker."""


def chain(network: nn.Module, n_passes: int) -> Derivative | None:
    """Derivative of linear layers and of networks that know theirs, one after another; None where one does not."""
    if isinstance(network, Derivable):
        return network.derivative(n_passes)
    if isinstance(network, nn.Linear):
        return lambda x: (network(x), network.weight.detach())
    if not isinstance(network, nn.Sequential):
        return None
    found = [chain(layer, n_passes) for layer in network]
    parts = [part for part in found if part is not None]
    if len(parts) < len(found):
        return None

    def derivative(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x, slopes = parts[0](x)
        for part in parts[1:]:
            x, own = part(x)
            slopes = own @ slopes
        return x, slopes

    return derivative


def one_layer(hidden: nn.Sequential, last: nn.Module, n_features: int, n_out: int, n_passes: int) -> Derivative | None:
    """Derivative of the first outputs of a hidden layer and a linear one by the first of what is read.

    With ``W`` and ``V`` the weights on the way in and out, the columns of ``W`` centred, ``u`` the normalised values of
    the `h` hidden units and ``s`` the slopes of normalisation and activation, it is
    ``V diag(s) W - V (s * u) (u' W) / h``. Its first term is a product of ``s`` with a table that is the same for all
    rows.

    Parameters
    ----------
    hidden
        Linear, normalisation, activation and dropout of each hidden layer, see :func:`~couplevi.nn.hidden_layers`.
    last
        Layer after them.
    n_features, n_out
        Numbers of inputs and outputs.
    n_passes
        Number of gradients that would be taken instead.

    Returns
    -------
    None of more than one hidden layer, without layer normalisation, of large tables, or where gradients are quicker.
    """
    first, norm, activation, *rest = hidden
    if (
        len(rest) > 1
        or not isinstance(first, nn.Linear)
        or not isinstance(norm, nn.LayerNorm)
        or not isinstance(last, nn.Linear)
    ):
        return None
    size = n_features * n_out
    if size > PASSES_SAVED * n_passes * (n_features + n_out) or len(norm.weight) * size > MAX_TABLE:
        return None
    enter, leave, bias = first.weight[:, :n_features], last.weight[:n_out], last.bias[:n_out]
    enter = enter - enter.mean(dim=0)
    table = (leave.T[:, :, None] * enter[:, None]).flatten(1)

    def derivative(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        shape, weight = norm.normalized_shape, norm.weight
        u, _, spread = torch.native_layer_norm(first(x), shape, None, None, norm.eps)
        with torch.enable_grad():
            v = (u * weight + norm.bias).requires_grad_()
            active = activation(v)
            slope = torch.autograd.grad(active.sum(), v)[0] * weight * spread
        slopes = (slope @ table).view(-1, n_out, n_features)
        slopes.baddbmm_(((slope * u) @ leave.T)[:, :, None], (u @ enter)[:, None], alpha=-1 / len(weight))
        return nn.functional.linear(active.detach(), leave, bias), slopes

    return derivative
