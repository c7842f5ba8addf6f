import mudata as md
import numpy as np
import pytest
import scipy.sparse as sp

import couplevi as cvi

ARGUMENTS = {"modalities": ("rna", "ephys"), "layers": {"rna": "log1p"}}
ROUGH = {"n_starts": 1, "max_iter": 20, "n_refinements": 1}
"""Settings of ``"gw"`` for tests that do not look at how good matches are."""


@pytest.fixture
def separate():
    """Two experiments on different cells of the same kind."""
    mdata = cvi.data.branching_manifold(n_obs=160, n_features={"rna": 30, "ephys": 8}, seed=1)
    second = mdata["ephys"].copy()
    second.obs_names = [f"other{i}" for i in range(second.n_obs)]
    second = second[40:].copy()
    return md.MuData({"rna": mdata["rna"].copy(), "ephys": second})


def share_within(mdata, labels):
    f = sp.coo_array(mdata.obsp["match"])
    return f.data[(labels[f.coords[0]] == labels[f.coords[1]])].sum() / f.data.sum()


def test_known_links_teach_where_the_others_belong():
    mdata = cvi.data.branching_manifold(n_obs=300, seed=0)
    cvi.pp.link(mdata, modalities=("rna", "ephys"), hide=0.8, seed=0)
    cvi.tl.match(mdata, **ARGUMENTS, known="correspondence")
    f, known = mdata.obsp["match"], mdata.obsp["correspondence"]
    assert mdata.uns["match"]["method"] == "anchored"
    assert mdata.uns["match"]["n_known"] == known.nnz == 60
    hidden = known.diagonal() == 0
    assert abs(f[~hidden] - known[~hidden]).max() == 0
    truth = mdata.obsm["latent_true"]
    matched = (f @ truth)[hidden] / np.asarray(f.sum(axis=1))[hidden]
    assert cvi.metrics.foscttm(matched, truth[hidden]) < 0.1


def test_without_links_auto_uses_the_shapes_alone(separate):
    cvi.tl.match(separate, **ARGUMENTS, n_starts=2, max_iter=20, n_refinements=1)
    summary = separate.uns["match"]
    assert summary["method"] == "gw"
    assert summary["n_known"] == 0
    assert len(summary["restarts"]) > 1
    f = sp.coo_array(separate.obsp["match"])
    names = separate.obs_names
    assert set(names[f.coords[0]]) <= set(separate["rna"].obs_names)
    assert set(names[f.coords[1]]) <= set(separate["ephys"].obs_names)
    assert f.sum(axis=1).max() <= 1 + 1e-5


def test_pairs_by_name_come_out_as_they_are(paired):
    cvi.tl.match(paired, **ARGUMENTS, known="by_name")
    assert abs(paired.obsp["match"] - sp.eye_array(paired.n_obs)).max() == 0


@pytest.mark.parametrize("place", ["obs of the MuData", "obs of the modalities"])
def test_groups_are_read_and_kept_apart(separate, place):
    label = np.where(np.arange(separate.n_obs) % 2, "odd", "even")
    labels = dict(zip(separate.obs_names, label, strict=True))
    if place == "obs of the MuData":
        separate.obs["half"] = label
    else:
        for m in separate.mod.values():
            m.obs["half"] = [labels[name] for name in m.obs_names]
        separate.obs = separate.obs.drop(columns=[c for c in separate.obs if "half" in c])
    cvi.tl.match(separate, **ARGUMENTS, group_key="half", **ROUGH)
    assert share_within(separate, label) == 1


def test_a_matrix_of_equal_norms_is_taken_for_an_embedding():
    rng = np.random.default_rng(0)
    mdata = cvi.data.branching_manifold(n_obs=80, n_features={"rna": 6, "ephys": 8}, seed=1)
    values = rng.normal(size=(80, 6)) * [9, 5, 1, 1, 0.1, 0.1]
    mdata["rna"].obsm["X_pca"] = (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)
    mdata["rna"].X = mdata["rna"].obsm["X_pca"]
    cvi.tl.match(mdata, modalities=("rna", "ephys"), **ROUGH)
    by_x = mdata.obsp["match"].copy()
    cvi.tl.match(mdata, modalities=("rna", "ephys"), use_rep={"rna": "X_pca"}, **ROUGH)
    assert abs(by_x - mdata.obsp["match"]).max() < 1e-4


