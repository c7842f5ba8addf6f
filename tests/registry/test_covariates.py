from dataclasses import replace

import mudata as md
import numpy as np
import pandas as pd
import pytest

from couplevi.registry import Covariate, CovariateField, Design
from couplevi.registry._covariates import covariate_fields, registered_design

BOTH = ("ephys", "rna")


@pytest.fixture
def described(mdata):
    """Cells with a batch, a number and a category; rna is measured in both batches, ephys in the second alone."""
    ephys = mdata["ephys"].obs_names
    mdata.obs["batch"] = np.where(mdata.obs_names.isin(ephys), 2, 1)
    mdata.obs["dose"] = np.arange(mdata.n_obs, dtype=float)
    mdata["rna"].obs["chip"] = np.where(np.arange(45) % 3, "x", "y")
    mdata["ephys"].obs["chip"] = "x"
    return mdata


def field_of(field, mdata):
    return {"data_registry": {"attr_key": field.attr_key}, "state_registry": field.register_field(mdata)}


def design_of(mdata, *arguments):
    fields = covariate_fields(*arguments, BOTH)
    return registered_design({"field_registries": {f.registry_key: field_of(f, mdata) for f in fields}})


def test_columns_are_indicators_and_standardised_numbers_the_batch_first(described):
    design = design_of(described, "batch", ["chip"], ["dose"])
    assert [c.key for c in design.covariates] == ["batch", "chip", "dose"]
    assert design.batches == ("1", "2")
    rows = design.rows(described, "rna")
    assert rows.dtype == np.float32
    assert rows.shape == (45, 5)
    cells = described["rna"].obs_names
    np.testing.assert_array_equal(rows[:, 1], described.obs.loc[cells, "batch"] == 2)
    np.testing.assert_array_equal(rows[:, :2].sum(axis=1), 1)
    np.testing.assert_array_equal(rows[:, 2], described["rna"].obs["chip"] == "x")
    dose = [described.obs.loc[described[m].obs_names, "dose"] for m in BOTH]
    pooled = np.concatenate(dose)
    np.testing.assert_allclose(rows[:, 4], (dose[1] - pooled.mean()) / pooled.std(), rtol=1e-5)


def test_batches_in_which_a_modality_was_measured(described):
    design = design_of(described, "batch", None, None)
    assert design.batches_of("ephys") == [1]
    assert design.batches_of("rna") == [0, 1]
    assert design.batch_columns(None, "ephys") == [1]
    assert design.batch_columns("1", "ephys") == [0]
    assert design.batch_columns(["2", "1"], "rna") == [1, 0]
    for names in ("3", ["1", "3"], []):
        with pytest.raises(ValueError, match="`transform_batch` to name one or more of the model's batches, .*1"):
            design.batch_columns(names, "rna")


def test_a_modality_by_itself_has_the_columns_in_its_own_obs(described):
    design = design_of(described, "batch", None, ["dose"])
    alone = described["rna"].copy()
    with pytest.raises(KeyError, match=r"column 'batch' in `adata.obs`, found columns \[.*'chip'.*\]. It says how"):
        design.rows(alone, "rna")
    alone.obs = alone.obs.assign(**{k: described.obs.loc[alone.obs_names, k] for k in ("batch", "dose")})
    np.testing.assert_array_equal(design.rows(alone, "rna"), design.rows(described, "rna"))


def test_without_covariates_there_are_no_columns(described):
    assert Design().rows(described, "rna").shape == (45, 0)
    assert Design().batch_columns(None, "rna") == []
    with pytest.raises(ValueError, match="found 'a'. Set the data up with `batch_key`"):
        Design().batch_columns("a", "rna")


@pytest.mark.parametrize("values", [[1.0, 2.0], [1, 2], ["1", "2"], pd.Categorical([1, 2]), [np.str_("1"), 2]])
def test_categories_are_known_by_their_text_whatever_their_type(values):
    covariate = Covariate("batch", "batch", ("1", "2"))
    np.testing.assert_array_equal(covariate.columns(pd.Series(values)), np.eye(2))


