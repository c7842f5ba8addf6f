from contextlib import nullcontext

import mudata as md
import numpy as np
import pytest
import scipy.sparse as sp
import torch

import couplevi as cvi
from couplevi.train import TrainingRun

BOTH = ("rna", "ephys")


def make(mdata, *, seed=0, **kwargs):
    options = {"n_latent": 4, **{k: kwargs.pop(k) for k in list(kwargs) if k in ("n_pcs", "n_latent", "preset")}}
    cvi.model.JAMIE.setup_mudata(mdata, **{"modalities": BOTH, **kwargs})
    torch.manual_seed(seed)
    return cvi.model.JAMIE(mdata, **options)


def test_latents_are_in_the_order_of_the_names(fitted):
    model, mdata = fitted
    for m in BOTH:
        z = model.get_latent_representation(modality=m)
        assert z.shape == (mdata[m].n_obs, 32)
        assert z.dtype == np.float32
        np.testing.assert_allclose(z[[5, 3]], model.get_latent_representation(modality=m, indices=[5, 3]), atol=1e-5)
    np.testing.assert_array_equal(
        model.get_latent_representation(indices=[7, 2]), model.get_latent_representation()[[7, 2]]
    )


def test_latent_of_a_cell_is_the_weighted_mean_over_its_modalities(fitted):
    model, mdata = fitted
    w = {m: x.item() for m, x in model.module.aggregation_weights().items()}
    z = {m: model.get_latent_representation(modality=m) for m in BOTH}
    cells = model.get_latent_representation()
    for i, name in enumerate(mdata.obs_names):
        rows = {m: mdata[m].obs_names.get_indexer([name])[0] for m in BOTH}
        measured = {m: r for m, r in rows.items() if r >= 0}
        # with its own pair alone, both aggregates are the weighted mean of the two
        expected = sum(w[m] * z[m][r] for m, r in measured.items()) / sum(w[m] for m in measured)
        np.testing.assert_allclose(cells[i], expected, atol=1e-5)


def test_latent_of_a_cell_uses_all_its_links(paired, quick):
    """Half a link to another cell pulls by half."""
    matrix = np.zeros((40, 40), dtype=np.float32)
    matrix[0, 1] = 0.5
    cvi.pp.link(paired, modalities=BOTH, pairs=matrix)
    model = make(paired, correspondence_key="correspondence")
    model.train(**quick)
    w = {m: x.item() for m, x in model.module.aggregation_weights().items()}
    z = {m: model.get_latent_representation(modality=m).astype(np.float64) for m in BOTH}
    aggregated = (w["rna"] * z["rna"][0] + 0.5 * w["ephys"] * z["ephys"][1]) / (w["rna"] + 0.5 * w["ephys"])
    expected = (w["rna"] * aggregated + w["ephys"] * z["ephys"][0]) / (w["rna"] + w["ephys"])
    np.testing.assert_allclose(model.get_latent_representation()[0], expected, atol=1e-5)


def test_cell_with_none_of_the_modalities_has_no_latent(fitted):
    model, mdata = fitted
    with_other = md.MuData({"rna": mdata["rna"][:5].copy(), "other": mdata["ephys"][-5:].copy()})
    z = model.get_latent_representation(with_other)
    absent = ~with_other.obs_names.isin(mdata["rna"].obs_names[:5])
    assert np.isnan(z[absent]).all()
    assert np.isfinite(z[~absent]).all()


def test_sampled_latents_scatter_around_the_mean(fitted):
    model, mdata = fitted
    rna = mdata["rna"][:3]
    torch.manual_seed(0)
    draws = [model.get_latent_representation(rna, modality="rna", give_mean=False) for _ in range(300)]
    mean = model.get_latent_representation(rna, modality="rna")
    assert np.std(draws, axis=0).min() > 0
    np.testing.assert_allclose(np.mean(draws, axis=0), mean, atol=0.35)


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_results_do_not_depend_on_batches(fitted, batch_size):
    model, mdata = fitted
    for m in BOTH:
        np.testing.assert_allclose(
            model.get_latent_representation(modality=m, batch_size=batch_size),
            model.get_latent_representation(modality=m),
            atol=1e-5,
        )
    np.testing.assert_allclose(
        model.impute(source="rna", target="ephys", batch_size=batch_size).X,
        model.impute(source="rna", target="ephys").X,
        rtol=1e-3,
        atol=1e-3,
    )


