import anndata as ad
import mudata as md
import numpy as np
import pandas as pd
import pytest

from couplevi.registry import ColumnField, column_texts, column_values, registered_column
from couplevi.registry._columns import column_fields


@pytest.fixture
def adata():
    obs = pd.DataFrame({"state": ["a", None, "unknown", "b"], "number": [1.0, 2.0, np.nan, 1.0]}, index=list("wxyz"))
    return ad.AnnData(np.ones((4, 2)), obs=obs)


def test_labels_are_texts_and_missing_ones_are_missing(adata):
    assert pd.isna(column_texts(adata, "state")).tolist() == [False, True, True, False]
    assert column_texts(adata, "number").tolist()[:2] == ["1", "2"]


def test_a_field_is_checked_and_other_data_may_lack_it(adata):
    field = ColumnField("state", "state")
    state = field.register_field(adata)
    assert field.transfer_field(state, adata[:, :1]) is state
    assert field.get_summary_stats(state) == {}
    assert field.view_state_registry(state) is None
    with pytest.raises(KeyError, match=r"column 'type' in `adata.obs`, found columns \['state', 'number'\]"):
        ColumnField("group", "type").validate_field(adata)


def test_a_column_is_known_by_its_role():
    registry = {"field_registries": {"state_column": {"data_registry": {"attr_key": "perturbation"}}}}
    assert registered_column(registry, "state") == "perturbation"
    assert registered_column(registry, "group") is None


def test_columns_of_a_mudata_are_its_own_or_those_of_modalities(adata):
    mdata = md.MuData({"rna": adata[:3].copy(), "atac": adata[1:].copy()[:, :0]})
    mdata.obs["donor"] = pd.Series({"w": "d", "x": "unknown", "y": "e", "z": "e"})
    assert column_texts(mdata, "donor")[[0, 2, 3]].tolist() == ["d", "e", "e"]
    assert pd.isna(column_texts(mdata, "donor")[1])
    assert column_values(mdata, "number").reindex(list("wxyz")).tolist()[:2] == [1.0, 2.0]
    ColumnField("labels", "donor").validate_field(mdata)
    with pytest.raises(KeyError, match="nothing"):
        ColumnField("labels", "nothing").validate_field(mdata)


def test_roles_without_a_column_have_no_field():
    assert [field.attr_key for field in column_fields({"labels": "type", "s_score": None})] == ["type"]