@pytest.mark.parametrize(
    ("kind", "values", "error", "message"),
    [
        ("batch", ["1", None], ValueError, "a value for each cell in column 'key', found 1 missing. Give these cells"),
        (
            "batch",
            ["1", "9"],
            ValueError,
            "'key' that the model was trained on, .*found also .*9.* in 1 cells. Train with cells of each",
        ),
        ("continuous", [1.0, np.nan], ValueError, "a value for each cell in column 'key', found 1 missing"),
        ("continuous", ["a", "b"], TypeError, "numbers in column 'key', found dtype .*categorical_covariate_keys"),
        ("continuous", [True, False], TypeError, "numbers in column 'key', found dtype bool"),
    ],
)
def test_values_that_say_nothing_are_refused(kind, values, error, message):
    categories = () if kind == "continuous" else ("1", "2")
    with pytest.raises(error, match=message):
        Covariate(kind, "key", categories).columns(pd.Series(values))


@pytest.mark.parametrize("dose", [3.0, 0.1])  # of which the mean is 3, and not quite 0.1
def test_a_constant_number_is_no_reason_to_divide_by_zero(described, dose):
    described.obs["dose"] = dose
    design = design_of(described, None, None, ["dose"])
    np.testing.assert_allclose(design.rows(described, "rna"), 0, atol=1e-6)
    described.obs["dose"] = dose + 1
    np.testing.assert_allclose(design.rows(described, "rna"), 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((None, "batch", None), TypeError, r"`categorical_covariate_keys` to be a list of columns, found 'batch'. For"),
        ((None, None, 3), TypeError, "`continuous_covariate_keys` to be a list"),
        (("batch", ["batch"], None), ValueError, r"each covariate once, found columns \['batch', 'batch'\]"),
    ],
)
def test_lists_of_columns(arguments, error, message):
    with pytest.raises(error, match=message):
        covariate_fields(*arguments, BOTH)


def test_a_field_is_checked_when_it_is_registered(described):
    field = CovariateField("batch", "batch", BOTH)
    state = field.register_field(described)
    assert state == {"covariate": "batch", "categories": ["1", "2"], "measured": {"ephys": ["2"], "rna": ["1", "2"]}}
    assert field.get_summary_stats(state) == {"n_batch_covariate_batch": 2}
    assert field.transfer_field(state, md.MuData({"rna": described["rna"]})) is state
    with pytest.raises(KeyError, match="column 'nothing' in the `obs` of a modality"):
        CovariateField("batch", "nothing", BOTH).validate_field(described)


def test_categories_of_other_data_come_behind_those_that_are_known(described):
    field = CovariateField("batch", "batch", ["rna"])
    state = CovariateField("batch", "batch", BOTH).register_field(described)
    other = md.MuData({"rna": described["rna"].copy()})
    other.obs["batch"] = [*["0"] * (other.n_obs - 1), "2"]
    extended = field.transfer_field(state, other, extend_categories=True)
    assert (extended["categories"], extended["added"]) == (["1", "2", "0"], ["0"])
    assert extended["measured"] == {"ephys": ["2"], "rna": ["0", "1", "2"]}
    assert state["categories"] == ["1", "2"]
    again = field.transfer_field(extended, other, extend_categories=True)
    assert (again["categories"], again["added"], again["mapped"]) == (["1", "2", "0"], [], ["0"])


def test_added_categories_are_the_mean_of_those_measured():
    batch = Covariate("batch", "b", ("x", "y", "z", "new"), ("new",), {"rna": ("x", "y"), "ephys": ()})
    design = Design((batch, Covariate("continuous", "dose")))
    assert design.added.tolist() == [False, False, False, True, False]
    expected = np.zeros((5, 4))
    expected[:3, :3], expected[4, 3], expected[3, :2] = np.eye(3), 1, 0.5
    np.testing.assert_array_equal(design.from_reference("rna"), expected)
    expected[3] = 0
    np.testing.assert_array_equal(design.from_reference("ephys"), expected)
    assert Design().from_reference("rna").shape == (0, 0)
    assert [design.is_paired(b, "rna", "rna") for b in range(4)] == [True, True, False, False]
    later = Design((replace(batch, mapped=("y",)),))
    assert later.trained_batches == ("x", "z")
    assert [later.is_paired(b, "rna", "rna") for b in range(4)] == [True, False, False, False]


def test_the_cells_know_better_than_a_modality(described):
    described["rna"].obs["batch"] = "another"
    design = design_of(described, "batch", None, None)
    assert design.batches == ("1", "2")
    own = described["rna"].obs.pop("batch")
    np.testing.assert_array_equal(own, "another")


def test_missing_numbers_are_counted():
    with pytest.raises(ValueError, match="found 2 missing"):
        Covariate("continuous", "key").columns(pd.Series([np.nan, 1.0, np.inf]))
