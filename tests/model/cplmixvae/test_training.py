import warnings
from unittest.mock import patch

import mudata as md
import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from small import FEW, QUICK, fit_mixture, planted, two_modalities

import couplevi as cvi
from couplevi._arrays import dense
from couplevi.model import CplMixVAE, MixtureSettings
from couplevi.model.cplmixvae.communities import communities
from couplevi.model.cplmixvae.selection import Round
from couplevi.model.cplmixvae.training import (
    counts_of,
    epochs_of_rounds,
    training_data,
    warn_about_batches,
    warn_about_result,
)
from couplevi.preparation import fit_preparation
from couplevi.registry import Registered


def test_rounds_take_the_steps_of_the_settings_unless_epochs_are_given():
    settings = MixtureSettings(n_categories=3, n_steps=800, n_steps_prune=400)
    assert epochs_of_rounds(settings, None, None, 3, 2) == [267, 134, 134]
    assert epochs_of_rounds(settings, 10, None, 3, 1) == [10, 134]
    assert epochs_of_rounds(settings, None, 5, 800, 3) == [1, 5, 5, 5]
    assert epochs_of_rounds(settings, 7, 5, 3, 0) == [7]


def test_batches_of_five_cells_per_category_are_large_enough():
    warn_about_batches(40, 8)
    with pytest.warns(UserWarning, match="Batches of 39 cells are small for 8 categories"):
        warn_about_batches(39, 8)


def finished(n_categories, n_used=None, entropy=0.1, consensus=0.99):
    return Round(
        np.arange(n_categories), np.ones(n_categories), consensus, n_used or n_categories, entropy, np.zeros(2), {}
    )


@pytest.mark.parametrize(
    ("rounds", "selected", "agreed", "options", "messages"),
    [
        ([finished(4), finished(3)], 1, True, {}, []),
        ([finished(5), finished(4)], 0, True, {}, ["number of categories at the start, 5, is the one kept"]),
        ([finished(4)], 0, True, {}, []),  # of five communities, two were one
        ([finished(5), finished(4)], 0, True, {"pruned": False}, []),
        ([finished(4), finished(3, consensus=0.7)], 1, False, {}, ["consensus of 0.9: the highest, 0.70, is kept"]),
        ([finished(4, n_used=1)], 0, True, {}, ["categories have collapsed: 1 of 4 are used"]),
        ([finished(4, entropy=0.91)], 0, True, {}, ["91% of the largest entropy"]),
        ([finished(4, entropy=0.9)], 0, True, {}, []),
        ([finished(4)], 0, True, {"lost": ["x"]}, ["Labels that no cell trained on has: ['x']. They have no category"]),
        ([finished(4)], 0, True, {"failed": True}, ["The loss became NaN or infinite; the rounds before are kept"]),
    ],
)
def test_the_user_is_told_what_the_numbers_mean_and_nothing_else(rounds, selected, agreed, options, messages):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_about_result(
            rounds, selected, agreed, 0.9, **{"n_start": 5, "failed": False, "pruned": True, "lost": [], **options}
        )
    assert len(caught) == len(messages)
    for warning, message in zip(caught, messages, strict=True):
        assert message in str(warning.message)


