import numpy as np
import pandas as pd
import pytest

import couplevi as cvi


def test_the_change_from_the_middle_is_shown(fitted_mixture):
    model, _ = fitted_mixture
    path = model.traverse_state("0", dimension=1, n_steps=7)
    ax = cvi.pl.state_traversal(model, "0", dimension=1, n_steps=7, n_features=6, show=False)
    names = [t.get_text() for t in ax.get_yticklabels()]
    change = path - path.iloc[3]
    np.testing.assert_allclose(ax.images[0].get_array(), change[names].T, rtol=1e-6)
    total = (path.iloc[-1] - path.iloc[0]).abs()
    assert set(names) == set(total.sort_values().index[-6:])
    assert ax.images[0].get_clim()[1] == pytest.approx(change[names].abs().to_numpy().max())


def test_chosen_features_are_shown(fitted_mixture):
    model, adata = fitted_mixture
    ax = cvi.pl.state_traversal(model, "1", features=list(adata.var_names[[3, 5]]), show=False)
    assert {t.get_text() for t in ax.get_yticklabels()} == set(adata.var_names[[3, 5]])
    with pytest.raises(KeyError, match="unknown ones: \\['no such gene'\\]"):
        cvi.pl.state_traversal(model, "1", features="no such gene", show=False)
    with pytest.raises(ValueError, match="`n_features`"):
        cvi.pl.state_traversal(model, "1", n_features=0, show=False)


def test_a_single_feature_has_room_for_its_texts(fitted_mixture, overlapping):
    ax = cvi.pl.state_traversal(fitted_mixture[0], "0", n_features=1, show=False)
    label = ax.figure.axes[1].yaxis.label
    assert not overlapping(ax.title, label)
    assert 0 <= label.get_window_extent().y0 < label.get_window_extent().y1 <= ax.figure.bbox.height


def test_any_model_that_traverses_will_do():
    """Features are sorted by what they change from the first to the last step, and a path without length is drawn."""

    class Model:
        def __init__(self, states):
            self.states = states

        def traverse_state(self, category, **options):
            assert (category, options["arm"], options["modality"]) == ("7", 1, "rna")
            steps = np.linspace(-1, 1, options["n_steps"])
            return pd.DataFrame({"down": -steps, "up": 2 * steps}, index=self.states)

    ax = cvi.pl.state_traversal(Model([-2.0, 0.0, 2.0]), "7", modality="rna", arm=1, n_steps=3, show=False)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["up", "down"]
    np.testing.assert_array_equal(ax.images[0].get_array(), [[-2, 0, 2], [1, 0, -1]])
    assert tuple(ax.images[0].get_extent()) == (-3, 3, 1.5, -0.5)
    still = cvi.pl.state_traversal(Model([0.5] * 3), "7", modality="rna", arm=1, n_steps=3, show=False)
    left, right, *_ = still.images[0].get_extent()
    assert left < 0.5 < right
