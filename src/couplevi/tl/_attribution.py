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
from couplevi.nn import chain
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
    slopes = _slopes(route.network, n_inner)
    # of a work array (rows, outputs, prepared), rows are background profiles or features
    step = max(1, min(n_inner, MAX_VALUES // (n_prepared * max(p.n_vars, min(n_background, 512)))))
    n_rows = max(1, MAX_VALUES // (n_prepared * step))

    def attribute(profile: FloatArray) -> FloatArray:
        h = torch.from_numpy(p.transform(profile[None])).to(device)
        s = torch.from_numpy(p.standardise(profile[None])).to(device)
        values = [part(h, s, slice(start, start + step)) for start in range(0, n_inner, step)]
        return route.outputs(torch.cat(values, dim=1).cpu().numpy())

    def part(h: torch.Tensor, s: torch.Tensor, inner: slice) -> torch.Tensor:
        total = torch.zeros(())
        for start in range(0, n_background, n_rows):
            rows = slice(start, start + n_rows)
            from_h = prepared[rows]
            slope = from_h.new_zeros(len(from_h), len(range(n_inner)[inner]), n_prepared)
            for node, weight in path:
                slope.add_(slopes(from_h + node * (h - from_h), inner), alpha=weight)
            total = total + (
                torch.einsum("bd,bkd->dk", h - from_h, slope)
                if standardised is None or components is None
                else _carried(s, standardised[rows], slope, components)
            )
        return total / n_background

    return attribute


def _slopes(network: nn.Module, n_outputs: int) -> Callable[[torch.Tensor, slice], torch.Tensor]:
    """From rows to derivatives of some outputs with respect to them, shape ``(n, n_outputs, n_prepared)``."""

    def by_gradients(h: torch.Tensor, outputs: slice) -> torch.Tensor:
        h = h.requires_grad_()
        rows = [torch.autograd.grad(y, h, retain_graph=True)[0] for y in network(h).sum(dim=0)[outputs]]
        return torch.stack(rows, dim=1)

    derivative = chain(network, n_outputs)
    if derivative is None:
        return by_gradients

    @torch.no_grad()
    def in_closed_form(h: torch.Tensor, outputs: slice) -> torch.Tensor:
        _, of_all = derivative(h)
        return of_all[..., outputs, :]

    return in_closed_form


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
    if any(isinstance(layer, nn.LayerNorm) for layer in route.network.modules()):
        remedy = 'Use `method="gradient"`, or train with `normalization="batch"`.'
        raise ValueError(expected("layers that DeepLIFT has rules for", "layer normalisation", remedy))
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
