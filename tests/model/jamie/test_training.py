import dataclasses

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from small import make_jamie

import couplevi as cvi
from couplevi.dataloaders import CoupledDataSplitter
from couplevi.model.jamie.training import release_epoch, training_data
from couplevi.preparation import fit_coupled, fit_preparation
from couplevi.registry import Registered
from couplevi.train import TrainingRun


def test_default_schedule_is_counted_in_steps(mdata):
    model = make_jamie(mdata)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingRun, "fit", lambda self, *args, **kwargs: (_ for _ in ()).throw(Stop(kwargs)))
        for batch_size, epochs in ((None, 1600), (25, 534)):
            with pytest.raises(Stop) as stop:
                model.train(batch_size=batch_size)
            assert stop.value.args[0]["max_epochs"] == epochs


class Stop(Exception):
    pass


def test_early_stopping_waits_for_the_annealing_and_restores_the_best(paired):
    model = make_jamie(paired)
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
        make_jamie(paired).train(max_epochs=2, early_stopping=True)


def test_paper_preset_stops_on_the_training_loss(paired):
    model = make_jamie(paired, preset="paper")
    model.settings_ = type(model.settings_)(**{**vars(model.settings_), "patience": 2})
    model.train(max_epochs=60, enable_progress_bar=False, plan_kwargs={"lr": 0.0})
    assert 15 < len(model.history["train_loss"]) < 25


def test_nan_stops_training_with_the_best_weights(mdata):
    model = make_jamie(mdata)
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
    model = make_jamie(mdata)
    with torch.no_grad():
        model.module.log_aggregation_weights.fill_(float("nan"))
    with pytest.raises(RuntimeError, match="a finite loss, found NaN or infinity in the first epoch"):
        model.train(max_epochs=3, enable_progress_bar=False)
    assert not model.is_trained


@pytest.mark.parametrize("step", [5, 7])
def test_nan_in_a_gradient_stops_training_with_finite_weights(mdata, step):
    """The loss of that step, and of the epoch if it is the last, is finite."""
    model = make_jamie(mdata)
    count = iter(range(1000))
    model.module.encoders[0].mean.weight.register_hook(lambda g: g * float("nan") if next(count) == step else g)
    with pytest.warns(UserWarning, match="a weight became NaN"):
        model.train(max_epochs=8, enable_progress_bar=False)
    assert np.isfinite(model.get_latent_representation()).all()


def test_failed_second_training_leaves_the_first(mdata, quick):
    model = make_jamie(mdata)
    model.train(**quick)
    before = model.get_latent_representation()
    hook = model.module.encoders[0].mean.weight.register_hook(lambda g: g * float("nan"))
    with pytest.raises(RuntimeError, match="a finite loss"):
        model.train(**quick)
    hook.remove()
    assert model.is_trained
    np.testing.assert_array_equal(model.get_latent_representation(), before)


def test_training_without_validation_units_has_no_validation(paired, quick):
    model = make_jamie(paired)
    model.train(**quick, train_size=0.99)
    assert len(model.validation_indices) == 0
    assert "validation_loss" not in model.history


def test_training_goes_on_where_it_ended(mdata, quick):
    model = make_jamie(mdata)
    model.train(**quick)
    before = {k: v.clone() for k, v in model.module.state_dict().items()}
    model.train(**quick)
    after = model.module.state_dict()
    assert all(after[k].equal(v) for k, v in before.items() if k.startswith("observations"))
    assert any(not after[k].equal(v) for k, v in before.items())
    assert model.history["train_loss"].index.tolist() == list(range(6))


@pytest.mark.parametrize("weights", ["coupled", "communality", "equal"])
def test_training_data_are_prepared_once_and_in_an_order_of_their_own(mdata, weights):
    model = make_jamie(mdata, layers={"rna": "log1p"}, n_pcs={"rna": 5})
    model.settings_ = dataclasses.replace(model.settings_, feature_weights=weights)
    given = Registered(mdata, {m: model.reader(m) for m in model.modalities_}, {"correspondence": {}, "match": {}})
    dataset, order = training_data(model.module, given, model.n_components_, model.settings_)
    values = mdata["rna"].layers["log1p"]
    if weights == "coupled":
        matrices = {"rna": values, "ephys": mdata["ephys"].X}
        expected = fit_coupled(matrices, given.links(), model.n_components_)["rna"]  # too few pairs to calibrate
        assert np.abs(expected.scale / fit_preparation(values, 5).scale - 1).max() > 0.01
    else:
        expected = fit_preparation(values, 5, weights)
    np.testing.assert_allclose(
        dataset.rows["rna"][np.arange(45)], expected.transform(values[order["rna"]]), rtol=1e-3, atol=1e-4
    )
    assert model.module.observation("ephys").preparation.record().components is None
    mdata["rna"].layers["log1p"] = values + 1
    again, _ = training_data(model.module, given, None, model.settings_)
    mean = again.rows["rna"][np.arange(45)].mean(axis=0)
    np.testing.assert_allclose(mean, expected.transform(values + 1).mean(axis=0), rtol=1e-3, atol=1e-4)


