import numpy as np
import pytest

import couplevi as cvi


def test_each_round_and_the_kept_one_are_shown(fitted_mixture):
    model, adata = fitted_mixture
    axes = cvi.pl.pruning(adata, show=False)
    history = model.pruning_history
    np.testing.assert_array_equal(axes[0].lines[0].get_xdata(), history["n_categories"])
    np.testing.assert_array_equal(axes[0].lines[0].get_ydata(), history["consensus"])
    np.testing.assert_array_equal(axes[1].lines[0].get_ydata(), -history["elbo_shortfall"])
    kept = len(model.categories_)
    assert axes[0].get_title() == f"{kept} categories kept"
    assert list(axes[0].lines[-1].get_xdata()) == [kept, kept]
    left, right = axes[0].get_xlim()
    assert left > right  # pruning goes to the right
    assert axes[0].get_ylim()[0] <= 0.5  # differences of a hundredth look small


def test_a_single_arm_has_no_consensus():
    adata = cvi.data.count_clusters(n_obs=100)["rna"]
    quick = {"max_epochs": 2, "max_epochs_prune": 1, "min_categories": 3, "enable_progress_bar": False}
    cvi.tl.cplmixvae(adata, n_categories=4, layers="log1p", n_arms=1, batch_size=40, train_kwargs=quick)
    axes = cvi.pl.pruning(adata, show=False)
    assert np.isnan(axes[0].lines[0].get_ydata().astype(float)).all()


def test_data_without_a_mixture():
    adata = cvi.data.count_clusters(n_obs=50)["rna"]
    with pytest.raises(KeyError, match="Run `cvi.tl.cplmixvae"):
        cvi.pl.pruning(adata, show=False)
