"""Where a cell is: what its modalities share, and what each of them alone knows, in one space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import nn

PRIVATE_SHARE = 0.3
"""Root mean square of the private part of a modality, relative to that of the shared part."""


class Embedding(nn.Module):
    """Linear maps of latents, so that distances tell how much what is decoded differs.

    Alignment spreads shared latents over all dimensions alike, of which some hardly matter to any decoder. Each part
    is therefore multiplied by the square root of the mean of ``J' J``, J being the Jacobian of the decoders, and scaled:
    the shared part keeps its root mean square, that of each private part is `PRIVATE_SHARE` of it.

    Parameters
    ----------
    modalities
        Names of the modalities.
    n_latent, n_private
        Number of shared and of private dimensions.
    """

    shared_map: torch.Tensor

    def __init__(self, modalities: Sequence[str], n_latent: int, n_private: int) -> None:
        super().__init__()
        self.index = {m: i for i, m in enumerate(modalities)}
        self.n_latent, self.n_private = n_latent, n_private
        self.register_buffer("shared_map", torch.eye(n_latent))
        for i in self.index.values():
            self.register_buffer(f"private_map_{i}", torch.eye(n_private))
            self.register_buffer(f"expectation_{i}", torch.zeros(n_latent + 1, n_private))

    def fit(self, latents: Mapping[str, torch.Tensor], sensitivity: Mapping[str, torch.Tensor]) -> None:
        """Fit to latents of profiles, ``(n, n_latent + n_private)``, and the sensitivity of decoders to them."""
        shared, private = slice(0, self.n_latent), slice(self.n_latent, None)
        z = torch.cat([part[:, shared] for part in latents.values()])
        matter = torch.stack([s[shared, shared] for s in sensitivity.values()]).mean(dim=0)
        self.shared_map.copy_(_scaled(_root(matter), z, _spread(z)))
        for m, part in latents.items():
            own = part[:, private]
            self._buffer("private_map", m).copy_(
                _scaled(_root(sensitivity[m][private, private]), own, PRIVATE_SHARE * _spread(z))
            )
            x = torch.cat([part[:, shared], torch.ones_like(part[:, :1])], dim=1)
            gram = x.T @ x + torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
            self._buffer("expectation", m).copy_(torch.linalg.solve(gram, x.T @ own))

    def expected_private(self, modality: str, shared: torch.Tensor) -> torch.Tensor:
        """Private latent that is expected given the shared one, shape ``(n, n_private)``: ridge regression."""
        weight = self._buffer("expectation", modality)
        return shared @ weight[:-1] + weight[-1]

    def forward(self, shared: torch.Tensor, private: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Place cells, shape ``(n, n_latent + n_private * len(private))``."""
        parts = [p @ self._buffer("private_map", m) for m, p in private.items()]
        return torch.cat([shared @ self.shared_map, *parts], dim=1)

    def inverse(self, cells: torch.Tensor, modality: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Shared latents of cells, and the private ones of a modality, given where they are placed."""
        start = self.n_latent + self.n_private * self.index[modality]
        parts = cells[:, : self.n_latent], cells[:, start : start + self.n_private]
        maps = self.shared_map, self._buffer("private_map", modality)
        shared, private = (part @ torch.linalg.pinv(weight) for part, weight in zip(parts, maps, strict=True))
        return shared, private

    def _buffer(self, name: str, modality: str) -> torch.Tensor:
        return cast("torch.Tensor", getattr(self, f"{name}_{self.index[modality]}"))


def _root(matrix: torch.Tensor) -> torch.Tensor:
    """Symmetric square root of a positive semi-definite matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T


def _spread(z: torch.Tensor) -> torch.Tensor:
    """Root mean square distance from the mean."""
    return (z - z.mean(dim=0)).square().sum(dim=1).mean().sqrt()


def _scaled(weight: torch.Tensor, z: torch.Tensor, spread: torch.Tensor) -> torch.Tensor:
    """The map, scaled so that ``z @ weight`` has this spread."""
    own = _spread(z @ weight)
    return weight * (spread / own if own > 0 else 0.0)
