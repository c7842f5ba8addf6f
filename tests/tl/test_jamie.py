import mudata
import numpy as np
import pytest
import torch

import couplevi as cvi

BOTH = ("rna", "ephys")


def test_slots_hold_what_the_model_gives(fitted):
    model, mdata = fitted
    for m in BOTH:
        np.testing.assert_array_equal(mdata[m].obsm["X_jamie"], model.get_latent_representation(modality=m))
    np.testing.assert_array_equal(mdata.obsm["X_jamie"], model.get_latent_representation(part="joint"))
    np.testing.assert_array_equal(mdata.obsm["X_jamie_shared"], model.get_latent_representation())
    summary = mdata.uns["jamie"]
    assert summary["modalities"] == ["rna", "ephys"]
    assert summary["var_names"]["ephys"] == list(mdata["ephys"].var_names)
    assert summary["settings"]["n_latent"] == 32
    assert len(summary["losses"]["train_loss"]) == 3
    assert set(summary["versions"]) == {"couplevi", "scvi-tools", "torch"}


def test_key_added_names_all_slots(mdata, quick):
    cvi.tl.jamie(mdata, modalities=BOTH, key_added="mine", train_kwargs=quick)
    assert "X_mine" in mdata.obsm
    assert "X_mine" in mdata["rna"].obsm
    assert "mine" in mdata.uns
    assert "jamie" not in mdata.uns


def test_everything_survives_the_file(fitted, tmp_path):
    model, mdata = fitted
    mdata = mdata.copy()
    cvi.tl.impute(mdata, model, source="rna", target="ephys")
    cvi.tl.umap(mdata)
    cvi.pp.link(mdata, modalities=BOTH)
    mdata.write(tmp_path / "x.h5mu")
    again = mudata.read_h5mu(tmp_path / "x.h5mu")
    for here, there in ((mdata, again), *((mdata[m], again[m]) for m in BOTH)):
        for slot in here.obsm:
            np.testing.assert_array_equal(np.asarray(here.obsm[slot]), np.asarray(there.obsm[slot]))
    np.testing.assert_array_equal(again["ephys"].layers["jamie_from_rna"], mdata["ephys"].layers["jamie_from_rna"])
    assert list(again.uns["jamie"]["var_names"]["ephys"]) == mdata.uns["jamie"]["var_names"]["ephys"]
    assert again.uns["jamie"]["settings"]["n_pcs"] == 50
    frame = cvi.tl.evaluate(again, model, labels="cell_type")
    assert "foscttm" in set(frame["metric"])


def test_presets_with_lists_and_mappings_can_be_written(mdata, quick, tmp_path):
    cvi.tl.jamie(mdata, modalities=BOTH, preset="paper", n_pcs={"rna": 5, "ephys": None}, train_kwargs=quick)
    mdata.write(tmp_path / "x.h5mu")
    assert mudata.read_h5mu(tmp_path / "x.h5mu").uns["jamie"]["preset"] == "paper"


def test_seed_leaves_the_random_state_alone(mdata, quick):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    cvi.tl.jamie(mdata, modalities=BOTH, seed=0, train_kwargs=quick)
    assert torch.rand(3).equal(expected)


def test_without_seed_the_random_state_decides(mdata, quick):
    def run():
        torch.manual_seed(7)
        return cvi.tl.jamie(mdata.copy(), modalities=BOTH, train_kwargs=quick).get_latent_representation()

    np.testing.assert_array_equal(run(), run())


def test_failure_leaves_the_data_as_they_were(mdata, quick):
    with pytest.raises(ValueError, match="n_latent"):
        cvi.tl.jamie(mdata, modalities=BOTH, n_latent=0, train_kwargs=quick)
    assert "X_jamie" not in mdata.obsm
    assert "jamie" not in mdata.uns
    with pytest.raises(TypeError, match="a MuData"):
        cvi.tl.jamie(mdata["rna"], modalities=BOTH)


def test_three_modalities(three_modalities, quick):
    mdata = three_modalities.copy()
    cvi.tl.jamie(mdata, modalities=("rna", "ephys", "morph"), train_kwargs=quick)
    assert all("X_jamie" in mdata[m].obsm for m in mdata.mod)
    cvi.tl.umap(mdata)
    axes = cvi.pl.latent(mdata, show=False)
    assert [ax.get_title() for ax in axes] == ["rna", "ephys", "morph", "all"]