def test_matches_survive_a_file(separate, tmp_path):
    cvi.tl.match(separate, **ARGUMENTS, effective_matches=3.0, **ROUGH)
    separate.write(tmp_path / "m.h5mu")
    loaded = md.read_h5mu(tmp_path / "m.h5mu")
    assert abs(loaded.obsp["match"] - separate.obsp["match"]).max() == 0
    assert list(loaded.uns["match"]["modalities"]) == ["rna", "ephys"]
    assert loaded.uns["match"]["effective_matches"] == pytest.approx(3.0, abs=0.01)


def test_the_model_brings_matched_profiles_together(separate, quick):
    cvi.tl.match(separate, **ARGUMENTS, n_entries=30, **ROUGH)
    long = {**quick, "max_epochs": 60}
    distance = {}
    for weight in (0.0, 10.0):
        model = cvi.tl.jamie(
            separate, **ARGUMENTS, match_key="match", alignment_weight=weight, seed=0, train_kwargs=long, n_pcs=None
        )
        a, b = (model.get_latent_representation(modality=m) for m in ("rna", "ephys"))
        f = sp.csr_array(separate.obsp["match"])
        rows, columns = (separate.obs_names.get_indexer(separate[m].obs_names) for m in ("rna", "ephys"))
        f = f[rows][:, columns]
        barycentre = f @ b / f.sum(axis=1)[:, None]
        distance[weight] = np.square(a - barycentre).sum(axis=1).mean() / (a.var(axis=0).sum() + b.var(axis=0).sum())
    assert distance[10.0] < 0.5 * distance[0.0]


def test_match_weight_moves_the_aggregated_latents_of_cells(separate, quick):
    cvi.tl.match(separate, **ARGUMENTS, n_entries=30, **ROUGH)
    latents = {}
    for weight in (0.0, 1.0):
        model = cvi.tl.jamie(separate, **ARGUMENTS, match_key="match", match_weight=weight, seed=0, train_kwargs=quick)
        own = model.get_latent_representation(modality="rna")
        rows = separate.obs_names.get_indexer(separate["rna"].obs_names)
        latents[weight] = np.abs(model.get_latent_representation()[rows] - own).max()
    assert latents[0.0] < 1e-5
    assert latents[1.0] > 1e-3


def test_nothing_is_written_when_matching_fails(separate):
    before = set(separate.obsp), set(separate.uns)
    with pytest.raises(ValueError, match="at least 10 known links"):
        cvi.tl.match(separate, **ARGUMENTS, method="anchored")
    assert (set(separate.obsp), set(separate.uns)) == before


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"modalities": ("rna",)}, ValueError, "two"),
        ({"method": "magic"}, ValueError, "`method` to be one of"),
        ({"known": "absent"}, KeyError, "matrix of links"),
        ({"group_key": "absent"}, KeyError, "column 'absent'"),
        ({"layers": {"rna": "absent"}}, KeyError, "absent"),
        ({"surprise": 1}, TypeError, "setting of 'gw', found `surprise`"),
        ({"known": np.eye(3)}, TypeError, "cvi.pp.link"),
    ],
)
def test_bad_arguments(separate, arguments, error, message):
    with pytest.raises(error, match=message):
        cvi.tl.match(separate, **{**ARGUMENTS, **arguments})


def test_only_a_mudata_can_be_matched(separate):
    with pytest.raises(TypeError, match="MuData"):
        cvi.tl.match(separate["rna"], **ARGUMENTS)


def test_binary_data_are_not_taken_for_an_embedding():
    rng = np.random.default_rng(0)
    mdata = cvi.data.branching_manifold(n_obs=60, n_features={"rna": 6, "ephys": 8}, seed=1)
    flags = rng.random((60, 6)) > 0.5
    results = []
    for values in (flags, flags.astype(np.float32)):
        mdata["rna"].layers["flags"] = values
        cvi.tl.match(mdata, modalities=("rna", "ephys"), layers={"rna": "flags"}, **ROUGH)
        results.append(mdata.obsp["match"].copy())
    assert abs(results[0] - results[1]).max() < 1e-6


def test_three_modalities_are_matched_pair_by_pair(three_modalities):
    with pytest.raises(
        ValueError, match="two `modalities`.*found \\['rna', 'ephys', 'morph'\\]. Call it once for each pair"
    ):
        cvi.tl.match(three_modalities, modalities=("rna", "ephys", "morph"))
