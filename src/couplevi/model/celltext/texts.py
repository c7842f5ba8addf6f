"""Texts of types, and their vectors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from couplevi._labels import label_texts
from couplevi._validate import expected, listing, warn
from couplevi.model._dataset import CHUNK
from couplevi.text import unit

if TYPE_CHECKING:
    from couplevi._types import FloatArray, IntArray
    from couplevi.text import TextEncoder

SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
SHARPNESS = 7.0
"""Factor of cosines where texts compete for a cell. Chosen on held-out types of two data sets, see the guide."""


def as_texts(texts: str | Sequence[str], name: str) -> list[str]:
    """One or more texts as a list; raise ValueError without any, or for an empty one, TypeError for what is no text."""
    if not isinstance(texts, Iterable):
        raise TypeError(expected(f"texts for {name!r}", repr(texts)))
    found = [texts] if isinstance(texts, str) else list(texts)
    if not found:
        raise ValueError(expected(f"at least one text for {name!r}", "none"))
    for text in found:
        if not isinstance(text, str):
            raise TypeError(expected(f"texts for {name!r}", repr(text)))
        if not text.strip():
            raise ValueError(expected(f"texts for {name!r}", "an empty one"))
    return [str(text) for text in found]


def as_labels(labels: str | Iterable[Any], name: str) -> list[str]:
    """One or more labels as texts, numbers as those of a column are; raise as :func:`as_texts`."""
    return as_texts(labels if isinstance(labels, str) else list(label_texts(list(labels), frozenset())), name)


def as_descriptions(descriptions: Mapping[Any, str | Sequence[str]] | pd.Series | None) -> dict[str, list[str]]:
    """Texts of each label; raise TypeError for what is no mapping of labels to texts, else as :func:`as_texts`."""
    if not isinstance(descriptions, Mapping | pd.Series | None):
        raise TypeError(expected("a mapping of labels to texts as `descriptions`", type(descriptions).__name__))
    given = {} if descriptions is None else dict(descriptions)
    names = as_labels(given, "descriptions") if given else []
    return {name: as_texts(texts, name) for name, texts in zip(names, given.values(), strict=True)}


def text_vectors(encoder: TextEncoder, texts: Sequence[Sequence[str]]) -> FloatArray:
    """Vector of length 1 of each text, or of several that are averaged, shape ``(n, size)``, float32."""
    different = sorted({text for group in texts for text in group})
    vector = dict(zip(different, encoder(different), strict=True))
    means = np.stack([np.mean([vector[text] for text in group], axis=0, dtype=np.float64) for group in texts])
    if not means.any(axis=1).all():
        empty = [group[0] for group, mean in zip(texts, means, strict=True) if not mean.any()]
        warn(
            f"The text encoder {encoder.name!r} finds nothing in texts {listing(empty)}: what is said of them means "
            "nothing. Describe them in other words, or take another encoder."
        )
    return unit(means).astype(np.float32)


def nameless(texts: Sequence[str]) -> list[str]:
    """Texts without their first sentence, which names what they describe, where they have another one."""
    parts = [SENTENCE_END.split(text.strip(), maxsplit=1) for text in texts]
    return [part[1] if len(part) > 1 else part[0] for part in parts]


def shares(cells: FloatArray, text: FloatArray, known: FloatArray) -> FloatArray:
    """Share of each cell that a text has beside the texts of training, in [0, 1], shape ``(n_cells,)``.

    A known text weighs 1 minus its cosine with the text, so that what says the same does not compete.

    Parameters
    ----------
    cells, text, known
        Of length 1 in the common space, shapes ``(n_cells, k)``, ``(k,)`` and ``(n_known, k)``.

    References
    ----------
    Smith et al., Offline bilingual word vectors, orthogonal transformations and the inverted softmax, ICLR 2017 (a cell
    that is near all texts is found by none of them).
    """
    weight = np.maximum(1 - known @ text, 0)
    parts = []
    for start in range(0, len(cells), CHUNK):
        some = cells[start : start + CHUNK]
        own = np.exp(SHARPNESS * (some @ text))
        parts.append(own / (own + np.exp(SHARPNESS * (some @ known.T)) @ weight))
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.float32)


def nearest(cells: FloatArray, texts: FloatArray, k: int) -> tuple[IntArray, FloatArray]:
    """The texts nearest to each cell and their cosines, best first, shapes ``(n_cells, min(k, n_texts))``."""
    best, scores = [], []
    for start in range(0, len(cells), CHUNK):
        score = cells[start : start + CHUNK] @ texts.T
        best.append(np.argsort(-score, axis=1, kind="stable")[:, :k])
        scores.append(np.take_along_axis(score, best[-1], axis=1))
    return np.concatenate(best), np.concatenate(scores)
