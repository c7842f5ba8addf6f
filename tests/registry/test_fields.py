import numpy as np
import pytest
import scipy.sparse as sp

import couplevi as cvi
from couplevi.registry import MuDataObspField, ValuesField, registered_keys
from couplevi.registry._fields import link_fields


@pytest.fixture
def field():
    return MuDataObspField("correspondence", "p", ("rna", "ephys"))


def test_field_counts_links_and_keeps_no_matrix(field, paired):
    cvi.pp.link(paired, modalities=("rna", "ephys"), hide=0.5, key_added="p")
    state = field.register_field(paired)
    assert state == {"kind": "correspondence", "modalities": ("rna", "ephys"), "n_links": 20}
    assert field.get_summary_stats(state) == {"n_links_correspondence_rna_ephys": 20}
    assert field.get_data_registry() == {"attr_name": "obsp", "attr_key": "p"}
    assert field.view_state_registry(state) is None


def test_field_validates_the_matrix(field, paired):
    paired.obsp["p"] = sp.csr_matrix(np.full((40, 40), 2.0))
    with pytest.raises(ValueError, match="between 0 and 1"):
        field.validate_field(paired)


def test_other_data_may_lack_the_matrix(field, paired):
    assert field.transfer_field({"n_links": 3}, paired, extend_categories=True)["n_links"] == 0


def described(fields):
    """Kind, key and modalities of fields, as they are registered."""
    return [(f.registry_key, f.attr_key, f._state(0)["kind"], f._state(0)["modalities"]) for f in fields]


def test_a_single_key_stands_for_the_pair_in_the_order_of_the_modalities():
    assert described(link_fields(("rna", "ephys"), "p", "match")) == [
        ("match_rna_ephys", "p", "match", ("rna", "ephys"))
    ]
    assert link_fields(("rna", "ephys"), None, "match") == []


def test_a_mapping_says_rows_and_columns_of_each_pair():
    keys = {("b", "a"): "p", ("a", "c"): "q"}
    assert described(link_fields(("a", "b", "c"), keys, "correspondence")) == [
        ("correspondence_b_a", "p", "correspondence", ("b", "a")),
        ("correspondence_a_c", "q", "correspondence", ("a", "c")),
    ]


@pytest.mark.parametrize(
    ("modalities", "keys", "message"),
    [
        (
            ("a", "b", "c"),
            "p",
            r"`match_key` to map pairs .* there are 3 modalities, found 'p'. For example {\('a', 'b'\)",
        ),
        (("a", "b"), {("a", "c"): "p"}, r"`match_key` to map pairs of \['a', 'b'\] to keys .* found \('a', 'c'\): 'p'"),
        (("a", "b"), {("a", "a"): "p"}, r"found \('a', 'a'\): 'p'"),
        (("a", "b"), {("a", "b"): None}, r"found \('a', 'b'\): None"),
    ],
)
def test_keys_are_of_pairs_that_are_there(modalities, keys, message):
    with pytest.raises(ValueError, match=message):
        link_fields(modalities, keys, "match")


def test_keys_are_read_back_from_the_registry_by_kind_and_as_rows_and_columns():
    def field(kind, a, b, key):
        return {"state_registry": {"kind": kind, "modalities": (a, b)}, "data_registry": {"attr_key": key}}

    fields = {
        "one": field("correspondence", "rna", "ephys", "p"),
        "two": field("match", "morph", "rna", "q"),
        "values": {"state_registry": {"n_vars": 3}, "data_registry": {"attr_key": None}},
    }
    assert registered_keys({"field_registries": fields}, "correspondence") == {("rna", "ephys"): "p"}
    assert registered_keys({"field_registries": fields}, "match") == {("morph", "rna"): "q"}


def test_values_are_known_by_their_names_wherever_they_are(mdata):
    mdata["rna"].obsm["X_pca"] = mdata["rna"].X[:, :2]
    layer, rep = ValuesField("rna", "layers", "log1p", mod_key="rna"), ValuesField("a", "obsm", "X_pca")
    assert layer.register_field(mdata) == {
        "n_obs": 45,
        "n_vars": 30,
        "column_names": [f"rna{j}" for j in range(30)],
    }
    assert rep.register_field(mdata["rna"])["column_names"] == ["X_pca_0", "X_pca_1"]
    few = mdata[:, :][mdata.obs_names[:9]].copy()
    assert layer.transfer_field({}, few)["n_obs"] == few["rna"].n_obs
    with pytest.raises(KeyError, match=r"layers\['raw'\]"):
        ValuesField("rna", "layers", "raw", mod_key="rna").validate_field(mdata)
    assert layer.get_summary_stats({"n_vars": 30}) == {f"n_{layer.registry_key}": 30}
