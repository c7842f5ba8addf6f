"""Terms of what is known of cells."""

from __future__ import annotations

import torch
from torch.nn.functional import log_softmax


def smoothed_cross_entropy(logits: torch.Tensor, label: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Cross-entropy in nats of the label of each cell, a share of which is spread over all labels, shape ``(n,)``.

    Szegedy et al., Rethinking the inception architecture for computer vision, CVPR 2016, section 7.

    Parameters
    ----------
    logits
        Shape ``(n, n_labels)``.
    label
        Position of the label, shape ``(n,)``; any negative one gives 0.
    smoothing
        Share, in [0, 1).
    """
    log_p = log_softmax(logits, dim=1)
    own = log_p.gather(1, label.clamp(min=0)[:, None])[:, 0]
    return torch.where(label >= 0, -((1 - smoothing) * own + smoothing * log_p.mean(dim=1)), 0.0)


def uniform_cross_entropy(logits: torch.Tensor) -> torch.Tensor:
    """Cross-entropy in nats of equal shares, at least ``log(n_classes)``, which equal logits reach; shape ``(n,)``."""
    return -log_softmax(logits, dim=1).mean(dim=1)
