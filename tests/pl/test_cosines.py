import numpy as np
import pandas as pd
import pytest

from couplevi.pl._cosines import compared, cosines, number, short, wrapped


def test_cosines_by_hand(finding):
    adata, model = finding(2, 3)
    found = compared(adata, model, ["type 01", "type 00"], "type")
    table = cosines(adata, model, found)
    place = adata.obsm["place"]
    unit = place / np.linalg.norm(place, axis=1, keepdims=True)
    mean = unit[3:].mean(axis=0)  # the texts are the first two axes
    np.testing.assert_allclose(table.loc["type 01"], (mean / np.linalg.norm(mean))[[1, 0]], atol=1e-6)
    assert list(table.index) == ["type 00", "type 01"]
    assert list(table.columns) == found.texts == ["type 01", "type 00"]
    assert found.told == "6 cells"


def test_cosines_are_those_of_the_model(named_by_text):
    model, adata = named_by_text
    found = cosines(adata, model, compared(adata, model, None, "type"))
    table = model.retrieve_texts(adata, k=5, groupby="type").pivot(index="group", columns="text", values="score")
    np.testing.assert_allclose(found, table.loc[found.index, found.columns], atol=1e-5)


def test_order_of_categories_and_cells_without_a_label(finding):
    adata, model = finding(3, 2)
    adata.obs["type"] = pd.Categorical(adata.obs["type"], ["type 02", "never", "type 00", "type 01"])
    adata.obs.loc[["cell0", "cell1", "cell2"], "type"] = np.nan
    found = compared(adata, model, "type 00", "type")
    assert list(found.groups.cat.categories) == ["type 02", "type 01"]
    assert found.groups.isna().sum() == 3
    assert found.told == "6 cells, 3 without a label"
    table = cosines(adata, model, found)
    assert list(table.index) == ["type 02", "type 01"]
    unit = adata.obsm["place"][3] / np.linalg.norm(adata.obsm["place"][3])
    np.testing.assert_allclose(table.loc["type 01"], unit[:1], atol=1e-6)  # one cell is left


@pytest.mark.parametrize(
    ("texts", "groupby", "error", "message"),
    [
        (None, "no", KeyError, r"column 'no' in `adata.obs`, found columns .* Do this"),
        (None, "none", ValueError, r"cells with a label in `adata.obs\['none'\]`"),
        (None, "score", ValueError, "labels in column 'score', found numbers that are not whole"),
        ([], "type", ValueError, "at least one of texts"),
        (["type 00", "type 00"], "type", ValueError, "each of texts once"),
    ],
)
def test_bad_input(finding, texts, groupby, error, message):
    adata, model = finding(2, 2)
    adata.obs["none"], adata.obs["score"] = "unknown", 0.5
    with pytest.raises(error, match=message):
        compared(adata, model, texts, groupby, "Do this.")


def test_other_data(finding):
    adata, model = finding(2, 2)
    with pytest.raises(TypeError, match="an AnnData, found pandas"):
        compared(adata.obs, model, None, "type")


def test_numbers():
    assert [number(x) for x in (0.834, -0.126, -0.001, 1.0)] == ["0.83", "−0.13", "0.00", "1.00"]


def test_long_texts_end_with_their_first_sentence_or_after_a_word():
    text = "natural killer cell. A lymphocyte that can spontaneously kill a variety of target cells."
    assert short(text, 200) == text
    assert short(text, 30) == "natural killer cell"
    assert short(text, 16) == "natural killer …"
    assert short("two\n words", 30) == "two words"
    assert wrapped(text, 10, 3) == "natural\nkiller\ncell"
    assert wrapped("one two three four", 7, 2) == "one two\nthree …"
    assert wrapped("one two three", 7, 2) == "one two\nthree"