def test_imputation_is_the_decoder_of_the_target_in_its_own_units(fitted):
    model, mdata = fitted
    imputed = model.impute(source="rna", target="ephys")
    z = torch.from_numpy(model.get_latent_representation(modality="rna"))
    with torch.inference_mode():
        h = model.module.decode("ephys", z).mean.numpy()
    ephys = mdata["ephys"].X
    np.testing.assert_allclose(imputed.X, h * ephys.std(axis=0) + ephys.mean(axis=0), rtol=1e-3, atol=1e-3)
    assert imputed.obs_names.equals(mdata["rna"].obs_names)
    assert imputed.var_names.equals(mdata["ephys"].var_names)
    assert imputed.X.dtype == np.float32


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
        model = make(other, layers={"rna": "log1p"}, n_pcs={"rna": 6})
        model.train(**quick)
        results.append(model.get_latent_representation())
    for other in results[1:]:
        np.testing.assert_allclose(other, results[0], atol=1e-4)


def test_sparse_without_components_agrees_with_dense(mdata, quick):
    results = []
    for kind in (np.asarray, sp.csr_matrix):
        other = mdata.copy()
        other["rna"].X = kind(mdata["rna"].X)
        model = make(other)
        assert model.n_components_["rna"] is None
        model.train(**quick)
        results.append(model.get_latent_representation())
    np.testing.assert_allclose(results[1], results[0], atol=1e-4)


def test_representation_in_place_of_a_layer(mdata, quick):
    mdata["rna"].obsm["X_pca"] = mdata["rna"].X[:, :5] * 2
    model = make(mdata, use_rep={"rna": "X_pca"})
    model.train(**quick)
    imputed = model.impute(source="ephys", target="rna")
    assert list(imputed.var_names) == [f"X_pca_{i}" for i in range(5)]
    assert model.get_latent_representation().shape == (60, 4)


def test_three_modalities_by_name(three_modalities, quick):
    names = ("morph", "rna", "ephys")
    model = make(three_modalities.copy(), modalities=names)
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
    with_match, without = make(paired.copy(), match_key="match", **given), make(paired.copy(), **given)
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
            model = make(mdata, correspondence_key="none", **kwargs)
        model.train(max_epochs=150, enable_progress_bar=False)
        return cvi.metrics.foscttm(*(model.get_latent_representation(modality=m) for m in BOTH))

    assert distance(match_key="match") < 0.1
    assert distance() > 0.2


def test_fitted_links_are_those_trained_on(mdata, quick):
    cvi.pp.link(mdata, modalities=BOTH, hide=0.5, seed=0)
    model = make(mdata, correspondence_key="correspondence")
    model.train(**quick)
    known = mdata.obs_names[mdata.obsp["correspondence"].diagonal() > 0]
    for a, b in (BOTH, BOTH[::-1]):
        rows, columns = model.fitted_links(a, b).tocoo().coords
        assert set(mdata[a].obs_names[rows]) == set(known)
        assert mdata[a].obs_names[rows].equals(mdata[b].obs_names[columns])
        np.testing.assert_array_equal(model.is_fitted(mdata.obs_names, a, b), mdata.obs_names.isin(known))


def test_validation_pairs_are_not_fitted(paired, quick):
    model = make(paired)
    model.train(**quick, train_size=0.75)
    assert len(model.train_indices) == 30
    assert len(model.validation_indices) == 10
    assert not set(model.train_indices) & set(model.validation_indices)
    fitted = model.is_fitted(paired.obs_names, *BOTH)
    np.testing.assert_array_equal(np.flatnonzero(fitted), model.train_indices)


def test_training_goes_on_where_it_ended(mdata, quick):
    model = make(mdata)
    model.train(**quick)
    before = {k: v.clone() for k, v in model.module.state_dict().items()}
    model.train(**quick)
    after = model.module.state_dict()
    assert all(after[k].equal(v) for k, v in before.items() if k.startswith("observations"))
    assert any(not after[k].equal(v) for k, v in before.items())
    assert model.history["train_loss"].index.tolist() == list(range(6))


