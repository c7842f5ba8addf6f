import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger
from scvi.module.base import LossOutput

import couplevi as cvi
from couplevi.train import CoupledTrainingPlan


@pytest.fixture
def model(mdata):
    cvi.model.JAMIE.setup_mudata(mdata, modalities=("rna", "ephys"))
    return cvi.model.JAMIE(mdata, n_latent=4)


def test_weight_matrices_decay_and_scalars_do_not(model):
    plan, trainer = CoupledTrainingPlan(model.module, lr=0.1, weight_decay=0.3), SimpleNamespace(precision="32-true")
    plan.trainer = trainer
    decayed, others = plan.configure_optimizers()["optimizer"].param_groups
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.3, 0.0)
    assert all(p.ndim == 2 for p in decayed["params"])
    assert any(p is model.module.temperature_logit for p in others["params"])
    assert len(decayed["params"]) + len(others["params"]) == len(list(model.module.parameters()))


def test_kl_weight_rises_over_its_share_of_the_training(model):
    model.train(max_epochs=20, enable_progress_bar=False, plan_kwargs={"kl_warmup": 0.5})
    weight = model.history["kl_weight"]["kl_weight"].to_numpy()
    assert weight[0] < 0.2
    assert (np.diff(weight[:9]) > 0).all()
    assert (weight[10:] == 1).all()


def test_learning_rate_goes_through_one_cycle(model):
    rates = []

    class Record(torch.optim.AdamW):
        def step(self, *args, **kwargs):
            rates.append(self.param_groups[0]["lr"])
            return super().step(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim, "AdamW", Record)
        model.train(max_epochs=100, enable_progress_bar=False)
    peak = int(np.argmax(rates))
    assert rates[0] == pytest.approx(3e-3 / 25)
    assert rates[peak] == pytest.approx(3e-3, rel=1e-3)
    assert peak == pytest.approx(30, abs=1)
    assert rates[-1] < 1e-5


def test_validation_loss_uses_final_weights(model):
    """With a huge divergence and a warm-up, only the training loss starts low."""
    model.module.weights["kl"] = 1e6
    model.train(
        max_epochs=2, train_size=0.5, early_stopping=False, enable_progress_bar=False, plan_kwargs={"kl_warmup": 1.0}
    )
    train, validation = (model.history[f"{mode}_loss"].iloc[0, 0] for mode in ("train", "validation"))
    assert train < 1e3 < validation


def test_validation_losses_of_epochs_can_be_compared(model):
    """Of a model that does not change, they are the same however far the warm-up is."""
    model.module.weights["kl"] = 1e6  # beside which sampling does not matter
    still = {"kl_warmup": 1.0, "lr": 1e-12}
    model.train(max_epochs=3, train_size=0.5, early_stopping=False, enable_progress_bar=False, plan_kwargs=still)
    validation = model.history["validation_loss"].iloc[:, 0]
    np.testing.assert_allclose(validation, validation.iloc[0], rtol=1e-3)


def test_metrics_are_means_over_the_batches_of_an_epoch(model):
    seen = []
    original = type(model.module).loss

    def loss(self, *args, **kwargs):
        output = original(self, *args, **kwargs)
        seen.append({name: value.item() for name, value in output.extra_metrics.items()} | {"loss": output.loss.item()})
        return output

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(model.module), "loss", loss)
        model.train(max_epochs=1, batch_size=20, enable_progress_bar=False)
    assert len(seen) > 1
    for name in ("combination", "contrastive", "kl_rna"):
        expected = np.mean([s[name] for s in seen])
        assert model.history[f"{name}_train"].iloc[0, 0] == pytest.approx(expected, rel=1e-5)
    assert model.history["train_loss"].iloc[0, 0] == pytest.approx(np.mean([s["loss"] for s in seen]), rel=1e-5)


def test_every_term_is_in_the_history(model, quick):
    model.train(**quick)
    terms = ("kl", "combination", "reconstruction", "cross_reconstruction", "contrastive", "alignment")
    assert {f"{t}_train" for t in terms} <= set(model.history)
    assert {"elbo_train", "reconstruction_loss_train", "kl_local_train", "reconstruction_rna_train"} <= set(
        model.history
    )
    assert all(len(frame) == 3 and math.isfinite(frame.iloc[-1, 0]) for frame in model.history.values())


def losses_of(value):
    parameter = torch.tensor([value, 3 * value], requires_grad=True)
    return LossOutput(
        loss=parameter.sum(), reconstruction_loss=2 * parameter, kl_local=0.5 * parameter, extra_metrics={}
    )


def test_metrics_are_per_profile_and_hold_no_gradient(model):
    plan = CoupledTrainingPlan(model.module)
    plan._collect("train", losses_of(1.0))
    (metrics,) = plan._metrics["train"]
    assert {name: value.item() for name, value in metrics.items()} == {
        "train_loss": 4.0,
        "elbo_train": 5.0,
        "reconstruction_loss_train": 4.0,
        "kl_local_train": 1.0,
    }
    assert not any(value.requires_grad for value in metrics.values())


def test_metrics_of_an_epoch_are_those_of_its_batches_alone(model, monkeypatch):
    plan = CoupledTrainingPlan(model.module)
    logged = []
    monkeypatch.setattr(CoupledTrainingPlan, "use_sync_dist", False)
    monkeypatch.setattr(plan, "_log", lambda metrics, shown: logged.append(metrics[shown].item()))
    for values in ((1.0, 2.0), (5.0,), ()):
        for value in values:
            plan._collect("train", losses_of(value))
        plan._log_means("train")
    assert logged == [6.0, 20.0]


class Seen(Callback):
    """What other callbacks see at the start of an epoch, after that before."""

    def __init__(self):
        self.metrics, self.bar = [], []

    def on_train_epoch_start(self, trainer, *args):
        self.metrics.append({name: float(value) for name, value in trainer.callback_metrics.items()})
        self.bar.append(dict(trainer.progress_bar_metrics))


def test_callbacks_and_other_loggers_are_told_what_is_in_the_history(model, tmp_path):
    seen, logger = Seen(), CSVLogger(tmp_path)
    options = {"enable_progress_bar": False, "callbacks": [seen], "logger": logger, "check_val_every_n_epoch": 1}
    model.train(max_epochs=3, train_size=0.8, batch_size=20, **options)
    expected = pd.concat(model.history.values(), axis=1)
    assert {"kl_weight", "train_loss", "validation_loss", "kl_rna_validation"} <= set(expected)
    assert [*map(len, seen.metrics)] == [0, expected.shape[1], expected.shape[1]]
    for epoch in (0, 1):
        assert seen.metrics[epoch + 1] == pytest.approx(expected.loc[epoch].to_dict())
        losses = ("train_loss", "validation_loss")
        assert seen.bar[epoch + 1] == pytest.approx(expected.loc[epoch, [*losses]].to_dict())
    written = pd.read_csv(next(tmp_path.rglob("metrics.csv"))).groupby("epoch").mean()
    n_steps = 3  # of 48 units
    assert written.pop("step").tolist() == [n_steps * (epoch + 1) - 1 for epoch in range(3)]
    pd.testing.assert_frame_equal(written[expected.columns], expected, rtol=1e-5, check_index_type=False)
