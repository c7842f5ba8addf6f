from types import SimpleNamespace

import numpy as np
import pytest
import torch

import couplevi as cvi
from couplevi.model.cplmixvae.rounds import Rounds


@pytest.fixture
def model():
    adata = cvi.data.count_clusters(n_obs=100, seed=0)["rna"]
    cvi.model.CplMixVAE.setup_anndata(adata, layer="log1p")
    return cvi.model.CplMixVAE(adata, 4, batch_size=20)


def train(model, first, later):
    rates = []

    class Record(torch.optim.AdamW):
        def step(self, *args, **kwargs):
            rates.append(self.param_groups[0]["lr"])
            return super().step(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim, "AdamW", Record)
        model.train(
            max_epochs=first, max_epochs_prune=later, min_consensus=0.0, enable_progress_bar=False, accelerator="cpu"
        )
    return np.array(rates)


@pytest.mark.filterwarnings("ignore:The number of categories at the start")
def test_learning_rate_restarts_with_each_round(model):
    rates = train(model, 10, 5)  # 80 cells to train on: 4 steps per epoch
    assert len(rates) == 4 * (10 + 5 + 5)
    for start, end in ((0, 40), (40, 60), (60, 80)):
        own = rates[start:end]
        assert own[0] == pytest.approx(0.02 * 3e-3)
        assert own.max() == pytest.approx(3e-3, rel=0.05)
        assert own[-1] < 0.05 * 3e-3


@pytest.mark.filterwarnings("ignore:The number of categories at the start")
def test_temperature_falls_and_coupling_rises_in_the_first_round_alone(model):
    train(model, 10, 5)
    temperature = model.history["temperature"]["temperature"].to_numpy()
    scale = model.history["coupling_scale"]["coupling_scale"].to_numpy()
    assert (np.diff(temperature[:10]) < 0).all()
    np.testing.assert_array_equal(temperature[10:], 0.5)
    assert scale[0] < 0.5
    np.testing.assert_array_equal(scale[3:], 1)


@pytest.mark.filterwarnings("ignore:The number of categories at the start")
def test_module_is_given_what_is_scheduled(model):
    given = []
    inference, loss = model.module.inference, model.module.loss
    model.module.inference = lambda *args, **kwargs: given.append(kwargs["temperature"]) or inference(*args, **kwargs)
    model.module.loss = lambda *args, **kwargs: given.append(kwargs["coupling_scale"]) or loss(*args, **kwargs)
    model.train(max_epochs=2, prune=False, enable_progress_bar=False, accelerator="cpu")
    temperatures, scales = given[::2], given[1::2]
    assert temperatures[0] == 1
    assert scales[0] == 0
    assert temperatures == sorted(temperatures, reverse=True)
    assert scales[-1] == 1


@pytest.mark.filterwarnings("ignore:The number of categories at the start")
def test_moments_start_anew_with_each_round(model):
    steps = []

    class Record(torch.optim.AdamW):
        def step(self, *args, **kwargs):
            result = super().step(*args, **kwargs)
            steps.append(max(int(state["step"]) for state in self.state.values()))
            return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim, "AdamW", Record)
        model.train(max_epochs=3, max_epochs_prune=2, min_consensus=0.0, enable_progress_bar=False, accelerator="cpu")
    assert steps == [*range(1, 13), *range(1, 9), *range(1, 9)]


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


@pytest.mark.parametrize(("n_good", "last"), [(0, 2), (1, 4), (9, 7)])
def test_training_goes_on_after_a_round_as_long_as_the_judge_says(n_good, last):
    begun, judged = [], []

    def judge(train, validation):
        judged.append((train.tolist(), validation.tolist()))
        return len(judged) <= n_good

    epoch, module = callbacks_of(Rounds([3, 2, 3], lambda train: begun.append(train.tolist()), judge), 8)
    assert epoch == last
    assert begun == [list(range(6))]
    assert judged == [(list(range(6)), [6, 7])] * len(judged)
    assert len(judged) == min(n_good + 1, 3)
    assert module.training
