import pytest

from couplevi.model import CplMixVAE


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_categories": 1}, "`n_categories` to be a whole number of at least 2"),
        ({"n_arms": 0}, "`n_arms`"),
        ({"n_state": 0}, "`n_state`"),
        ({"coupling": "cosine"}, "`coupling` to be one of"),
        ({"likelihood": "poisson"}, "`likelihood` to be one of"),
        ({"temperature": 0}, "`temperature`"),
        ({"coupling_weight": -1}, "`coupling_weight`"),
        ({"augmentation_rate": 1.0}, "`augmentation_rate`"),
        ({"dropout_rate": "much"}, "`dropout_rate`"),
        ({"n_pcs": 5000}, "`n_pcs` of at most 40"),
    ],
)
def test_settings_out_of_range(adata, settings, message):
    CplMixVAE.setup_anndata(adata)
    with pytest.raises(ValueError, match=message):
        CplMixVAE(adata, **{"n_categories": 3, **settings})


def test_unknown_setting_is_told_the_nearest(adata):
    CplMixVAE.setup_anndata(adata)
    with pytest.raises(TypeError, match="Did you mean `n_state`"):
        CplMixVAE(adata, 3, n_states=2)
