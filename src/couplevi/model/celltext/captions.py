"""Descriptions of cells by a language model of the user, which reads a few learned vectors in place of words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from couplevi._progress import progress
from couplevi._validate import expected

if TYPE_CHECKING:
    from couplevi._types import FloatArray, IntArray

IGNORED = -100
"""Label of a place whose word is not predicted, as transformers has it."""


class SoftPrompts(nn.Module):
    """From a cell in the common space to vectors that a language model reads like words.

    Parameters
    ----------
    n_in
        Dimensions of the common space.
    n_prompts, width
        Number of vectors, and their size: that of the words of the language model.

    References
    ----------
    Li and Liang, Prefix-tuning, ACL 2021; Lester, Al-Rfou and Constant, The power of scale for parameter-efficient
    prompt tuning, EMNLP 2021.
    """

    def __init__(self, n_in: int, n_prompts: int, width: int) -> None:
        super().__init__()
        self.n_prompts, self.width = n_prompts, width
        self.network = nn.Sequential(nn.Linear(n_in, 4 * n_in), nn.GELU(), nn.Linear(4 * n_in, n_prompts * width))

    def forward(self, cells: torch.Tensor) -> torch.Tensor:
        """Vectors, shape ``(n, n_prompts, width)``."""
        return self.network(cells).view(len(cells), self.n_prompts, self.width)


def word_width(language_model: Any) -> int:
    """Size of the words of a language model; raise TypeError if it is none."""
    embeddings = getattr(language_model, "get_input_embeddings", None)
    if embeddings is None or not hasattr(language_model, "generate"):
        remedy = "Load one with `transformers.AutoModelForCausalLM.from_pretrained(folder)`."
        raise TypeError(expected("a causal language model of transformers", type(language_model).__name__, remedy))
    return embeddings().weight.shape[1]


def fit_prompts(
    prompts: SoftPrompts,
    language_model: Any,
    tokenizer: Any,
    cells: FloatArray,
    texts: Sequence[str],
    text_of: IntArray,
    *,
    max_epochs: int,
    batch_size: int,
    lr: float,
    tune: bool,
    shown: bool,
) -> list[float]:
    """Train soft prompts, and the language model with `tune`, to give each cell its text; the loss of each epoch."""
    end = tokenizer.eos_token or ""
    encoded = [tokenizer(text + end, return_tensors="pt")["input_ids"][0] for text in texts]
    learned = [*prompts.parameters(), *(language_model.parameters() if tune else ())]
    frozen = [p for p in language_model.parameters() if p.requires_grad and not tune]
    was_training = language_model.training
    for parameter in frozen:
        parameter.requires_grad_(False)
    language_model.train(tune)
    optimizer = torch.optim.AdamW(learned, lr=lr)
    losses = []
    try:
        for _ in progress(range(max_epochs), "epoch of descriptions", shown=shown):
            total = 0.0
            for rows in _batches(len(cells), batch_size):
                loss = _loss(
                    prompts,
                    language_model,
                    torch.from_numpy(cells[rows]),
                    [encoded[t] for t in text_of[rows]],
                )
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.item() * len(rows)
            losses.append(total / len(cells))
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)
        language_model.train(was_training)
    return losses


def _batches(n: int, size: int) -> Iterator[IntArray]:
    order = torch.randperm(n).numpy()
    yield from np.array_split(order, -(-n // size))


def _read(prompts: SoftPrompts, cells: torch.Tensor, language_model: Any) -> torch.Tensor:
    """Vectors of cells as the language model reads its words, which may be elsewhere and in half precision.

    The prompts stay where the rest of their module is: all of it is on one device.
    """
    return prompts(cells.to(next(prompts.parameters()).device)).to(language_model.get_input_embeddings().weight)


def _loss(
    prompts: SoftPrompts, language_model: Any, cells: torch.Tensor, words: Sequence[torch.Tensor]
) -> torch.Tensor:
    """Mean negative log-likelihood of the words of each cell."""
    soft = _read(prompts, cells, language_model)
    ids = nn.utils.rnn.pad_sequence(list(words), batch_first=True).to(soft.device)
    length = torch.tensor([len(w) for w in words], device=soft.device)
    there = torch.arange(ids.shape[1], device=soft.device) < length[:, None]
    embedded = torch.cat([soft, language_model.get_input_embeddings()(ids)], dim=1)
    before = there.new_ones(len(ids), prompts.n_prompts)
    labels = torch.cat([torch.full_like(before, IGNORED, dtype=torch.long), ids.masked_fill(~there, IGNORED)], dim=1)
    mask = torch.cat([before, there], dim=1).long()
    return language_model(inputs_embeds=embedded, attention_mask=mask, labels=labels).loss


@torch.inference_mode()
def described(
    prompts: SoftPrompts, language_model: Any, tokenizer: Any, cells: FloatArray, *, batch_size: int, **kwargs: Any
) -> list[str]:
    """Texts that a language model gives of cells."""
    was_training = language_model.training
    language_model.eval()
    found: list[str] = []
    for start in range(0, len(cells), batch_size):
        soft = _read(prompts, torch.from_numpy(cells[start : start + batch_size]), language_model)
        mask = torch.ones(soft.shape[:2], dtype=torch.long, device=soft.device)
        pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        ids = language_model.generate(inputs_embeds=soft, attention_mask=mask, pad_token_id=pad, **kwargs)
        found += [text.strip() for text in tokenizer.batch_decode(ids, skip_special_tokens=True)]
    language_model.train(was_training)
    return found
