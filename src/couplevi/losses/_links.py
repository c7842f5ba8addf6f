"""Terms that tie modalities together."""

from __future__ import annotations

import math

import torch
from torch.nn.functional import log_softmax


def combination(z: torch.Tensor, aggregated: torch.Tensor) -> torch.Tensor:
    """Squared distance of a latent from its aggregate, mean over latent dimensions, shape ``(n,)``.

    JAMIE paper, section 4: pulls the latents of linked profiles together.
    """
    return (z - aggregated).square().mean(dim=1)


def alignment(z_a: torch.Tensor, z_b: torch.Tensor, match: torch.Tensor) -> torch.Tensor:
    """Squared distance of each latent of `a` from its matches in `b`, shape ``(n_a,)``.

    JAMIE paper, section 4: ``(z_a - F z_b)^2``, mean over latent dimensions. The rows of `match`, shape
    ``(n_a, n_b)``, are divided by their sums; a row without a match gives 0.
    """
    weight = match.sum(dim=1, keepdim=True)
    target = match @ z_b / torch.where(weight > 0, weight, torch.ones_like(weight))
    return (z_a - target).square().mean(dim=1) * (weight[:, 0] > 0)


def contrastive_alignment(
    mu_a: torch.Tensor,
    mu_b: torch.Tensor,
    links: torch.Tensor,
    temperature: torch.Tensor,
    known_b: torch.Tensor,
    unknown_weight: float,
    comparable: torch.Tensor | None = None,
) -> torch.Tensor:
    """Cross-entropy, in nats, of finding the linked profiles of `b` among those of the batch, shape ``(n_a,)``.

    The logits are ``-||mu_a - mu_b||^2 / (n_latent * temperature)``, the targets the rows of `links` divided by
    their sums; a row without a link gives 0. For the other direction swap `a` and `b` and transpose `links`.

    Parameters
    ----------
    mu_a, mu_b
        Mean latents, shapes ``(n_a, n_latent)`` and ``(n_b, n_latent)``.
    links
        Confidences, shape ``(n_a, n_b)``.
    temperature
        Positive scalar.
    known_b
        Whether a profile of `b` has any link at all, shape ``(n_b,)``. One that has none may be the partner of any
        profile, so it counts as a negative with weight `unknown_weight` in (0, 1] only.
    comparable
        Which profiles of `b` count as negatives of which of `a`, shape ``(n_a, n_b)``: those of the same batch, as
        others could be told apart by their batch alone. None takes all.
    """
    scale = 2 / (mu_a.shape[1] * temperature)
    offset = torch.where(known_b, 0.0, math.log(unknown_weight)) - 0.5 * scale * mu_b.square().sum(dim=1)
    logits = torch.addmm(offset, mu_a * scale, mu_b.T)  # less ||mu_a||^2, which the softmax takes out
    apart = None if comparable is None else ~comparable & (links == 0)
    if apart is not None:
        logits = logits.masked_fill(apart, -math.inf)
    found = log_softmax(logits, dim=1)
    if apart is not None:
        found = found.masked_fill(apart, 0.0)  # it is not finite, and a target of 0 would not take it out
    total = links.sum(dim=1)
    return -(links * found).sum(dim=1) / torch.where(total > 0, total, torch.ones_like(total))
