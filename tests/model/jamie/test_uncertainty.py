from types import SimpleNamespace

import anndata as ad
import mudata as md
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback

import couplevi as cvi
from couplevi.model.jamie.uncertainty import Calibration, Predicted

BOTH = ("rna", "ephys")


@pytest.fixture(scope="module")
def cells():
    """600 cells; the second modality has noise of 0.1 and of 2 times the signal in turn."""
    mdata = cvi.data.branching_manifold(600, n_features={"rna": 30, "ephys": 8}, noise=0.3, seed=1)
    rng = np.random.default_rng(0)
    x = mdata["ephys"].X
    noise = np.where(np.arange(8) % 2, 2.0, 0.1) * x.std(axis=0)
    mdata["ephys"].X = (x + noise * rng.normal(size=x.shape)).astype(np.float32) * 1000
    return mdata


@pytest.fixture(scope="module")
def calibrated(cells):
    train = cells[cells.obs_names[:400]].copy()
    quick = {"max_epochs": 60, "enable_progress_bar": False}
    return cvi.tl.jamie(train, modalities=BOTH, seed=0, train_kwargs=quick), train


def test_intervals_hold_their_share_of_cells_never_seen(calibrated, cells):
    model, _ = calibrated
    unseen = cells[cells.obs_names[400:]].copy()
    imputed = model.impute(source="rna", target="ephys", adata=unseen, return_sd=True)
    coverage = cvi.metrics.interval_coverage(unseen["ephys"].X, imputed.X, imputed.layers["sd"])
    assert 0.83 < coverage.mean() < 0.96
    assert coverage.min() > 0.7
    sd = imputed.layers["sd"].mean(axis=0) / unseen["ephys"].X.std(axis=0)
    assert sd[1::2].min() > sd[0::2].max()  # the noisy features


