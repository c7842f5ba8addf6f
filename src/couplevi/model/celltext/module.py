from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scvi.module.base import BaseModuleClass, LossOutput, auto_move_data
from torch import nn

from couplevi.losses import contrastive_alignment
from couplevi.model.celltext.projectors import QFormer, residual
from couplevi.model.celltext.prototypes import QUANTILES, Prototypes
from couplevi.nn import Observation

if TYPE_CHECKING:
    from couplevi._types import CellBatch, FloatArray

LOG_SCALE, MOST_LOG_SCALE = float(np.log(1 / 0.07)), float(np.log(100))
"""Logarithm of the factor of cosines in the contrastive loss: at first, and at most."""
MOST_TEXTS = 1024
"""Texts up to which all are told from a cell's own, also those that no cell of the batch has."""
MODALITY = "adata"


class PrototypeBuffers(nn.Module):
    """Keeps :class:`Prototypes` with the weights of a model, in double precision.

    Parameters
    ----------
    n_prepared, n_text, n_types
        Number of prepared features, size of the vector of a text, and number of types.
    """

    def __init__(self, n_prepared: int, n_text: int, n_types: int) -> None:
        super().__init__()
        k = n_prepared
        sizes = {
            "whitening": (k, k),
            "centre": (k,),
            "means": (n_types, k),
            "n_cells": (n_types,),
            "spreads": (n_types, k),
            "text_centre": (n_text,),
            "text_weights": (n_text, k),
            "variance": (k,),
            "threshold": (),
            "slope": (),
            "temperatures": (2,),
            "distances": (2, len(QUANTILES)),
            "own_scale": (),
        }
        for name, size in sizes.items():
            self.register_buffer(name, torch.zeros(size, dtype=torch.float64))

    def fill(self, record: Prototypes) -> None:
        """Take over what was fitted."""
        for field in fields(record):
            self.get_buffer(field.name).copy_(torch.as_tensor(getattr(record, field.name)))

    def record(self) -> Prototypes:
        """What was fitted, as arrays."""
        return Prototypes(**{f.name: self.get_buffer(f.name).cpu().numpy() for f in fields(Prototypes)})


