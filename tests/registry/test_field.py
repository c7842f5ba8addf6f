import pytest

from couplevi.registry import ColumnField, CovariateField, MuDataObspField, ValuesField


@pytest.mark.parametrize(
    ("field", "registry_key", "attr_name", "attr_key"),
    [
        (ValuesField("rna", "layers", "log1p", mod_key="rna"), "X_rna", "layers", "log1p"),
        (ValuesField("rna", "X", None), "X_rna", "X", None),
        (MuDataObspField("match", "m", ("rna", "atac")), "match_rna_atac", "obsp", "m"),
        (CovariateField("batch", "donor", ["rna"]), "batch_covariate_donor", "obs", "donor"),
        (ColumnField("state", "guide"), "state_column", "obs", "guide"),
    ],
)
def test_fields_say_where_they_are(field, registry_key, attr_name, attr_key):
    assert (field.registry_key, field.attr_name, field.attr_key) == (registry_key, attr_name, attr_key)
    assert field.is_empty is False
    assert field.view_state_registry({}) is None
