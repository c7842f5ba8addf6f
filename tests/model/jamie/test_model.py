from contextlib import nullcontext

import mudata as md
import numpy as np
import pytest
import scipy.sparse as sp
from small import BOTH, make_jamie

import couplevi as cvi


def test_new_cells_of_one_modality_with_features_in_another_order(fitted):
    model, mdata = fitted
    new = mdata["rna"][:6, ::-1].copy()
    new.obs_names = [f"new{i}" for i in range(6)]
    np.testing.assert_allclose(
        model.get_latent_representation(new, modality="rna"),
        model.get_latent_representation(modality="rna")[:6],
        atol=1e-5,
    )
    imputed = model.impute(source="rna", target="ephys", adata=new)
    assert imputed.obs_names.equals(new.obs_names)
    np.testing.assert_allclose(imputed.X, model.impute(source="rna", target="ephys").X[:6], rtol=1e-3, atol=1e-3)


def test_new_cells_leave_no_trace(fitted):
    model, mdata = fitted
    new = mdata["rna"][:6].copy()
    model.get_latent_representation(new, modality="rna")
    assert not new.uns
    assert set(new.obsm) <= {"X_jamie"}


def test_sparse_and_dense_agree(mdata, quick):
    results = []
    for kind in (np.asarray, sp.csr_matrix, sp.csc_matrix, sp.csr_array):
        other = mdata.copy()
        other["rna"].layers["log1p"] = kind(mdata["rna"].layers["log1p"])
        model = make_jamie(other, layers={"rna": "log1p"}, n_pcs={"rna": 6})
        model.train(**quick)
        results.append(model.get_latent_representation())
    for other in results[1:]:
        np.testing.assert_allclose(other, results[0], atol=1e-4)


def test_sparse_without_components_agrees_with_dense(mdata, quick):
    results = []
    for kind in (np.asarray, sp.csr_matrix):
        other = mdata.copy()
        other["rna"].X = kind(mdata["rna"].X)
        model = make_jamie(other)
        assert model.n_components_["rna"] is None
        model.train(**quick)
        results.append(model.get_latent_representation())
    np.testing.assert_allclose(results[1], results[0], atol=1e-4)


def test_representation_in_place_of_a_layer(mdata, quick):
    mdata["rna"].obsm["X_pca"] = mdata["rna"].X[:, :5] * 2
    model = make_jamie(mdata, use_rep={"rna": "X_pca"})
    model.train(**quick)
    imputed = model.impute(source="ephys", target="rna")
    assert list(imputed.var_names) == [f"X_pca_{i}" for i in range(5)]
    assert model.get_latent_representation().shape == (60, 4)


def test_three_modalities_by_name(three_modalities, quick):
    names = ("morph", "rna", "ephys")
    model = make_jamie(three_modalities.copy(), modalities=names)
    model.train(**quick)
    assert model.get_latent_representation().shape == (three_modalities.n_obs, 4)
    for m in names:
        assert model.get_latent_representation(modality=m).shape == (three_modalities[m].n_obs, 4)
    assert model.impute(source="morph", target="rna").shape == (three_modalities["morph"].n_obs, 30)
    assert np.isfinite(model.history["train_loss"]["train_loss"]).all()


def test_inferred_links_are_used_by_the_alignment_term_alone(paired, quick):
    cvi.pp.link(paired, modalities=BOTH, key_added="match")
    cvi.pp.link(paired, modalities=BOTH, hide=0.5)
    given = {"correspondence_key": "correspondence"}
    with_match, without = make_jamie(paired.copy(), match_key="match", **given), make_jamie(paired.copy(), **given)
    for model in (with_match, without):
        model.train(**quick)
    assert with_match.history["alignment_train"]["alignment_train"].min() > 0
    assert without.history["alignment_train"]["alignment_train"].max() == 0
    assert with_match.fitted_links_["ephys|rna"].shape == (20, 2)


def test_matches_pull_hidden_pairs_together(paired):
    """With no pair given, inferred links alone have to bring the modalities together."""

    def distance(**kwargs):
        mdata = paired.copy()
        mdata.obsp["none"] = sp.csr_matrix((40, 40), dtype=np.float32)
        cvi.pp.link(mdata, modalities=BOTH, key_added="match")
        warned = nullcontext() if kwargs else pytest.warns(UserWarning, match="No profile")
        with warned:
            model = make_jamie(mdata, correspondence_key="none", **kwargs)
        model.train(max_epochs=200, enable_progress_bar=False)
        return cvi.metrics.foscttm(*(model.get_latent_representation(modality=m) for m in BOTH))

    assert distance(match_key="match") < 0.1
    assert distance() > 0.2


def test_fitted_links_are_those_trained_on(mdata, quick):
    cvi.pp.link(mdata, modalities=BOTH, hide=0.5, seed=0)
    model = make_jamie(mdata, correspondence_key="correspondence")
    model.train(**quick)
    known = mdata.obs_names[mdata.obsp["correspondence"].diagonal() > 0]
    for a, b in (BOTH, BOTH[::-1]):
        rows, columns = model.fitted_links(a, b).tocoo().coords
        assert set(mdata[a].obs_names[rows]) == set(known)
        assert mdata[a].obs_names[rows].equals(mdata[b].obs_names[columns])
        np.testing.assert_array_equal(model.is_fitted(mdata.obs_names, a, b), mdata.obs_names.isin(known))


