import matplotlib.pyplot as plt
import numpy as np
import pytest

import couplevi as cvi


@pytest.fixture(scope="module")
def fitted_mixture():
    adata = cvi.data.count_clusters(n_obs=200, seed=0)["rna"]
    quick = {"max_epochs": 20, "max_epochs_prune": 5, "enable_progress_bar": False, "accelerator": "cpu"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *args, **kwargs: None)
        model = cvi.tl.cplmixvae(
            adata, n_categories=5, layers="log1p", seed=0, train_kwargs={**quick, "min_consensus": 0.5}, batch_size=128
        )
    return model, adata


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_consensus_shows_the_matrix(fitted_mixture):
    model, adata = fitted_mixture
    ax = cvi.pl.consensus(adata, show=False)
    shown = np.asarray(ax.images[0].get_array())
    np.testing.assert_allclose(shown, model.consensus_matrix())
    assert ax.get_title() == f"mean consensus {np.nanmean(shown.diagonal()):.3f}"


def test_consensus_labels_at_most_20_of_many_categories(fitted_mixture):
    adata = fitted_mixture[1].copy()
    adata.uns["cplmixvae"]["consensus"] = np.eye(90)
    ax = cvi.pl.consensus(adata, show=False)
    labels = [t.get_text() for t in ax.get_xticklabels()]
    assert labels[:3] == ["0", "5", "10"]
    assert len(labels) <= 20


def test_pruning_shows_each_round_and_the_kept_one(fitted_mixture):
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


def test_pruning_of_a_single_arm_has_no_consensus():
    adata = cvi.data.count_clusters(n_obs=100)["rna"]
    quick = {"max_epochs": 2, "max_epochs_prune": 1, "min_categories": 3, "enable_progress_bar": False}
    cvi.tl.cplmixvae(adata, n_categories=4, layers="log1p", n_arms=1, batch_size=40, train_kwargs=quick)
    axes = cvi.pl.pruning(adata, show=False)
    assert np.isnan(axes[0].lines[0].get_ydata().astype(float)).all()


def test_traversal_shows_the_change_from_the_middle(fitted_mixture):
    model, _ = fitted_mixture
    path = model.traverse_state("0", dimension=1, n_steps=7)
    ax = cvi.pl.state_traversal(model, "0", dimension=1, n_steps=7, n_features=6, show=False)
    names = [t.get_text() for t in ax.get_yticklabels()]
    change = path - path.iloc[3]
    np.testing.assert_allclose(ax.images[0].get_array(), change[names].T, rtol=1e-6)
    total = (path.iloc[-1] - path.iloc[0]).abs()
    assert set(names) == set(total.sort_values().index[-6:])
    assert ax.images[0].get_clim()[1] == pytest.approx(change[names].abs().to_numpy().max())


def test_traversal_of_chosen_features(fitted_mixture):
    model, adata = fitted_mixture
    ax = cvi.pl.state_traversal(model, "1", features=list(adata.var_names[[3, 5]]), show=False)
    assert {t.get_text() for t in ax.get_yticklabels()} == set(adata.var_names[[3, 5]])
    with pytest.raises(KeyError, match="unknown ones: \\['no such gene'\\]"):
        cvi.pl.state_traversal(model, "1", features="no such gene", show=False)
    with pytest.raises(ValueError, match="`n_features`"):
        cvi.pl.state_traversal(model, "1", n_features=0, show=False)


@pytest.mark.parametrize("figure", [cvi.pl.consensus, cvi.pl.pruning])
def test_data_without_a_mixture(figure):
    adata = cvi.data.count_clusters(n_obs=50)["rna"]
    with pytest.raises(KeyError, match="Run `cvi.tl.cplmixvae"):
        figure(adata, show=False)
