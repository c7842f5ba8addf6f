"""Texts of types, and their vectors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from couplevi._validate import expected
from couplevi.text import unit

if TYPE_CHECKING:
    from couplevi._types import FloatArray
    from couplevi.text import TextEncoder

SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


def as_texts(texts: str | Sequence[str], name: str) -> list[str]:
    """One or more texts as a list; raise ValueError without any, or for an empty one, TypeError for what is no text."""
    found = [texts] if isinstance(texts, str) else list(texts)
    if not found:
        raise ValueError(expected(f"at least one text for {name!r}", "none"))
    for text in found:
        if not isinstance(text, str):
            raise TypeError(expected(f"texts for {name!r}", repr(text)))
        if not text.strip():
            raise ValueError(expected(f"texts for {name!r}", "an empty one"))
    return [str(text) for text in found]


def text_vectors(encoder: TextEncoder, texts: Sequence[Sequence[str]]) -> FloatArray:
    """Vector of length 1 of each text, or of several that are averaged, shape ``(n, size)``, float32."""
    different = sorted({text for group in texts for text in group})
    vector = dict(zip(different, encoder(different), strict=True))
    means = np.stack([np.mean([vector[text] for text in group], axis=0, dtype=np.float64) for group in texts])
    return unit(means).astype(np.float32)


def nameless(texts: Sequence[str]) -> list[str]:
    """Texts without their first sentence, which names what they describe, where they have another one."""
    parts = [SENTENCE_END.split(text.strip(), maxsplit=1) for text in texts]
    return [part[1] if len(part) > 1 else part[0] for part in parts]
