import numpy as np
import pytest
import torch

import couplevi as cvi
from couplevi.model._length import epochs_of
from couplevi.model.jae.settings import JAE_PRESETS, JAESettings
from couplevi.model.jae.training import JAETrainingPlan

QUICK = {"enable_progress_bar": False, "accelerator": "cpu"}


@pytest.mark.parametrize(
    ("n_cells", "batch_size", "train_size", "epochs"),
    [
        (100, None, 1.0, 800),
        (1280, None, 1.0, 80),
        (12_800, None, 1.0, 20),
        (1_280_000, None, 1.0, 1),
        (100, 50, 0.5, 800),
    ],
)
def test_steps_are_those_of_the_settings_or_twenty_passes_up_to_a_limit(n_cells, batch_size, train_size, epochs):
    assert epochs_of(JAESettings(), n_cells, train_size, batch_size) == epochs
    assert epochs_of(JAE_PRESETS["paper"], n_cells, train_size, batch_size) == 500


def labelled(n=120):
    mdata = cvi.data.count_clusters(n_obs=n, n_clusters=3, n_features={"rna": 40, "atac": 20}, seed=0)
    mdata.obs["known"] = mdata.obs["cell_type"].astype(str).where(np.arange(n) % 2 == 0)
    cvi.model.JAE.setup_mudata(mdata, modalities=("rna", "atac"), labels_key="known")
    torch.manual_seed(0)
    return cvi.model.JAE(mdata, encoder_widths=(16,))


def test_guesses_begin_at_their_share_of_the_steps():
    plan = JAETrainingPlan(labelled().module, guess_start=0.5)
    plan._n_steps = 10
    told = []
    for step in range(10):
        plan.__class__ = type("Plan", (JAETrainingPlan,), {"global_step": step})
        told.append(plan.scheduled()["guess"])
    assert told == [0.0] * 5 + [1.0] * 5
    assert plan.final() == {"guess": 0.0}


@pytest.mark.parametrize("settings", [{"guess_threshold": 1.0}, {"guess_start": 1.0}])
def test_without_guesses_there_are_none(settings):
    model = labelled()
    module = cvi.model.JAE(model.adata, encoder_widths=(16,), **settings)
    module.train(max_epochs=4, **QUICK)
    assert module.history["guess"].to_numpy().max() == 0
    model.train(max_epochs=4, **QUICK)
    assert model.history["guess"].to_numpy().ravel().tolist() == [0, 1, 1, 1]


def test_history_holds_the_terms_and_no_bound():
    model = labelled()
    model.train(max_epochs=3, train_size=0.8, early_stopping=False, **QUICK)
    assert {"train_loss", "validation_loss", "label_train", "label_validation"} <= set(model.history)
    assert not [name for name in model.history if "elbo" in name or "kl" in name]


def test_the_paper_stops_after_five_epochs_without_a_better_validation_loss():
    model = labelled()
    paper = cvi.model.JAE(model.adata, "paper", encoder_widths=(16,), lr=0.05)
    paper.train(train_size=0.8, **QUICK)
    losses = paper.history["validation_loss"].to_numpy().ravel()
    assert len(losses) < 500
    assert len(losses) - 1 - losses.argmin() == 5


def test_statistics_of_the_normalisation_stay_where_that_is_asked():
    model = labelled()
    model.train(max_epochs=3, **QUICK)
    name = "hidden.second.0.1.running_mean"
    before = model.module.state_dict()[name].clone()
    weight = model.module.output.weight.detach().clone()
    model.finetune(max_epochs=1, lr=1e-3, adapt_statistics=False, **QUICK)
    torch.testing.assert_close(model.module.state_dict()[name], before, rtol=0, atol=0)
    assert not torch.equal(model.module.output.weight, weight)
    model.finetune(max_epochs=1, **QUICK)
    assert not torch.equal(model.module.state_dict()[name], before)