class CellTextModule(BaseModuleClass):
    """Places cells and texts in one space: where they are in closed form, and what is learned on top of it.

    Parameters
    ----------
    n_vars, n_components
        Number of features and of principal components (None: standardised features).
    n_text, n_types
        Size of the vector of a text, and number of types.
    n_tokens
        Size of a token of a cell; 0 if cells are read by their prepared features alone.
    n_hidden, n_queries, dropout_rate, name_dropout_rate
        See :class:`~couplevi.model.CellTextSettings`.
    """

    rms: torch.Tensor
    cell_weights: torch.Tensor
    cell_centre: torch.Tensor
    text_weights: torch.Tensor
    text_centre: torch.Tensor
    texts: torch.Tensor
    probes: torch.Tensor

    def __init__(
        self,
        n_vars: int,
        n_components: int | None,
        *,
        n_text: int,
        n_types: int,
        n_probes: int,
        n_tokens: int,
        n_hidden: int,
        n_queries: int,
        dropout_rate: float,
        name_dropout_rate: float,
    ) -> None:
        super().__init__()
        self.observation = Observation(n_vars, n_components)
        self.n_prepared = k = self.observation.n_prepared
        self.prototypes = PrototypeBuffers(k, n_text, n_types)
        self.name_dropout_rate = name_dropout_rate
        self.cell_residual = (
            QFormer(n_tokens, n_hidden, n_queries, k, dropout_rate)
            if n_tokens
            else residual(k, n_hidden, k, dropout_rate)
        )
        self.text_residual = residual(k, n_hidden, k, dropout_rate)
        self.log_scale = nn.Parameter(torch.tensor(LOG_SCALE))
        buffers = {
            "rms": (2,),
            "cell_weights": (k, k),
            "cell_centre": (k,),
            "text_weights": (n_text, k),
            "text_centre": (n_text,),
            "texts": (n_types, n_text),
            "probes": (n_probes, n_text),
            "residual_sd": (n_vars,),
            "gain": (n_vars,),
            "dispersion": (n_vars,),
            "library": (len(QUANTILES),),
        }
        for name, size in buffers.items():
            self.register_buffer(name, torch.zeros(size))
        self.views: tuple[torch.Tensor, ...] = (torch.empty(0), torch.empty(0))

    # places

    def fill(self, fitted: Prototypes, h: FloatArray) -> None:
        """Take over what was fitted to cells with these prepared features, shape ``(n, n_prepared)``.

        A dimension counts in the common space by how well texts tell where types are in it.
        """
        self.prototypes.fill(fitted)
        scale = 1 / np.sqrt(1 + fitted.variance)
        weights = {
            "cell_weights": fitted.whitening * scale,
            "cell_centre": fitted.centre * scale,
            "text_weights": fitted.text_weights * scale,
            "text_centre": fitted.text_centre,
        }
        for name, value in weights.items():
            self.get_buffer(name).copy_(torch.as_tensor(value))
        cells = h @ weights["cell_weights"] - weights["cell_centre"]
        texts = (self.texts.cpu().numpy() - fitted.text_centre) @ weights["text_weights"]
        lengths = [np.sqrt(np.square(x).sum(axis=1).mean()) for x in (cells, texts)]
        self.rms.copy_(torch.as_tensor([length or 1.0 for length in lengths]))

    @auto_move_data
    def encode(self, h: torch.Tensor) -> torch.Tensor:
        """Cells in the common space, of length 1, shape ``(n, n_prepared)``.

        Parameters
        ----------
        h
            Prepared features, and tokens behind them, shape ``(n, n_prepared + n_tokens * size)``.
        """
        prepared, tokens = h[:, : self.n_prepared], h[:, self.n_prepared :]
        placed = (prepared @ self.cell_weights - self.cell_centre) / self.rms[0]
        learned = self.cell_residual(tokens if tokens.shape[1] else placed * self.n_prepared**0.5)
        return nn.functional.normalize(placed + learned, dim=1).float()

    @auto_move_data
    def encode_text(self, vectors: torch.Tensor) -> torch.Tensor:
        """Texts in the common space, of length 1, given their vectors, shape ``(n, n_text)``."""
        return self._learned_text(self._placed_text(vectors))

    def _placed_text(self, vectors: torch.Tensor) -> torch.Tensor:
        return (vectors - self.text_centre) @ self.text_weights / self.rms[1]

    def _learned_text(self, placed: torch.Tensor) -> torch.Tensor:
        return nn.functional.normalize(placed + self.text_residual(placed * self.n_prepared**0.5), dim=1).float()

    # training

    def set_views(self, whole: FloatArray, nameless: FloatArray) -> None:
        """Take vectors of all different texts, and of the same without their first sentence, ``(n_texts, n_text)``.

        What is trained comes after they are placed in closed form: they are so once.
        """
        device = self.text_weights.device
        self.views = tuple(self._placed_text(torch.from_numpy(vectors).to(device)) for vectors in (whole, nameless))

    def _get_inference_input(self, tensors: CellBatch, **kwargs: Any) -> dict[str, Any]:
        return {"h": tensors["h"][MODALITY], "label": tensors["label"]}

    def inference(self, h: torch.Tensor, label: torch.Tensor) -> dict[str, torch.Tensor]:
        """Cells of a batch, texts, and the place of each text among all."""
        self.views = tuple(view.to(h.device) for view in self.views)
        whole, nameless = self.views
        chosen = torch.arange(len(whole), device=h.device) if len(whole) <= MOST_TEXTS else label.unique()
        placed = whole[chosen]
        if self.training and self.name_dropout_rate:
            dropped = torch.rand(len(chosen), device=h.device) < self.name_dropout_rate
            placed = torch.where(dropped[:, None], nameless[chosen], placed)
        return {"cells": self.encode(h), "texts": self._learned_text(placed), "chosen": chosen}

    def _get_generative_input(
        self, tensors: CellBatch, inference_outputs: dict[str, torch.Tensor], **kwargs: Any
    ) -> dict[str, torch.Tensor]:
        return {}

    def generative(self) -> dict[str, torch.Tensor]:
        """Nothing: cells are not decoded in training."""
        return {}

    def loss(
        self,
        tensors: CellBatch,
        inference_outputs: dict[str, torch.Tensor],
        generative_outputs: dict[str, torch.Tensor],
        kl_weight: float = 1.0,
    ) -> LossOutput:
        """Cross-entropy of finding the text of a cell, and of finding the cells of a text.

        All cells with the same text share the mass of its target; texts that no cell of the batch has are negatives.
        """
        cells, texts, chosen = (inference_outputs[name] for name in ("cells", "texts", "chosen"))
        links = (tensors["label"][:, None] == chosen).float()
        scale = self.log_scale.clamp(max=MOST_LOG_SCALE).exp()
        temperature = 2 / (cells.shape[1] * scale)  # of squared distances of vectors of length 1
        known = torch.ones(len(cells), dtype=torch.bool, device=cells.device)
        to_text = contrastive_alignment(cells, texts, links, temperature, known.new_ones(len(texts)), 1.0)
        to_cells = contrastive_alignment(texts, cells, links.T, temperature, known, 1.0)
        there = links.any(dim=0)
        terms = {"cell_to_text": to_text.mean(), "text_to_cells": to_cells[there].mean()}
        return LossOutput(
            loss=terms["cell_to_text"] + terms["text_to_cells"],
            reconstruction_loss=torch.zeros_like(to_text),
            extra_metrics={name: value.detach() for name, value in terms.items()},
        )
