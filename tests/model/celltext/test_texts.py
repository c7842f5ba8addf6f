import numpy as np
import pytest

from couplevi.model.celltext.texts import as_texts, nameless, nearest, text_vectors
from couplevi.text import text_encoder


def test_one_text_is_a_list_of_one():
    assert as_texts("a", "x") == ["a"]
    assert as_texts(("a", "b"), "x") == ["a", "b"]


@pytest.mark.parametrize(
    ("texts", "error", "message"),
    [
        ([], ValueError, "at least one text for 'x', found none"),
        ([3], TypeError, "texts for 'x', found 3"),
        (" ", ValueError, "an empty one"),
    ],
)
def test_what_is_no_text_is_refused(texts, error, message):
    with pytest.raises(error, match=message):
        as_texts(texts, "x")


def test_the_name_is_the_first_sentence():
    assert nameless(["T cell. A lymphocyte. Round.", "B cell", "Is it? Yes it is."]) == [
        "A lymphocyte. Round.",
        "B cell",
        "Yes it is.",
    ]


def test_several_texts_of_a_type_are_averaged():
    encoder = text_encoder(lambda texts: [[text.count("a"), text.count("b")] for text in texts], [])
    vectors = text_vectors(encoder, [["a"], ["a", "b"]])
    np.testing.assert_allclose(vectors, [[1, 0], [0.5**0.5, 0.5**0.5]], atol=1e-6)


def test_a_text_in_which_an_encoder_finds_nothing_is_warned_about():
    encoder = text_encoder(lambda texts: [[text.count("a"), text.count("b")] for text in texts], [])
    with pytest.warns(UserWarning, match=r"finds nothing in texts \['zzz'\]"):
        assert not text_vectors(encoder, [["a"], ["zzz"]])[1].any()


def test_nearest_texts_are_those_with_the_highest_cosines(monkeypatch):
    monkeypatch.setattr("couplevi.model.celltext.texts.CHUNK", 4)
    rng = np.random.default_rng(0)
    cells, texts = rng.normal(size=(11, 3)), rng.normal(size=(5, 3))
    best, scores = nearest(cells, texts, 2)
    cosines = cells @ texts.T
    np.testing.assert_array_equal(best, np.argsort(-cosines, axis=1)[:, :2])
    np.testing.assert_allclose(scores, -np.sort(-cosines, axis=1)[:, :2])
    assert nearest(cells, texts, 9)[0].shape == (11, 5)