def test_pairs_for_calibration_are_released_in_the_middle():
    assert [release_epoch(n) for n in (1, 11, 100)] == [0, 5, 50]


def test_hidden_pairs_decide_no_weights():
    """Of pairs that are not among the links, the halves may be any."""
    paired = cvi.data.branching_manifold(n_obs=200, n_features={"rna": 30, "ephys": 8}, seed=1)
    paired.obsp["correspondence"] = sp.diags((np.arange(paired.n_obs) % 2).astype(np.float32)).tocsr()
    paired.obsp["correspondence"].eliminate_zeros()
    model = make_jamie(paired, n_pcs={"rna": 5}, correspondence_key="correspondence")
    assert model.settings_.feature_weights == "coupled"
    keys = {"correspondence": {("rna", "ephys"): "correspondence"}, "match": {}}
    hidden = np.flatnonzero(np.arange(paired.n_obs) % 2 == 0)

    def scale():
        given = Registered(paired, {m: model.reader(m) for m in model.modalities_}, keys)
        training_data(model.module, given, model.n_components_, model.settings_)
        return model.module.observation("rna").preparation.record().scale.copy()

    before = scale()
    x = paired["ephys"].X.copy()
    x[hidden] = x[hidden[::-1]]
    paired["ephys"].X = x
    np.testing.assert_allclose(scale(), before, rtol=1e-4)
    x = x.copy()
    x[hidden + 1] = x[hidden[::-1] + 1]  # those that are linked
    paired["ephys"].X = x
    assert np.abs(scale() / before - 1).max() > 0.01


def test_pairs_for_calibration_decide_no_weights():
    paired = cvi.data.branching_manifold(n_obs=200, n_features={"rna": 30, "ephys": 8}, seed=1)
    model = make_jamie(paired, n_pcs={"rna": 5})
    given = Registered(paired, {m: model.reader(m) for m in model.modalities_}, {"correspondence": {}, "match": {}})

    def fitted(train_size=1.0, **settings):
        model.settings_ = dataclasses.replace(model.settings_, **settings)
        dataset, order = training_data(model.module, given, model.n_components_, model.settings_, train_size)
        scale = model.module.observation("rna").preparation.record().scale.copy()
        return scale, {m: order[m][places] for m, places in dataset.places(dataset.kept_apart).items()}, dataset

    def fitted_to(links):
        matrices = {m: given.values(m) for m in model.modalities_}
        return fit_coupled(matrices, {("ephys", "rna"): links}, model.n_components_)["rna"].scale

    scale, apart, dataset = fitted()
    assert len(dataset.kept_apart) == 20
    np.testing.assert_array_equal(np.sort(apart["rna"]), np.sort(apart["ephys"]))
    rest = sp.csr_array(sp.diags_array((~np.isin(np.arange(200), apart["rna"])).astype(np.float32)))
    rest.eliminate_zeros()
    np.testing.assert_allclose(scale, fitted_to(rest), rtol=1e-5)
    assert np.abs(scale / fitted_to(sp.eye_array(200, format="csr")) - 1).max() > 1e-3
    splitter = CoupledDataSplitter(dataset, n_calibration=20, release_epoch=3)
    np.testing.assert_array_equal(splitter.calibration_idx, np.sort(dataset.kept_apart))
    none, apart, _ = fitted(train_size=0.9)  # which pairs are validated on is drawn later
    np.testing.assert_array_equal(none, fit_preparation(given.values("rna"), 5).scale)
    assert len(fitted(calibration_size=0.0)[2].kept_apart) == 0
    assert len(fitted(feature_weights="communality")[2].kept_apart) == 0
