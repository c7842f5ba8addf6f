"""Labels of any type, some of which are missing."""

import mudata as md
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from couplevi._labels import column_of, holders, label_codes, label_texts, labels_of

FORMS = {
    "integers": ([2, 10, 2], ["2", "10", "2"]),
    "integers beside None": ([2, None, 10], ["2", None, "10"]),
    "floats beside NaN": (np.array([2, np.nan, 10]), ["2", None, "10"]),
    "fractions": (np.float32([0.5, np.nan, 2]), ["0.5", None, "2"]),
    "nullable integers": (pd.array([2, None, 10], dtype="Int64"), ["2", None, "10"]),
    "nullable floats": (pd.array([2, None, 0.5], dtype="Float64"), ["2", None, "0.5"]),
    "nullable booleans": (pd.array([True, None, False], dtype="boolean"), ["True", None, "False"]),
    "booleans": (np.array([True, False]), ["True", "False"]),
    "nullable text": (pd.array(["b", None, "a"], dtype="string"), ["b", None, "a"]),
    "text": (np.array(["b", "a"]), ["b", "a"]),
    "spellings": (["b", "nan", "None", "", "unknown", "Unknown", "<NA>", "Mis"], ["b"] + [None] * 7),
    "text beside NaN": (["b", np.nan, "a"], ["b", None, "a"]),
    "text beside NA": (["b", pd.NA, "a"], ["b", None, "a"]),
    "categories": (pd.Categorical(["b", None, "a"], categories=["b", "a", "z"]), ["b", None, "a"]),
    "categories of integers": (pd.Categorical([2, None, 10]), ["2", None, "10"]),
    "categories of floats": (pd.Categorical([2.0, None, 10.0]), ["2", None, "10"]),
    "mixed": (["b", 1, 1.0, None, np.nan, pd.NA, pd.NaT], ["b", "1", "1", None, None, None, None]),
    "all missing": ([None, None], [None, None]),
    "none": ([], []),
}
every = pytest.mark.parametrize(("values", "expected"), FORMS.values(), ids=list(FORMS))


@every
def test_missing_labels_are_nan_and_others_text(values, expected):
    found = label_texts(values)
    assert found.dtype == object
    assert [None if pd.isna(text) else text for text in found] == expected
    assert all(type(text) is str for text in found if not pd.isna(text))


@every
def test_a_column_of_any_type_is_read_alike(values, expected):
    names = [f"cell{i}" for i in range(max(len(values), 1))]
    if not len(values):
        values, expected = [None], [None]
    modality = AnnData(np.zeros((len(names), 2)), obs=pd.DataFrame(index=names))
    mdata = md.MuData({"rna": modality})
    mdata.obs["cluster"] = pd.Series(values, index=names)
    order = pd.Index(names[::-1])
    found = labels_of(mdata, "cluster", order)
    assert found.index.equals(order)
    assert [None if pd.isna(text) else text for text in found] == expected[::-1]


def test_spellings_of_a_missing_label_are_labels_where_that_is_asked():
    assert label_texts(["unknown", None], missing=frozenset()).tolist()[0] == "unknown"


def test_codes_of_all_sides_follow_one_order():
    (a, b), names = label_codes([10, 2, None], pd.Categorical(["2", "unknown", "7"]))
    assert names == ["10", "2", "7"]  # text among the numbers: in alphabetical order
    assert a.tolist() == [0, 1, -1]
    assert b.tolist() == [1, -1, 2]
    assert label_codes([10, 2.0, 7])[1] == ["2", "7", "10"]
    assert label_codes(["b", "a"])[1] == ["a", "b"]
    assert label_codes([None])[1] == []


def test_a_matrix_of_labels_and_a_column_that_is_not_there_are_refused():
    with pytest.raises(ValueError, match=r"one label per cell, found an array of shape \(2, 1\)"):
        label_texts(np.zeros((2, 1)))
    mdata = md.MuData({"rna": AnnData(np.zeros((2, 2)))})
    with pytest.raises(KeyError, match="mdata.obs\\['nope'\\].*Name the column of labels"):
        labels_of(mdata, "nope", mdata.obs_names)


@pytest.fixture
def of_modalities():
    """Cells c0 and c1 in a, c1 and c2 in b; what is known of them is in the modalities."""
    a = AnnData(np.zeros((2, 1)), obs=pd.DataFrame({"n": [4, 5]}, index=["c0", "c1"]))
    b = AnnData(np.zeros((2, 1)), obs=pd.DataFrame({"empty": [None, None]}, index=["c1", "c2"]))
    a.obs["kind"] = pd.Categorical(["T", None], categories=["T", "B"])
    b.obs["kind"] = pd.Categorical(["B", "N"], categories=["N", "B"])
    a.var_names, b.var_names = ["x"], ["y"]
    return md.MuData({"a": a, "b": b})


def test_a_column_of_the_modalities_stands_in_for_one_of_all_cells(of_modalities):
    mdata = of_modalities
    kind = column_of(mdata, "kind")[["c0", "c1", "c2"]]
    assert kind.tolist() == ["T", "B", "N"]
    assert kind.cat.categories.tolist() == ["T", "B", "N"]
    assert column_of(mdata, "b:kind")[["c0", "c1", "c2"]].tolist()[1:] == ["B", "N"]
    assert labels_of(mdata, "n", pd.Index(["c2", "c1", "c0"])).tolist()[1:] == ["5", "4"]
    assert labels_of(mdata, "n", pd.Index(["c2"])).isna().all()
    assert column_of(mdata, "empty").isna().all()
    assert [name for _, name in holders(mdata, "kind")] == ["kind", "kind"]


def test_where_two_modalities_know_a_label_the_first_counts(of_modalities):
    mdata = of_modalities
    mdata["a"].obs["kind"] = ["T", "T"]
    assert labels_of(mdata, "kind", pd.Index(["c0", "c1", "c2"])).tolist() == ["T", "T", "N"]
    mdata.obs["kind"] = "of all"
    assert set(labels_of(mdata, "kind", mdata.obs_names)) == {"of all"}
    assert [holder for holder, _ in holders(mdata, "kind")] == [mdata]


def test_columns_that_are_there_are_listed(of_modalities):
    with pytest.raises(
        KeyError, match=r"'no' in the `obs` of a modality, found columns \[\].*'b': \['empty', 'kind'\]"
    ):
        labels_of(of_modalities, "no", of_modalities.obs_names)