def test_counts_are_trained_on_as_they_are_and_prepared_as_logarithms():
    mdata = cvi.data.count_clusters(n_obs=80, n_features={"rna": 30, "atac": 20}, seed=0)
    mdata = md.MuData({"rna": mdata["rna"].copy(), "atac": mdata["atac"].copy()})
    layers = {"atac": "log1p"}
    CplMixVAE.setup_mudata(mdata, modalities=("rna", "atac"), layers=layers)
    model = CplMixVAE(mdata, 3, likelihood={"rna": "nb"}, feature_weights="equal")
    given = Registered(mdata, {m: model.reader(m) for m in ("atac", "rna")}, {"correspondence": {}, "match": {}})
    dataset, order = training_data(model.module, given, {"rna": None, "atac": None}, model.settings_, np.arange(80))
    counts = dense(mdata["rna"].X)
    rows = dataset.rows["rna"][np.arange(80)]
    np.testing.assert_array_equal(rows[:, :-2], counts[order["rna"]])
    np.testing.assert_array_equal(rows[:, -1], order["rna"])
    np.testing.assert_allclose(rows[:, -2], np.log((counts > 0).mean(axis=1))[order["rna"]], rtol=1e-6)
    log = np.log1p(counts * 1e4 / counts.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(model.module.observation("rna").preparation.mean, log.mean(axis=0), rtol=1e-4)
    values = dense(mdata["atac"].layers["log1p"])
    np.testing.assert_allclose(model.module.observation("atac").preparation.mean, values.mean(axis=0), rtol=1e-4)
    prepared = dataset.rows["atac"][np.arange(80)][:, :-2]
    np.testing.assert_allclose(prepared.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(prepared, fit_preparation(values, None, "equal").transform(values[order["atac"]]))

    mdata["atac"].layers["log1p"] = mdata["atac"].layers["log1p"] * 2
    again, _ = training_data(
        model.module, given, None, model.settings_, np.arange(80)
    )  # the preparation is that of the first time
    mean = again.rows["atac"][np.arange(80)][:, :-2].mean(axis=0)
    scale = model.module.observation("atac").preparation.record()
    np.testing.assert_allclose(mean, scale.transform(2 * values).mean(axis=0), atol=1e-4)
    assert np.abs(mean).max() > 0.5


def test_values_are_checked_to_be_counts_where_they_are_meant_to_be():
    adata = planted(20, n_features=4)
    CplMixVAE.setup_anndata(adata)
    reader = CplMixVAE(adata, 2).reader("adata")
    with pytest.raises(ValueError, match="counts in `X`, whole numbers"):
        counts_of(adata.X, reader)
    np.testing.assert_array_equal(counts_of(np.abs(np.round(adata.X)), reader), np.abs(np.round(adata.X)))
    model = CplMixVAE(adata, 2, likelihood="zinb", batch_size=20)
    with pytest.raises(ValueError, match="counts in `X`, whole numbers"):
        model.train(**QUICK)


def test_small_batches_are_warned_about(adata):
    CplMixVAE.setup_anndata(adata)
    model = CplMixVAE(adata, 8, batch_size=39)
    with pytest.warns(UserWarning, match=r"Batches of 39 cells are small for 8 categories.*batch_size=40"):
        model.train(**QUICK)


def test_disagreement_names_the_remedy(adata):
    CplMixVAE.setup_anndata(adata)
    model = CplMixVAE(adata, 6, batch_size=128, coupling_weight=0.0)
    with pytest.warns(UserWarning, match="No number of categories reached a consensus of 1.*Lower `min_consensus`"):
        model.train(**{**FEW, "max_epochs": 2, "max_epochs_prune": 1}, min_consensus=1.0, min_categories=5)


def test_less_agreement_is_asked_of_modalities():
    mdata = two_modalities(share=1.0)
    other = mdata["b"].copy()
    other.obs_names = np.random.default_rng(0).permutation(other.obs_names)
    CplMixVAE.setup_mudata(shuffled := md.MuData({"a": mdata["a"].copy(), "b": other}), modalities=("a", "b"))
    model = CplMixVAE(shuffled, 4, batch_size=128, coupling_weight=0.0)
    with pytest.warns(UserWarning, match=r"No number of categories reached a consensus of 0\.8:"):
        model.train(**{**FEW, "max_epochs": 4, "max_epochs_prune": 1}, min_categories=3)


def test_collapse_is_diagnosed(adata, monkeypatch):
    CplMixVAE.setup_anndata(adata)
    model = CplMixVAE(adata, 4, batch_size=64)
    for arm in model.module.arms:
        torch.nn.init.zeros_(arm.category.nearest.weight)
        torch.nn.init.zeros_(arm.category.nearest.bias)
    monkeypatch.setattr(model.module, "start", lambda *args: None)
    with pytest.warns(UserWarning, match="categories have collapsed: .*100% of the largest entropy.*`coupling_weight`"):
        model.train(**QUICK, plan_kwargs={"lr": 1e-9})


def test_no_more_categories_are_kept_than_there_are(adata):
    """A lower limit above the number at the start: two of seven communities would share a category."""
    CplMixVAE.setup_anndata(adata)
    model = CplMixVAE(adata, 4, batch_size=128)
    asked = []
    with (
        patch("couplevi.model.cplmixvae.start.communities", side_effect=lambda *a: asked.append(a) or communities(*a)),
        pytest.warns(UserWarning, match="number of categories at the start, 4, is the one kept"),
    ):
        model.train(**{**FEW, "max_epochs": 2}, min_categories=7)
    [(_, n_most, n_fewest, *_)] = asked
    assert n_fewest == n_most == 4


def test_too_few_categories_at_the_start_are_noticed(adata):
    CplMixVAE.setup_anndata(adata)
    model = CplMixVAE(adata, 3, batch_size=128)
    with pytest.warns(UserWarning, match="number of categories at the start, 3, is the one kept"):
        model.train(**FEW)


@pytest.mark.parametrize("value", [-1.0, 0.5])
def test_counts_must_be_counts(value):
    adata = planted(50)
    adata.X = np.abs(adata.X).round()
    adata.X[3, 4] = value
    CplMixVAE.setup_anndata(adata)
    with pytest.raises(ValueError, match="Expected counts in `X`, whole numbers .*raw counts"):
        CplMixVAE(adata, 3, likelihood="nb").train(**QUICK)


@pytest.mark.filterwarnings("ignore:.*are constant")
def test_raw_counts_are_noticed():
    adata = cvi.data.count_clusters(n_obs=60, seed=0)["rna"]
    adata.X[0, 0] = 100
    CplMixVAE.setup_anndata(adata)
    with pytest.warns(UserWarning, match="`X` looks like raw counts, up to .*likelihood='nb'"):
        CplMixVAE(adata, 3, batch_size=48).train(**QUICK)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"lr": 1e-3}, TypeError, "Build the model with it: .*lr=..."),
        ({"checkpoint": "file"}, NotImplementedError, "`checkpoint`: CplMixVAE does not support it"),
        ({"early_stopping": True}, NotImplementedError, "`early_stopping`"),
        ({"plan_kwargs": {"learning_rate": 1e-9}}, TypeError, "learning_rate"),
        (
            {"datasplitter_kwargs": {"mixup_alpha": 1.0}},
            TypeError,
            "mixup_alpha",
        ),  # a mixture has no label, and no counts
    ],
)
def test_arguments_of_other_models(adata, arguments, error, message):
    CplMixVAE.setup_anndata(adata)
    with pytest.raises(error, match=message):
        CplMixVAE(adata, 3, batch_size=128).train(**{**QUICK, **arguments})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"min_categories": 1}, "`min_categories`"),
        ({"min_consensus": 1.5}, "`min_consensus`"),
        ({"train_size": 1.0, "prune": True}, "cells to validate on"),
        ({"train_size": 0.0}, "`train_size`"),
        ({"batch_size": 0}, "`batch_size`"),
        ({"max_epochs": 0}, "`max_epochs`"),
        ({"max_epochs_prune": -1}, "`max_epochs_prune`"),
    ],
)
def test_arguments_of_training_out_of_range(adata, arguments, message):
    CplMixVAE.setup_anndata(adata)
    with pytest.raises(ValueError, match=message):
        CplMixVAE(adata, 3).train(**{**QUICK, **arguments})