def test_validation_pairs_are_not_fitted(paired, quick):
    model = make_jamie(paired)
    model.train(**quick, train_size=0.75)
    assert len(model.train_indices) == 30
    assert len(model.validation_indices) == 10
    assert not set(model.train_indices) & set(model.validation_indices)
    fitted = model.is_fitted(paired.obs_names, *BOTH)
    np.testing.assert_array_equal(np.flatnonzero(fitted), model.train_indices)


@pytest.mark.parametrize("preset", ["integration", "paper"])
def test_presets_train(mdata, quick, preset):
    model = make_jamie(mdata, preset=preset)
    model.train(**quick)
    assert np.isfinite(model.get_latent_representation()).all()


def test_one_profile_of_a_modality_in_a_batch(quick):
    """So few cells of one modality that most batches hold one or none of them."""
    mdata = cvi.data.branching_manifold(60, n_features={"rna": 10, "ephys": 4}, seed=0)
    rare = md.MuData({"rna": mdata["rna"], "ephys": mdata["ephys"][:3].copy()})
    for preset in ("default", "paper"):
        model = make_jamie(rare.copy(), preset=preset)
        model.train(**{**quick, "batch_size": 7})
        assert np.isfinite(model.history["train_loss"]["train_loss"]).all()
        assert np.isfinite(model.get_latent_representation()).all()


def test_one_unit_per_batch(paired, quick):
    model = make_jamie(paired, preset="paper")
    model.train(**{**quick, "batch_size": 1})
    assert np.isfinite(model.get_latent_representation()).all()


def test_seed_makes_two_runs_equal_bit_for_bit(mdata, quick):
    results = []
    for seed in (0, 0, 1):
        other = mdata.copy()
        model = cvi.tl.jamie(other, modalities=BOTH, seed=seed, train_kwargs=quick)
        results.append((model.get_latent_representation(), model.history["train_loss"].to_numpy()))
    for a, b in zip(results[0], results[1], strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(results[0][0], results[2][0])


def test_untrained_model_gives_nothing(mdata):
    model = make_jamie(mdata)
    for call in (
        model.get_latent_representation,
        lambda: model.impute(source="rna", target="ephys"),
        model.get_elbo,
        model.get_reconstruction_error,
    ):
        with pytest.raises(RuntimeError, match="untrained model"):
            call()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m, d: m.impute(source="rna", target="rna"), ValueError, "`target` to differ from `source`"),
        (lambda m, d: m.impute(source="atac", target="rna"), ValueError, r"`source` to be one of \['ephys', 'rna'\]"),
        (lambda m, d: m.impute(source="rna", target="atac"), ValueError, "`target` to be one of"),
        (lambda m, d: m.get_latent_representation(modality="atac"), ValueError, "`modality` to be one of"),
        (lambda m, d: m.get_latent_representation(d["rna"]), ValueError, "`modality` to say what the AnnData holds"),
        (lambda m, d: m.get_latent_representation([1, 2]), ValueError, "an AnnData or a MuData, found list"),
        (lambda m, d: m.get_latent_representation(d["ephys"], modality="rna"), KeyError, "layers"),
        (lambda m, d: m.impute(source="ephys", target="rna", adata=d["ephys"][:, 2:]), ValueError, "2 missing"),
        (lambda m, d: m.get_elbo(d["rna"]), TypeError, "a MuData"),
    ],
)
def test_bad_requests(fitted, call, error, message):
    with pytest.raises(error, match=message):
        call(*fitted)


def test_repr_tells_what_the_model_is(fitted, mdata):
    assert repr(fitted[0]) == "JAMIE model, trained, n_latent: 32, ephys: 8 features, rna: 30 features"
    assert repr(make_jamie(mdata, n_pcs={"rna": 5})) == (
        "JAMIE model, not trained, n_latent: 4, ephys: 8 features, rna: 30 features in 5 PCs"
    )


def test_scvi_tools_views_work(fitted, capsys):
    model, _ = fitted
    model.view_anndata_setup()
    assert "JAMIE" in capsys.readouterr().out
    model.to_device("cpu")


def test_two_models_on_one_mudata(mdata, quick):
    first = make_jamie(mdata, layers={"rna": "log1p"})
    first.train(**quick)
    z = first.get_latent_representation()
    second = make_jamie(mdata, modalities=("ephys", "rna"))
    second.train(**quick)
    np.testing.assert_array_equal(first.get_latent_representation(), z)
    assert first.reader("rna").key == "log1p"
    assert second.reader("rna").key is None


def test_links_of_every_training_are_fitted(paired, quick):
    model = make_jamie(paired)
    model.train(**quick, train_size=0.5)
    seen = set(model.train_indices)
    model.train(**quick, train_size=0.5)
    seen |= set(model.train_indices)
    assert len(seen) > 20
    assert set(np.flatnonzero(model.is_fitted(paired.obs_names, *BOTH))) == seen


def test_fitted_links_need_training_and_known_modalities(fitted, mdata):
    with pytest.raises(RuntimeError, match="untrained model"):
        make_jamie(mdata).is_fitted(mdata.obs_names, *BOTH)
    with pytest.raises(ValueError, match="`modality` to be one of"):
        fitted[0].fitted_links("rna", "atac")
