import numpy as np
import pytest

from couplevi.model.celltext.texts import as_texts, nameless, nearest, shares, text_vectors
from couplevi.text import text_encoder, unit


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


def test_shares_by_hand(monkeypatch):
    monkeypatch.setattr("couplevi.model.celltext.texts.CHUNK", 4)
    rng = np.random.default_rng(0)
    cells, known, text = unit(rng.normal(size=(11, 3))), unit(rng.normal(size=(5, 3))), unit(rng.normal(size=(1, 3)))[0]
    for found, z in zip(shares(cells, text, known), cells, strict=True):
        others = sum((1 - t @ text) * np.exp(7 * z @ t) for t in known)
        np.testing.assert_allclose(found, np.exp(7 * z @ text) / (np.exp(7 * z @ text) + others))
    assert shares(cells[:0], text, known).shape == (0,)


def test_a_text_does_not_compete_with_itself():
    cells = unit(np.random.default_rng(0).normal(size=(6, 3)))
    known = np.eye(3)[:2]
    np.testing.assert_allclose(shares(cells, known[0], known), shares(cells, known[0], known[1:]))
    rounded = known[:1] * (1 + 1e-7)  # a cosine above 1 is one of rounding
    assert (shares(cells, known[0], rounded) <= 1).all()


def test_cells_near_all_texts_are_found_by_none():
    texts = np.eye(5, 6)
    hub, own = unit(np.array([[1, 1, 1, 1, 1, 0], [1, 0, 0, 0, 0, 2.3]]))
    cells = np.stack([hub, own])
    assert cells[0] @ texts[0] > cells[1] @ texts[0]
    found = shares(cells, texts[0], texts[1:])
    assert found[1] > 2 * found[0]


def test_nearest_texts_are_those_with_the_highest_cosines(monkeypatch):
    monkeypatch.setattr("couplevi.model.celltext.texts.CHUNK", 4)
    rng = np.random.default_rng(0)
    cells, texts = rng.normal(size=(11, 3)), rng.normal(size=(5, 3))
    best, scores = nearest(cells, texts, 2)
    cosines = cells @ texts.T
    np.testing.assert_array_equal(best, np.argsort(-cosines, axis=1)[:, :2])
    np.testing.assert_allclose(scores, -np.sort(-cosines, axis=1)[:, :2])
    assert nearest(cells, texts, 9)[0].shape == (11, 5)
