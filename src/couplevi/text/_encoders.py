"""Texts to vectors, by means that the user chooses; none of them is trained here, and nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from scipy import sparse as sp
from sklearn.feature_extraction.text import TfidfVectorizer

from couplevi._arrays import dense
from couplevi._validate import expected

if TYPE_CHECKING:
    from couplevi._types import FloatArray

TFIDF = "tfidf"
MOST_PIECES = 10_000
"""Words, and pieces of words, that count: the most frequent of the corpus."""
PROBES = ("T cell", "A neuron of the cerebellar cortex.", "Large cell that secretes antibodies; CD38, SDC1.")
"""Texts by whose vectors an encoder is recognised."""
TOLERANCE = 1e-3
"""Largest difference of these vectors, of length 1, between two machines that run the same encoder."""


class TextEncoder(Protocol):
    """Makes vectors of length 1, or 0 where it finds nothing, of texts."""

    name: str

    def __call__(self, texts: Sequence[str]) -> FloatArray: ...


def text_encoder(encoder: str | Callable[[list[str]], Any], corpus: Sequence[str]) -> TextEncoder:
    """An encoder by name, folder or function.

    Parameters
    ----------
    encoder
        ``"tfidf"``; the folder of a sentence-transformers model, or the name of one that was downloaded before; or a
        function from a list of texts to an array, a row for each.
    corpus
        Texts that the vocabulary of ``"tfidf"`` is that of.

    Raises
    ------
    TypeError
        If it is none of these.
    ImportError
        If sentence-transformers is not installed.
    FileNotFoundError
        If there is no such model on this machine.
    """
    if callable(encoder):
        if callable(getattr(encoder, "encode", None)):  # a model, which is called with tensors
            remedy = "Name its folder, or pass its method: `text_encoder=model.encode`."
            raise TypeError(expected("a function of texts as `text_encoder`", type(encoder).__name__, remedy))
        return FunctionEncoder(encoder)
    if not isinstance(encoder, str):
        remedy = "For example 'tfidf', or the folder of a sentence-transformers model."
        raise TypeError(expected("a name, a folder or a function as `text_encoder`", repr(encoder), remedy))
    return TfidfEncoder(corpus) if encoder == TFIDF else SentenceEncoder(encoder)


def unit(vectors: FloatArray) -> FloatArray:
    """Rows divided by their length; rows of zeros stay."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(length > 0, length, 1)


class TfidfEncoder:
    """How often words, and pieces of three to five letters, occur in a text, rare ones counting more.

    Knows the words of its corpus alone, and nothing of what they mean.
    """

    name: str = TFIDF
    kinds: ClassVar[tuple[dict[str, Any], ...]] = (
        {"ngram_range": (1, 2)},
        {"analyzer": "char_wb", "ngram_range": (3, 5)},
    )

    def __init__(self, corpus: Sequence[str]) -> None:
        self._parts = [
            TfidfVectorizer(sublinear_tf=True, max_features=MOST_PIECES, **kind).fit([*corpus, *PROBES])
            for kind in self.kinds
        ]

    def __call__(self, texts: Sequence[str]) -> FloatArray:
        vectors = sp.hstack([part.transform(list(texts)) for part in self._parts])
        return unit(dense(vectors).astype(np.float64)).astype(np.float32)


class SentenceEncoder:
    """A sentence-transformers model of this machine."""

    def __init__(self, name: str) -> None:
        try:
            from sentence_transformers import SentenceTransformer
            from transformers.utils import logging
        except ImportError as error:
            remedy = "Install it: `pip install 'couplevi[text]'`, or take `text_encoder='tfidf'`."
            raise ImportError(expected("the package sentence-transformers", "none", remedy)) from error
        self.name = name
        shown = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()
        try:
            self._model = SentenceTransformer(name, local_files_only=True)
        except (OSError, ValueError) as error:
            remedy = (
                "Name a folder with such a model, or one that was downloaded before: nothing is downloaded here. "
                "`text_encoder='tfidf'` needs none."
            )
            raise FileNotFoundError(expected("a sentence-transformers model", repr(name), remedy)) from error
        finally:
            if shown:
                logging.enable_progress_bar()

    def __call__(self, texts: Sequence[str]) -> FloatArray:
        found = self._model.encode(list(texts), convert_to_numpy=True, show_progress_bar=False)
        return unit(np.asarray(found, dtype=np.float64)).astype(np.float32)


class FunctionEncoder:
    """A function of the user."""

    def __init__(self, function: Callable[[list[str]], Any]) -> None:
        self.name = getattr(function, "__qualname__", type(function).__qualname__)
        self._function = function

    def __call__(self, texts: Sequence[str]) -> FloatArray:
        found = np.asarray(self._function(list(texts)), dtype=np.float64)
        if found.ndim != 2 or len(found) != len(texts):
            what = f"an array with a row for each of {len(texts)} texts from `{self.name}`"
            raise ValueError(expected(what, f"shape {found.shape}"))
        if not np.isfinite(found).all():
            raise ValueError(expected(f"finite numbers from `{self.name}`", "NaN or infinity"))
        return unit(found).astype(np.float32)


def check_same(encoder: TextEncoder, name: str, probes: FloatArray) -> None:
    """Raise ValueError unless an encoder makes of the `PROBES` what another one made of them."""
    found = encoder(PROBES)
    if found.shape != probes.shape or np.abs(found - probes).max() > TOLERANCE:
        remedy = f"Pass the one that the model was made with, `text_encoder={name!r}`, or train a model with this one."
        raise ValueError(expected(f"the text encoder {name!r}", f"{encoder.name!r}, whose vectors differ", remedy))