def test_default_schedule_is_counted_in_steps(mdata):
    model = make(mdata)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingRun, "fit", lambda self, *args, **kwargs: (_ for _ in ()).throw(Stop(kwargs)))
        for batch_size, epochs in ((None, 1600), (25, 534)):
            with pytest.raises(Stop) as stop:
                model.train(batch_size=batch_size)
            assert stop.value.args[0]["max_epochs"] == epochs


class Stop(Exception):
    pass


def test_early_stopping_waits_for_the_annealing_and_restores_the_best(paired):
    model = make(paired)
    model.train(
        max_epochs=40,
        train_size=0.7,
        enable_progress_bar=False,
        early_stopping_patience=1,
        plan_kwargs={"lr": 1.0, "lr_schedule": "constant", "kl_warmup": 0.3},  # such a rate does not improve for long
    )
    losses = model.history["validation_loss"]["validation_loss"]
    assert 12 < len(losses) < 40
    preparations = [p for p in model.module.state_dict() if p.startswith("observations")]
    assert preparations


def test_early_stopping_needs_validation_cells(paired):
    with pytest.raises(ValueError, match="validation units for early stopping, found none"):
        make(paired).train(max_epochs=2, early_stopping=True)


def test_paper_preset_stops_on_the_training_loss(paired):
    model = make(paired, preset="paper")
    model.settings_ = type(model.settings_)(**{**vars(model.settings_), "patience": 2})
    model.train(max_epochs=60, enable_progress_bar=False, plan_kwargs={"lr": 0.0})
    assert 15 < len(model.history["train_loss"]) < 25


@pytest.mark.parametrize("preset", ["integration", "paper"])
def test_presets_train(mdata, quick, preset):
    model = make(mdata, preset=preset)
    model.train(**quick)
    assert np.isfinite(model.get_latent_representation()).all()


def test_nan_stops_training_with_the_best_weights(mdata):
    model = make(mdata)
    original = type(model.module).loss
    count = iter(range(1000))

    def loss(self, *args, **kwargs):
        output = original(self, *args, **kwargs)
        if next(count) == 5:
            output.loss = output.loss * float("nan")
        return output

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(model.module), "loss", loss)
        with pytest.warns(
            UserWarning, match="The loss or a weight became NaN or infinite. Training stopped; .* best weights"
        ):
            model.train(max_epochs=20, enable_progress_bar=False)
    assert model.is_trained
    assert len(model.history["train_loss"]) < 20
    assert np.isfinite(model.get_latent_representation()).all()


def test_nan_from_the_start_is_an_error(mdata):
    model = make(mdata)
    with torch.no_grad():
        model.module.log_aggregation_weights.fill_(float("nan"))
    with pytest.raises(RuntimeError, match="a finite loss, found NaN or infinity in the first epoch"):
        model.train(max_epochs=3, enable_progress_bar=False)
    assert not model.is_trained


def test_constant_features_are_kept_and_named(mdata, quick):
    mdata["rna"].X[:, 3] = 0
    mdata["rna"].X[:, 4] = 7
    model = make(mdata)
    with pytest.warns(UserWarning, match=r"2 features of `X` of modality 'rna' are constant .*\['rna3', 'rna4'\]"):
        model.train(**quick)
    imputed = model.impute(source="ephys", target="rna").X
    np.testing.assert_allclose(imputed[:, 3:5], [[0, 7]] * len(imputed), atol=1e-5)
    assert np.isfinite(imputed).all()


def test_one_profile_of_a_modality_in_a_batch(quick):
    """So few cells of one modality that most batches hold one or none of them."""
    mdata = cvi.data.branching_manifold(60, n_features={"rna": 10, "ephys": 4}, seed=0)
    rare = md.MuData({"rna": mdata["rna"], "ephys": mdata["ephys"][:3].copy()})
    for preset in ("default", "paper"):
        model = make(rare.copy(), preset=preset)
        model.train(**{**quick, "batch_size": 7})
        assert np.isfinite(model.history["train_loss"]["train_loss"]).all()
        assert np.isfinite(model.get_latent_representation()).all()


def test_one_unit_per_batch(paired, quick):
    model = make(paired, preset="paper")
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


