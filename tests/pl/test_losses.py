import numpy as np
import pytest

import couplevi as cvi


def test_the_history_is_drawn(fitted, quick):
    model, _ = fitted
    axes = cvi.pl.losses(model, terms=["loss", "kl"], show=False)
    np.testing.assert_allclose(axes[0].lines[0].get_ydata(), model.history["train_loss"]["train_loss"])
    assert axes[1].get_title() == "kl"
    alone = cvi.data.branching_manifold(n_obs=40, n_features={"rna": 30, "ephys": 8}, seed=1)
    model = cvi.tl.jamie(alone, modalities=("rna", "ephys"), train_kwargs=quick)  # all are pairs: nothing is inferred
    shown = {ax.get_title() for ax in cvi.pl.losses(model, show=False)}
    assert "alignment" not in shown  # zero throughout
    assert {"loss", "combination", "contrastive"} <= shown


def test_a_known_term_of_a_trained_model_is_needed(fitted, mdata):
    with pytest.raises(KeyError, match="a term in `model.history`"):
        cvi.pl.losses(fitted[0], terms=["nope"])
    with pytest.raises(ValueError, match="something to show, found an empty list"):
        cvi.pl.losses(fitted[0], terms=[], show=False)
    cvi.model.JAMIE.setup_mudata(mdata, modalities=("rna", "ephys"))
    with pytest.raises(RuntimeError, match="Call `model.train"):
        cvi.pl.losses(cvi.model.JAMIE(mdata))


def test_one_name_is_enough(fitted):
    assert cvi.pl.losses(fitted[0], terms="combination", show=False).get_title() == "combination"