def half_linked():
    mdata = cvi.data.branching_manifold(n_obs=80, n_features={"rna": 30, "ephys": 8}, seed=1)
    cvi.pp.link(mdata, modalities=BOTH, hide=0.5, seed=0)
    return mdata


def test_links_that_nobody_gave_are_inferred_and_named(quick):
    mdata = half_linked()
    model = cvi.tl.jamie(mdata, modalities=BOTH, correspondence_key="correspondence", seed=0, train_kwargs=quick)
    assert mdata.uns["jamie"]["inferred"] == ["jamie_match"]
    assert mdata.uns["jamie_match"]["method"] == "anchored"
    assert mdata.uns["jamie_match"]["n_known"] == 40
    assert model.history["alignment_train"]["alignment_train"].min() > 0
    again = half_linked()
    cvi.tl.match(again, modalities=BOTH[::-1], known="correspondence", method="anchored")
    assert abs(again.obsp["match"] - mdata.obsp["jamie_match"]).max() == 0


@pytest.mark.parametrize("arguments", [{"match": None}, {"match_key": "given"}, {"batch_key": "half"}])
def test_nothing_is_inferred_that_is_not_wanted(quick, arguments):
    mdata = half_linked()
    mdata.obs["half"] = np.where(np.arange(80) % 2, "a", "b")
    cvi.pp.link(mdata, modalities=BOTH, key_added="given")
    cvi.tl.jamie(mdata, modalities=BOTH, correspondence_key="correspondence", train_kwargs=quick, **arguments)
    assert mdata.uns["jamie"]["inferred"] == []
    assert "jamie_match" not in mdata.obsp


def test_nothing_is_inferred_where_most_or_nothing_is_known(quick, paired, monkeypatch):
    cvi.tl.jamie(paired, modalities=BOTH, train_kwargs=quick)
    assert "jamie_match" not in paired.obsp
    monkeypatch.setattr("couplevi.tl._jamie.FEW_KNOWN", 10)
    most = half_linked()
    cvi.tl.jamie(most, modalities=BOTH, correspondence_key="correspondence", train_kwargs=quick)
    assert "jamie_match" not in most.obsp
    hidden = half_linked()
    cvi.pp.link(hidden, modalities=BOTH, hide=0.95, seed=0)
    cvi.tl.jamie(hidden, modalities=BOTH, correspondence_key="correspondence", train_kwargs=quick)
    assert "jamie_match" not in hidden.obsp  # four links are too few


def test_inferred_links_are_as_before_if_the_training_fails(quick):
    mdata = half_linked()
    arguments = {"modalities": BOTH, "correspondence_key": "correspondence"}
    with pytest.raises(ValueError, match="n_latent"):
        cvi.tl.jamie(mdata, **arguments, n_latent=0, train_kwargs=quick)
    assert "jamie_match" not in mdata.obsp
    assert "jamie_match" not in mdata.uns
    cvi.tl.jamie(mdata, **arguments, train_kwargs=quick)
    before = mdata.obsp["jamie_match"].copy()
    with pytest.raises(ValueError, match="n_latent"):
        cvi.tl.jamie(mdata, **arguments, layers={"rna": "log1p"}, n_latent=0, train_kwargs=quick)
    assert abs(mdata.obsp["jamie_match"] - before).max() == 0


def test_each_pair_of_modalities_is_matched_by_itself(quick):
    two = cvi.data.branching_manifold(n_obs=60, n_features={"rna": 30, "ephys": 8}, paired=0.3, seed=2)
    morph = two["ephys"][::2].copy()
    morph.var_names = [f"morph{j}" for j in range(morph.n_vars)]
    mdata = mudata.MuData({"rna": two["rna"], "ephys": two["ephys"], "morph": morph})
    cvi.tl.jamie(mdata, modalities=("rna", "ephys", "morph"), seed=0, train_kwargs=quick)
    assert set(mdata.uns["jamie"]["inferred"]) == {key for key in mdata.obsp if key.startswith("jamie_match_")}
    assert "jamie_match_ephys_rna" in mdata.obsp


def test_matching_is_automatic_or_not(mdata, quick):
    with pytest.raises(ValueError, match="`match` to be one of"):
        cvi.tl.jamie(mdata, modalities=BOTH, match="magic", train_kwargs=quick)