def test_errors_and_bound(fitted):
    model, mdata = fitted
    errors = model.get_reconstruction_error()
    for m, layer in (("rna", "log1p"), ("ephys", None)):
        x = mdata[m].layers[layer] if layer else mdata[m].X
        z = torch.from_numpy(model.get_latent_representation(modality=m))
        with torch.inference_mode():
            decoded = model.module.observation(m).preparation.record().inverse(model.module.decode(m, z).mean.numpy())
        expected = np.square((x - decoded) / x.std(axis=0)).mean()
        assert errors[m] == pytest.approx(expected, rel=1e-3)
    assert -1 < model.get_elbo() + np.mean(list(errors.values())) < 0  # the divergence weighs little
    assert model.get_elbo(mdata) == pytest.approx(model.get_elbo())


def test_untrained_model_gives_nothing(mdata):
    model = make(mdata)
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
    assert repr(make(mdata, n_pcs={"rna": 5})) == (
        "JAMIE model, not trained, n_latent: 4, ephys: 8 features, rna: 30 features in 5 PCs"
    )


def test_scvi_tools_views_work(fitted, capsys):
    model, _ = fitted
    model.view_anndata_setup()
    assert "JAMIE" in capsys.readouterr().out
    model.to_device("cpu")


def test_two_models_on_one_mudata(mdata, quick):
    first = make(mdata, layers={"rna": "log1p"})
    first.train(**quick)
    z = first.get_latent_representation()
    second = make(mdata, modalities=("ephys", "rna"))
    second.train(**quick)
    np.testing.assert_array_equal(first.get_latent_representation(), z)
    assert first.reader("rna").key == "log1p"
    assert second.reader("rna").key is None


@pytest.mark.parametrize("step", [5, 7])
def test_nan_in_a_gradient_stops_training_with_finite_weights(mdata, step):
    """The loss of that step, and of the epoch if it is the last, is finite."""
    model = make(mdata)
    count = iter(range(1000))
    model.module.encoders[0].mean.weight.register_hook(lambda g: g * float("nan") if next(count) == step else g)
    with pytest.warns(UserWarning, match="a weight became NaN"):
        model.train(max_epochs=8, enable_progress_bar=False)
    assert np.isfinite(model.get_latent_representation()).all()


def test_failed_second_training_leaves_the_first(mdata, quick):
    model = make(mdata)
    model.train(**quick)
    before = model.get_latent_representation()
    hook = model.module.encoders[0].mean.weight.register_hook(lambda g: g * float("nan"))
    with pytest.raises(RuntimeError, match="a finite loss"):
        model.train(**quick)
    hook.remove()
    assert model.is_trained
    np.testing.assert_array_equal(model.get_latent_representation(), before)


def test_links_of_every_training_are_fitted(paired, quick):
    model = make(paired)
    model.train(**quick, train_size=0.5)
    seen = set(model.train_indices)
    model.train(**quick, train_size=0.5)
    seen |= set(model.train_indices)
    assert len(seen) > 20
    assert set(np.flatnonzero(model.is_fitted(paired.obs_names, *BOTH))) == seen


def test_training_without_validation_units_has_no_validation(paired, quick):
    model = make(paired)
    model.train(**quick, train_size=0.99)
    assert len(model.validation_indices) == 0
    assert "validation_loss" not in model.history


@pytest.mark.parametrize("batch_size", [0, -3, 2.5])
def test_batch_sizes_are_whole_numbers_above_zero(fitted, batch_size):
    model, _ = fitted
    for call in (model.train, model.get_latent_representation, model.get_elbo):
        with pytest.raises(ValueError, match="`batch_size` to be a whole number of at least 1"):
            call(batch_size=batch_size)


def test_data_without_distinct_cells_or_a_modality(fitted):
    model, mdata = fitted
    double = mdata.copy()
    double["rna"].obs_names = ["same"] * double["rna"].n_obs
    with pytest.raises(ValueError, match=r"each cell once in `mdata\['rna'\].obs_names`"):
        model.get_latent_representation(double)
    with pytest.raises(KeyError, match=r"`modality` to be one of \['rna'\], found 'ephys'"):
        model.get_elbo(md.MuData({"rna": mdata["rna"].copy()}))


def test_fitted_links_need_training_and_known_modalities(fitted, mdata):
    with pytest.raises(RuntimeError, match="untrained model"):
        make(mdata).is_fitted(mdata.obs_names, *BOTH)
    with pytest.raises(ValueError, match="`modality` to be one of"):
        fitted[0].fitted_links("rna", "atac")