class Interrupt(Exception):
    """Raised by a callback in the midst of training."""


class InterruptAt(Callback):
    def __init__(self, epoch):
        self.epoch = epoch

    def on_train_epoch_start(self, trainer, module):
        if trainer.current_epoch == self.epoch:
            raise Interrupt


def test_interrupted_training_leaves_the_model_as_it_was(adata):
    model = fit_mixture(adata, 5)
    before, indices, history = model.predict_probabilities(), model.train_indices, model.history
    with pytest.raises(Interrupt):
        model.train(**{**FEW, "max_epochs": 3, "max_epochs_prune": 2, "callbacks": [InterruptAt(4)]}, min_consensus=0.0)
    pd.testing.assert_frame_equal(model.predict_probabilities(), before)
    assert model.module.active.all()
    np.testing.assert_array_equal(model.train_indices, indices)
    assert model.history is history or set(model.history) == set(history)


def test_first_training_can_be_repeated_after_an_interruption(adata):
    CplMixVAE.setup_anndata(adata)
    model = CplMixVAE(adata, 4, batch_size=128)
    few = {**FEW, "max_epochs": 3, "max_epochs_prune": 2, "min_consensus": 0.0, "max_connectivity": 1.0}
    with pytest.raises(Interrupt):
        model.train(**few, callbacks=[InterruptAt(4)])
    assert not model.is_trained_
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The number of categories at the start")
        model.train(**few)
    assert model.pruning_history["n_categories"].tolist() == [4, 3, 2]


def test_training_that_is_stopped_early_is_kept(adata):
    CplMixVAE.setup_anndata(adata)
    model = CplMixVAE(adata, 4, batch_size=128)
    model.train(**QUICK, max_steps=3)
    assert len(model.pruning_history) == 1
    assert model.predict().notna().all()


def test_nothing_is_kept_of_a_training_that_fails(adata):
    extreme = adata.copy()
    CplMixVAE.setup_anndata(extreme)
    model = CplMixVAE(extreme, 4, batch_size=128)
    with pytest.raises(RuntimeError, match="Expected a finite loss.*lower the learning rate"):
        model.train(**{**QUICK, "max_epochs": 10}, plan_kwargs={"lr": 1e20})
    assert not model.is_trained_
    with pytest.raises(RuntimeError, match="untrained"):
        model.predict()
