import numpy as np
import pytest
import scipy.sparse as sp

import couplevi as cvi
from couplevi.registry import MuDataObspField


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
