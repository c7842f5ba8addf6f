import pandas as pd
import pytest

import couplevi as cvi

TERMS = pd.DataFrame(
    [
        ["lymphocyte", "A small leukocyte.", "", ""],
        ["T cell", "A lymphocyte matured in the thymus.", "T lymphocyte|T-cell", "CL:1|CL:9"],
        ["CD4-positive T cell", "A T cell that expresses CD4.", "", "CL:2"],
    ],
    index=["CL:1", "CL:2", "CL:3"],
    columns=["label", "definition", "synonyms", "parents"],
)


@pytest.mark.parametrize("label", ["T cell", "T cells", "t-Cells", "T lymphocytes", "CL:2"])
def test_spellings_of_a_term(label):
    texts = ["T cell. A lymphocyte matured in the thymus.", "T cell, a kind of lymphocyte."]
    assert cvi.pp.describe_labels([label], TERMS) == {label: texts}


def test_terms_that_are_named():
    found = cvi.pp.describe_labels(["naive 4", "root"], TERMS, terms={"naive 4": "CL:3", "root": "lymphocyte"})
    assert found == {
        "naive 4": ["CD4-positive T cell. A T cell that expresses CD4.", "CD4-positive T cell, a kind of T cell."],
        "root": ["lymphocyte. A small leukocyte."],  # has no parents
    }


def test_labels_without_a_term_are_named_with_the_nearest_one():
    with pytest.warns(UserWarning, match=r"lymphocytic \(lymphocyte\?\)"):
        assert cvi.pp.describe_labels(["lymphocytic"], TERMS) == {"lymphocytic": ["lymphocytic"]}


def test_what_the_ontology_lacks_is_refused():
    with pytest.raises(KeyError, match="none of .*'parents'"):
        cvi.pp.describe_labels(["T cell"], TERMS[["label", "definition", "synonyms"]])
    with pytest.raises(KeyError, match="a term of the ontology for 'x', found 'CL:77'"):
        cvi.pp.describe_labels(["x"], TERMS, terms={"x": "CL:77"})


def test_letters_of_other_alphabets_count():
    with pytest.warns(UserWarning, match="without a term"):
        assert cvi.pp.describe_labels(["γδ T cell"], TERMS) == {"γδ T cell": ["γδ T cell"]}
