from __future__ import annotations

import torch
from torch import nn

from couplevi.preparation import Preparation


class PreparationBuffers(nn.Module):
    """Keeps a :class:`~couplevi.preparation.Preparation` with the weights of a model.

    The buffers have their final shape from the start, so that a saved model can be loaded before any data is seen.

    Parameters
    ----------
    n_vars
        Number of features of the modality.
    n_components
        Number of principal components, or None if the standardised features are used.
    """

    mean: torch.Tensor
    scale: torch.Tensor
    components: torch.Tensor | None
    rms: torch.Tensor

    def __init__(self, n_vars: int, n_components: int | None) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_vars))
        self.register_buffer("scale", torch.ones(n_vars))
        self.register_buffer("components", None if n_components is None else torch.zeros(n_components, n_vars))
        self.register_buffer("rms", torch.ones(()))

    @property
    def n_prepared(self) -> int:
        """Number of prepared features."""
        return len(self.mean) if self.components is None else len(self.components)

    @property
    def error_weight(self) -> torch.Tensor:
        """Turns a squared error summed over prepared features into a mean over standardised features."""
        return self.rms**2 / len(self.mean)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features, shape ``(n, n_vars)``, to prepared features, as :meth:`Preparation.transform` does."""
        gain = torch.where(self.scale > 0, 1 / self.scale, 0.0)
        standardised = (x - self.mean) * gain
        return (standardised if self.components is None else standardised @ self.components.T) / self.rms

    def fill(self, record: Preparation) -> None:
        """Take over the values of a fitted record."""
        self.mean.copy_(torch.as_tensor(record.mean))
        self.scale.copy_(torch.as_tensor(record.scale))
        self.rms.fill_(record.rms)
        if self.components is not None:
            self.components.copy_(torch.as_tensor(record.components))

    def record(self) -> Preparation:
        """The preparation as arrays."""
        components = None if self.components is None else self.components.cpu().numpy()
        return Preparation(self.mean.cpu().numpy(), self.scale.cpu().numpy(), components, float(self.rms))
