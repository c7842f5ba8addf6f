"""Shapley values of a route by three methods, one profile at a time."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import shap
import torch
from torch import nn

from couplevi._validate import expected
from couplevi.nn import CountHead, chain
from couplevi.preparation import row_chunks

if TYPE_CHECKING:
    from couplevi._types import FloatArray
    from couplevi.nn import Route

MAX_VALUES = 2**24
"""Numbers in a work array: 64 MB of float32."""

Attribute: TypeAlias = "Callable[[FloatArray], FloatArray]"
"""From one profile, shape ``(n_vars,)``, to its attributions, shape ``(n_vars, n_outputs)``."""


def expected_gradients(route: Route, background: FloatArray, n_nodes: int) -> Attribute:
    """Expected gradients over all background profiles and fixed nodes on the straight path from each.

    With ``h`` the prepared features, ``s`` the standardised ones, ``h = s C' / rms`` and ``J`` the mean of the
    Jacobian of the network on the path from background profile ``b``, the attribution of feature j is
    ``mean_b (s_j - s_bj) (J_b C)_j / rms``: the gradient with respect to ``h``, carried through the linear
    preparation. Nodes and weights are those of Gauss and Legendre, so the error falls geometrically with their number.

    Parameters
    ----------
    route
        What is explained.
    background
        Profiles in their own units, shape ``(n_background, n_vars)``.
    n_nodes
        Points on each path.

    References
    ----------
    Erion et al., Improving performance of deep learning models with axiomatic attribution priors and expected
    gradients, Nature Machine Intelligence 2021, equation 3.
    """
    nodes, weights = np.polynomial.legendre.leggauss(n_nodes)
    path = list(zip(((nodes + 1) / 2).tolist(), (weights / 2).tolist(), strict=True))
    p, device = route.preparation, route.device
    components = None if p.components is None else torch.from_numpy(p.components / np.float32(p.rms)).to(device)
    prepared = torch.from_numpy(p.transform(background)).to(device)
    standardised = None
    if components is not None:
        chunks = [p.standardise(chunk) for _, chunk in row_chunks(background)]
        standardised = torch.from_numpy(np.concatenate(chunks)).to(device)
    n_background, n_prepared = prepared.shape
    n_inner = route.network(prepared[:1]).shape[1]
    derivative = chain(route.network, n_inner)
    # of a work array (rows, outputs, prepared), rows are background profiles or features
    step = max(1, min(n_inner, MAX_VALUES // (n_prepared * max(p.n_vars, min(n_background, 512)))))
    together = step if derivative is None else n_inner
    n_rows = max(1, MAX_VALUES // (n_prepared * together))

    def attribute(profile: FloatArray) -> FloatArray:
        h = torch.from_numpy(p.transform(profile[None])).to(device)
        s = torch.from_numpy(p.standardise(profile[None])).to(device)
        total = h.new_zeros(p.n_vars, n_inner)
        for start in range(0, n_inner, together):
            outputs = range(start, min(start + together, n_inner))
            for first in range(0, n_background, n_rows):
                rows = slice(first, first + n_rows)
                slope = integrated(h, prepared[rows], outputs)
                for k in range(0, len(outputs), step):
                    part = slope[:, k : k + step]
                    total[:, start + k : start + k + part.shape[1]] += (
                        torch.einsum("bd,bkd->dk", h - prepared[rows], part)
                        if standardised is None or components is None
                        else _carried(s, standardised[rows], part, components)
                    )
        return route.outputs((total / n_background).cpu().numpy())

    def integrated(h: torch.Tensor, from_h: torch.Tensor, outputs: range) -> torch.Tensor:
        """Mean derivatives of some outputs on the path from each row, shape ``(n, n_outputs, n_prepared)``."""
        slope = h.new_zeros(len(from_h), len(outputs), n_prepared)
        for node, weight in path:
            at = from_h + node * (h - from_h)
            slope.add_(
                _gradients(route.network, at, outputs) if derivative is None else derivative(at)[1], alpha=weight
            )
        return slope

    return torch.no_grad()(attribute)


@torch.enable_grad()
def _gradients(network: nn.Module, h: torch.Tensor, outputs: range) -> torch.Tensor:
    """Derivatives of some outputs with respect to the rows of `h`, shape ``(n, n_outputs, n_prepared)``."""
    y = network(h.requires_grad_()).sum(dim=0)
    return torch.stack([torch.autograd.grad(y[k], h, retain_graph=True)[0] for k in outputs], dim=1)


def _carried(s: torch.Tensor, from_s: torch.Tensor, slope: torch.Tensor, components: torch.Tensor) -> torch.Tensor:
    """``sum_b (s_j - s_bj) (slope_b C)_j``, shape ``(n_vars, n_outputs)``, without an array of all three."""
    n, k, d = slope.shape
    own = (slope.sum(dim=0) @ components).T * s.T
    background = (from_s.T @ slope.reshape(n, k * d)).reshape(-1, k, d) @ components.T[:, :, None]
    return own - background[:, :, 0]


def deep(route: Route, background: FloatArray) -> Attribute:
    """DeepLIFT averaged over the background, by :class:`shap.DeepExplainer`.

    Raises
    ------
    ValueError
        If the network has layers for which DeepLIFT has no rule.
    """
    layers = list(route.network.modules())
    if any(isinstance(layer, nn.LayerNorm) for layer in layers):
        remedy = 'Use `method="gradient"`, or train with `normalization="batch"`.'
        raise ValueError(expected("layers that DeepLIFT has rules for", "layer normalisation", remedy))
    if any(isinstance(layer, CountHead) for layer in layers):  # without a rule, sums of values are off by 16 to 74 %
        remedy = 'Use `method="gradient"`, or explain the latent.'
        raise ValueError(
            expected("layers that DeepLIFT has rules for", "exponentials of a likelihood of counts", remedy)
        )
    network = route.from_features()
    explainer = shap.DeepExplainer(network, torch.from_numpy(background).to(route.device))

    def attribute(profile: FloatArray) -> FloatArray:
        with warnings.catch_warnings():
            # shap attaches hooks that torch warns about where a layer's input needs no gradient
            warnings.filterwarnings("ignore", message=".*hook.*")
            values = explainer.shap_values(torch.from_numpy(profile[None]).to(route.device), check_additivity=False)
        return np.asarray(values)[0]

    return attribute


def permutation(route: Route, background: FloatArray, seed: int) -> Attribute:
    """One random order of the features and its reverse for each profile, by :class:`shap.PermutationExplainer`."""

    def predict(x: FloatArray) -> FloatArray:
        return route.predict(route.preparation.transform(x))

    masker = shap.maskers.Independent(background, max_samples=len(background))
    evaluations = 2 * background.shape[1] + 1

    def attribute(profile: FloatArray) -> FloatArray:
        state = np.random.get_state()
        try:  # shap seeds and uses numpy's global generator
            explainer = shap.PermutationExplainer(predict, masker, seed=seed)
            values = explainer(profile[None], max_evals=evaluations, silent=True).values[0]
        finally:
            np.random.set_state(state)
        return values.reshape(len(profile), len(route.names))

    return attribute
