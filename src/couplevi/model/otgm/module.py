from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from couplevi.gaussians import Gaussian, shrink

if TYPE_CHECKING:
    from couplevi._types import FloatArray


class OTGMModule(nn.Module):
    """Moments of states, by group of cells: what an OTGM model has learned.

    Component ``state * n_groups + group`` is a Gaussian; all share the basis and the shape of the noise, see
    :class:`~couplevi.gaussians.Gaussian`.

    Parameters
    ----------
    n_vars, n_components
        Number of features, and of principal components.
    n_states, n_groups, n_batches
        Number of states, groups and batches.
    """

    def __init__(self, n_vars: int, n_components: int, *, n_states: int, n_groups: int, n_batches: int) -> None:
        super().__init__()
        self.n_states, self.n_groups = n_states, n_groups
        k, d = n_states * n_groups, n_components
        sizes = {
            "centre": (n_vars,),
            "basis": (n_vars, d),
            "count": (k,),
            "mean": (k, n_vars),
            "variance": (k, n_vars),
            "covariance": (k, d, d),
            "pooled": (d, d),
            "noise": (n_vars,),
            "scale": (k,),
            "offsets": (n_batches, n_vars),
            "pooled_share": (),
            "telling_share": (),
        }
        for name, size in sizes.items():
            self.register_buffer(name, torch.zeros(size, dtype=torch.float64))

    @property
    def device(self) -> torch.device:
        """Where the buffers are."""
        return self.get_buffer("centre").device

    def fill(self, **values: FloatArray | float) -> None:
        """Take over what was learned, by name of the buffer."""
        for name, value in values.items():
            self.get_buffer(name).copy_(torch.as_tensor(np.asarray(value), dtype=torch.float64))

    def array(self, name: str) -> FloatArray:
        """A buffer as an array."""
        return self.get_buffer(name).cpu().numpy()

    def place(self, state: int, group: int) -> int:
        """Component of a state in a group."""
        return state * self.n_groups + group

    def covariances(self, share: str = "pooled_share") -> FloatArray:
        """Covariances of the scores of all components, shrunk towards the pooled one by a share."""
        return shrink(self.array("covariance"), self.array("pooled"), float(self.array(share)))

    def gaussian(self, component: int) -> Gaussian:
        """The Gaussian of a component, in the space of the features."""
        covariance = shrink(
            self.array("covariance")[component][None], self.array("pooled"), float(self.array("pooled_share"))
        )[0]
        mean, scale = self.array("mean")[component], float(self.array("scale")[component])
        return Gaussian(mean, self.array("basis"), covariance, self.array("noise"), scale)