def test_mean_and_standard_deviation_do_not_depend_on_the_batch(calibrated):
    model, train = calibrated
    plain = model.impute(source="rna", target="ephys")
    whole = model.impute(source="rna", target="ephys", return_sd=True)
    parts = model.impute(source="rna", target="ephys", return_sd=True, batch_size=7)
    np.testing.assert_allclose(whole.X, plain.X, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(parts.layers["sd"], whole.layers["sd"], rtol=1e-4)
    assert "sd" not in plain.layers


def test_standard_deviations_survive_the_file_and_more_training(calibrated, tmp_path):
    model, train = calibrated
    model.save(tmp_path / "m")
    loaded = cvi.model.JAMIE.load(tmp_path / "m", adata=train.copy())
    before = model.impute(source="ephys", target="rna", return_sd=True).layers["sd"]
    np.testing.assert_array_equal(loaded.impute(source="ephys", target="rna", return_sd=True).layers["sd"], before)
    residual = loaded.module.residual_variance("rna", "ephys").clone()
    loaded.train(max_epochs=4, enable_progress_bar=False)  # all pairs were seen: nothing can be held back any more
    assert loaded.module.residual_variance("rna", "ephys").equal(residual)


def test_pairs_held_back_are_released_and_fitted(cells, quick):
    seen = []
    model = cvi.tl.jamie(
        cells.copy(),
        modalities=BOTH,
        mixup_alpha=0.0,
        train_kwargs={**quick, "max_epochs": 4, "callbacks": [Watch(seen)]},
    )
    assert [len(units) for units in seen] == [540, 540, 600, 600]
    assert model.is_fitted(cells.obs_names, *BOTH).all()


class Watch(Callback):
    """Notes which units are drawn in each epoch."""

    def __init__(self, seen):
        self.seen = seen

    def on_train_epoch_start(self, trainer, pl_module):
        self.seen.append(set())

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.seen[-1] |= {tuple(row) for row in batch["profiles"]["rna"].h.numpy().round(6).tolist()}


def test_slots_beside_the_imputed_values(calibrated):
    model, train = calibrated
    mdata = train.copy()
    cvi.tl.impute(mdata, model, source="rna", target="ephys", return_sd=True)
    sd = model.impute(source="rna", target="ephys", return_sd=True).layers["sd"]
    np.testing.assert_array_equal(mdata["rna"].obsm["jamie_ephys_sd"], sd)
    np.testing.assert_array_equal(mdata["ephys"].layers["jamie_from_rna_sd"], sd)


def test_evaluate_reports_coverage_and_score(calibrated, cells):
    model, _ = calibrated
    unseen = cells[cells.obs_names[400:]].copy()
    frame = cvi.tl.evaluate(unseen, model).query("source == 'rna'").set_index("metric")["value"]
    imputed = model.impute(source="rna", target="ephys", adata=unseen, return_sd=True)
    y, sd = unseen["ephys"].X, imputed.layers["sd"]
    assert frame["coverage_90"] == pytest.approx(cvi.metrics.interval_coverage(y, imputed.X, sd).mean())
    score = cvi.metrics.interval_score(y, imputed.X, sd) / y.std(axis=0)
    assert frame["interval_score_90"] == pytest.approx(score.mean(), rel=1e-5)


@pytest.mark.parametrize(
    "arguments", [{"calibration_size": 0.0}, {"preset": "paper"}, {"train_kwargs": {"max_epochs": 1}}]
)
def test_models_without_calibration_say_so(cells, quick, arguments):
    train = {**quick, "max_epochs": 2, **arguments.pop("train_kwargs", {})}
    model = cvi.tl.jamie(cells.copy(), modalities=BOTH, train_kwargs=train, **arguments)
    assert not model.has_sd("rna", "ephys")
    with pytest.raises(RuntimeError, match="calibrated standard deviations, found one without"):
        model.impute(source="rna", target="ephys", return_sd=True)
    assert "coverage_90" not in set(cvi.tl.evaluate(cells, model, in_sample=True)["metric"])


def test_standard_deviations_are_of_one_modality_given_another(calibrated):
    model, _ = calibrated
    with pytest.raises(ValueError, match="`target` to differ from `source`"):
        model.has_sd("rna", "rna")
    with pytest.raises(ValueError, match="`target` to be one of"):
        model.has_sd("rna", "protein")


def test_few_pairs_are_not_held_back(paired, quick):
    model = cvi.tl.jamie(paired, modalities=BOTH, train_kwargs=quick)
    assert not model.has_sd("rna", "ephys")


def test_third_modality_of_few_cells_has_no_standard_deviation(cells, quick):
    few = cells["ephys"][:30].copy()
    few.var_names = "m" + few.var_names
    mdata = md.MuData({"rna": cells["rna"].copy(), "ephys": cells["ephys"].copy(), "morph": few})
    model = cvi.tl.jamie(mdata, modalities=("rna", "ephys", "morph"), train_kwargs=quick)
    assert model.has_sd("rna", "ephys")
    assert not model.has_sd("rna", "morph")


def callbacks_of(callback, epochs):
    data = SimpleNamespace(
        train_idx=np.arange(6), val_idx=np.arange(6, 8), calibration_idx=np.array([1, 4]), release_epoch=2
    )
    trainer = SimpleNamespace(optimizers=[], current_epoch=0, should_stop=False, datamodule=data)
    module = torch.nn.Linear(1, 1)
    callback.on_train_start(trainer, module)
    for trainer.current_epoch in range(epochs):
        callback.on_train_epoch_start(trainer, module.eval())
        callback.on_train_epoch_end(trainer, module)
        if trainer.should_stop:
            break
    return trainer.current_epoch, module


def test_calibration_measures_once_when_units_are_released():
    measured, weighed = [], []
    calibration = Calibration(
        lambda held, fitted: measured.append((held.tolist(), fitted.tolist())),
        lambda held: weighed.append(held.tolist()),
    )
    _, module = callbacks_of(calibration, 5)
    assert measured == [([1, 4], [0, 2, 3, 5])]
    assert weighed == [[1, 4], [1, 4]]  # half-way to the release, and there


def test_a_modality_that_says_nothing_of_the_others_has_no_weight(quick):
    cells = cvi.data.branching_manifold(n_obs=300, n_features={"rna": 30, "ephys": 8}, seed=0)
    noise = cells["ephys"].copy()
    noise.X = np.random.default_rng(0).normal(size=noise.shape).astype(np.float32)
    noise.var_names = [f"noise{j}" for j in range(noise.n_vars)]
    mdata = md.MuData({"rna": cells["rna"].copy(), "ephys": cells["ephys"].copy(), "noise": noise})
    model = cvi.tl.jamie(
        mdata,
        modalities=("rna", "ephys", "noise"),
        layers={"rna": "log1p"},
        seed=0,
        train_kwargs={**quick, "max_epochs": 30},
    )
    module = model.module
    assert module.pair_weight("rna", "ephys") == 1
    assert module.pair_weight("rna", "noise") == module.pair_weight("noise", "rna") < 0.1
    assert module.pair_weight("ephys", "noise") < 0.1
    weight = module.cell_weights()
    assert weight["noise"] < 0.2 * weight["rna"]


def of_two_types(ratio, n=1500, seed=0):
    """Cells of two types, which RNA tells; values of the second modality vary `ratio` times as much in one of them."""
    rng = np.random.default_rng(seed)
    of_type, t = np.arange(n) % 2, rng.normal(size=(n, 3))
    x = np.hstack([t @ rng.normal(size=(3, 24)), 4 * of_type[:, None] * np.ones((n, 6))]) + 0.3 * rng.normal(
        size=(n, 30)
    )
    noise = np.array([1.0, ratio])[of_type, None] * rng.normal(size=(n, 8))
    y = t @ rng.normal(size=(3, 8)) + noise
    parts = {}
    for m, values in {"rna": x, "ephys": y}.items():
        parts[m] = ad.AnnData(values.astype(np.float32))
        parts[m].obs_names = [f"c{i}" for i in range(n)]
        parts[m].var_names = [f"{m}{j}" for j in range(values.shape[1])]
    mdata = md.MuData(parts)
    return mdata, of_type


@pytest.mark.parametrize(("ratio", "rtol"), [(1.0, 0.1), (3.0, 0.2)])
def test_width_follows_the_noise_of_a_type(ratio, rtol):
    mdata, of_type = of_two_types(ratio)
    train, unseen = (mdata[mdata.obs_names[part]].copy() for part in (slice(0, 1000), slice(1000, None)))
    quick = {"max_epochs": 60, "enable_progress_bar": False}
    model = cvi.tl.jamie(train, modalities=BOTH, seed=0, train_kwargs=quick)
    imputed = model.impute(source="rna", target="ephys", adata=unseen, return_sd=True)
    sd, y, last = imputed.layers["sd"], unseen["ephys"].X, of_type[1000:]
    found = sd[last == 1].mean(axis=0) / sd[last == 0].mean(axis=0)
    assert found.mean() == pytest.approx(ratio, rel=rtol)
    for part in (0, 1):
        coverage = cvi.metrics.interval_coverage(y[last == part], imputed.X[last == part], sd[last == part])
        assert 0.85 < coverage.mean() < 0.95
    if ratio == 1:
        assert (sd.std(axis=0) / sd.mean(axis=0)).mean() < 0.1


def predicted(measured, spread, batch):
    """Predictions of 0, whose profiles are told by nothing."""
    none = torch.zeros(len(measured), 0)
    return Predicted(measured, np.zeros_like(measured), batch, none, none, np.full_like(measured, spread))


def test_spread_is_counted_once_where_a_variance_is_calibrated():
    rng = np.random.default_rng(0)
    batch = np.repeat([0, 1], 2000)
    measured = rng.normal(size=(4000, 3)) * np.array([2.0, 4.0])[batch, None]
    measured[:, 2] = 0.0
    variance = np.tile([1.0, 1.0, 0.0], (4000, 1))  # of the last nothing varies, and nothing is asked
    for b, total in ((0, 4.0), (1, 16.0)):
        found = predicted(measured, 3.0, batch).inflation(variance, (batch == b)[:, None])
        assert found + 3 == pytest.approx(total, rel=0.1)
    assert predicted(measured, 100.0, batch).inflation(variance) == 0
    assert predicted(measured, 3.0, batch).inflation(0 * variance) == 1
