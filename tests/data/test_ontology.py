import pytest

import couplevi as cvi

OBO = """format-version: 1.2
ontology: cl

[Term]
id: CL:0000542
name: lymphocyte
def: "A lymphocyte is a leukocyte, \\"small\\" and round." [GOC:add, ISBN:0781735149]

[Term]
id: CL:0000084
name: T cell
def: "A lymphocyte matured in the thymus." [GOC:tfm]
synonym: "T lymphocyte" EXACT []
synonym: "T-cell" EXACT [MESH:A]
is_a: CL:0000542 {is_inferred="true"} ! lymphocyte

[Term]
id: CL:0000001
name: obsolete cell line
is_obsolete: true

[Typedef]
id: part_of
name: part of
"""


@pytest.fixture
def obo(tmp_path):
    path = tmp_path / "cl.obo"
    path.write_text(OBO)
    return path


def test_terms_of_an_obo_file(obo):
    terms = cvi.data.read_ontology(obo)
    assert list(terms.index) == ["CL:0000542", "CL:0000084"]  # neither the obsolete term nor the relation
    assert terms.loc["CL:0000542", "definition"] == 'A lymphocyte is a leukocyte, "small" and round.'
    assert terms.loc["CL:0000084"].tolist() == [
        "T cell",
        "A lymphocyte matured in the thymus.",
        "T lymphocyte|T-cell",
        "CL:0000542",
    ]
    assert terms.loc["CL:0000542", ["synonyms", "parents"]].tolist() == ["", ""]


def test_a_table_is_read_as_the_same(obo, tmp_path):
    terms = cvi.data.read_ontology(obo)
    terms.to_csv(tmp_path / "terms.tsv.gz", sep="\t")
    read = cvi.data.read_ontology(tmp_path / "terms.tsv.gz")
    assert read.equals(terms)


def test_what_is_no_ontology_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing at"):
        cvi.data.read_ontology(tmp_path / "cl.obo")
    (tmp_path / "cl.obo").write_text("format-version: 1.2\n")
    with pytest.raises(ValueError, match="Expected terms in 'cl.obo', found none"):
        cvi.data.read_ontology(tmp_path / "cl.obo")
    (tmp_path / "a.tsv").write_text("id\tlabel\nCL:1\tT cell\n")
    with pytest.raises(ValueError, match=r"none of \['definition', 'parents', 'synonyms'\]"):
        cvi.data.read_ontology(tmp_path / "a.tsv")
