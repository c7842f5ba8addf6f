import numpy as np
import pytest
from anndata import AnnData
from matplotlib.colors import same_color

import couplevi as cvi
from couplevi.pl._figure import ORANGE


def points(panel, label):
    """Number of categories and score of the rounds of one kind."""
    found = [c for c in panel.collections if c.get_label() == label]
    return [tuple(xy) for c in found for xy in np.asarray(c.get_offsets())]


def pruned(**columns):
    """Data with a history of rounds of 6, 5, 4, ... categories."""
    n = len(columns["consensus"])
    rounds = {"n_categories": np.arange(6, 6 - n, -1), "min_consensus": np.full(n, 0.9), **columns}
    return AnnData(np.zeros((1, 1)), uns={"cplmixvae": {"pruning": {k: np.asarray(v) for k, v in rounds.items()}}})


@pytest.fixture
def four():
    """The second round has the best bound that agrees, the third is within its error; the first does not agree."""
    return pruned(
        consensus=[0.8, 0.95, 0.9, 1],
        elbo_shortfall=[-2.0, 0, 0.5, 3],
        elbo_shortfall_se=[1.0, 0, 0.6, 1],
        selected=[False, False, True, False],
    )


def test_each_round_and_the_kept_one_are_shown(fitted_mixture):
    model, adata = fitted_mixture
    axes = cvi.pl.pruning(adata, show=False)
    history = model.pruning_history
    np.testing.assert_array_equal(axes[0].lines[0].get_xdata(), history["n_categories"])
    np.testing.assert_array_equal(axes[0].lines[0].get_ydata(), history["consensus"])
    np.testing.assert_array_equal(axes[1].lines[0].get_ydata(), -history["elbo_shortfall"])
    assert set(axes[0].lines[1].get_ydata()) == {0.5}  # what was asked for
    kept = len(model.categories_)
    assert axes[0].get_title() == f"{kept} categories kept"
    assert [x for x, _ in points(axes[0], "kept")] == [x for x, _ in points(axes[1], "kept")] == [kept]
    left, right = axes[0].get_xlim()
    assert left > right  # pruning goes to the right
    assert axes[0].get_ylim()[0] <= 0.5  # differences of a hundredth look small


def test_the_limits_that_decided_are_drawn_and_the_kept_round_keeps_them(four):
    consensus, bound = cvi.pl.pruning(four, show=False)
    [limit] = [line for line in consensus.lines if line.get_linestyle() == "--"]
    assert set(limit.get_ydata()) == {0.9}
    assert points(consensus, "reaches the consensus") == [(5, 0.95), (4, 0.9), (3, 1)]
    assert points(consensus, "does not reach it") == [(6, 0.8)]
    assert points(bound, "kept") == [(4, -0.5)]
    best = next(line for line in bound.lines if line.get_linestyle() == "--")
    assert set(best.get_ydata()) == {0}
    [bars] = [c for c in bound.collections if hasattr(c, "get_segments")]
    upper = {x: y for (x, _), (_, y) in bars.get_segments()}
    reach = {x for x, _ in points(bound, "reaches the consensus") if upper[x] >= 0}
    assert min(reach) == 4  # the fewest categories that agree and whose bar reaches the best bound
    [ring] = [c for c in bound.collections if c.get_label() == "kept"]
    assert same_color(ring.get_edgecolor()[0], ORANGE)
    assert "consensus 0.9" in bound.get_legend().get_texts()[-1].get_text()


def test_texts_have_room(four, overlapping):
    axes = cvi.pl.pruning(four, show=False)
    texts = axes[1].get_legend().get_texts()
    assert not overlapping(axes[0].title, axes[1].yaxis.label, *texts, *axes[0].get_xticklabels())
    assert axes[1].bbox.x1 < min(text.get_window_extent().x0 for text in texts)
    assert max(text.get_window_extent().x1 for text in texts) <= axes[0].figure.bbox.width


def test_one_round_is_enough():
    adata = pruned(consensus=[0.97], elbo_shortfall=[0.0], elbo_shortfall_se=[0.0], selected=[True])
    axes = cvi.pl.pruning(adata, show=False)
    for panel in axes:
        panel.figure.draw_without_rendering()
        assert [t.get_text() for t in panel.get_xticklabels()] == ["6"]
        assert len(points(panel, "kept")) == len(points(panel, "reaches the consensus")) == 1
        assert not points(panel, "does not reach it")
    assert "does not reach it" not in [t.get_text() for t in axes[1].get_legend().get_texts()]


def test_a_single_arm_has_no_consensus():
    adata = cvi.data.count_clusters(n_obs=100)["rna"]
    quick = {"max_epochs": 2, "max_epochs_prune": 1, "min_categories": 3, "enable_progress_bar": False}
    cvi.tl.cplmixvae(adata, n_categories=4, layers="log1p", n_arms=1, batch_size=40, train_kwargs=quick)
    axes = cvi.pl.pruning(adata, show=False)
    assert np.isnan(axes[0].lines[0].get_ydata().astype(float)).all()
    assert [text.get_text() for text in axes[0].texts] == ["a single arm: no consensus"]


def test_data_without_a_mixture():
    adata = cvi.data.count_clusters(n_obs=50)["rna"]
    with pytest.raises(KeyError, match="Run `cvi.tl.cplmixvae"):
        cvi.pl.pruning(adata, show=False)
