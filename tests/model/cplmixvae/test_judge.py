import warnings

import mudata as md
from small import QUICK, planted

import couplevi as cvi


def test_unlinked_modalities_of_one_arm_have_no_consensus():
    a, b = planted(80), planted(80, n_features=12)
    b.obs_names, b.var_names = [f"other{i}" for i in range(80)], [f"b{j}" for j in range(12)]
    mdata = md.MuData({"a": a, "b": b})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="No profile of")
        model = cvi.tl.cplmixvae(mdata, n_categories=3, modalities=("a", "b"), n_arms=1, train_kwargs=QUICK)
    assert model.pruning_history["consensus"].isna().all()
    assert "consensus" not in mdata.uns["cplmixvae"]
