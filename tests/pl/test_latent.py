import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

import couplevi as cvi


def offsets(ax):
    return np.concatenate([np.asarray(c.get_offsets()) for c in ax.collections if len(c.get_offsets())])


def test_each_modality_and_both_are_shown_on_equal_axes(placed):
    axes = cvi.pl.latent(placed, color="cell_type", show=False)
    assert [ax.get_title() for ax in axes] == ["rna", "ephys", "both"]
    for ax, m in zip(axes, ("rna", "ephys"), strict=False):
        np.testing.assert_allclose(offsets(ax), placed[m].obsm["X_jamie_umap"], rtol=1e-6)
    assert len(offsets(axes[2])) == placed["rna"].n_obs + placed["ephys"].n_obs
    assert len({ax.get_xlim() for ax in axes}) == 1
    assert len({ax.get_ylim() for ax in axes}) == 1
    for limits, coordinate in zip((axes[0].get_xlim(), axes[0].get_ylim()), offsets(axes[2]).T, strict=True):
        margin = 0.1 * np.ptp(coordinate)
        np.testing.assert_allclose(limits, (coordinate.min(), coordinate.max()), atol=margin)
        assert limits[0] < coordinate.min() < coordinate.max() < limits[1]


def test_a_category_has_one_colour_in_all_panels(placed):
    axes = cvi.pl.latent(placed, color="cell_type", show=False)
    colors = []
    for ax, m in zip(axes, ("rna", "ephys"), strict=False):
        points = next(c for c in ax.collections if len(c.get_offsets()) == placed[m].n_obs)
        labels = placed.obs["cell_type"].reindex(placed[m].obs_names)
        colors.append({label: tuple(points.get_facecolor()[i]) for i, label in enumerate(labels)})
    assert colors[0] == colors[1]
    assert len(set(colors[0].values())) == 3


def test_numbers_and_no_colour(placed):
    figure = cvi.pl.latent(placed, color="pseudotime", return_fig=True)
    assert isinstance(figure, Figure)
    assert any(ax.get_ylabel() == "pseudotime" for ax in figure.axes)
    assert cvi.pl.latent(placed, show=False)[0].get_legend() is None


def test_missing_labels_are_grey(placed):
    mdata = placed.copy()
    mdata.obs["label"] = mdata.obs["cell_type"].astype(object).where(mdata.obs["cell_type"] != "A")
    ax = cvi.pl.latent(mdata, color="label", show=False)[0]
    grey = ax.collections[0]
    n_missing = int(mdata.obs["label"].reindex(mdata["rna"].obs_names).isna().sum())
    assert len(grey.get_offsets()) == n_missing > 0


def test_no_label_at_all_needs_no_legend(placed):
    mdata = placed.copy()
    mdata.obs["empty"] = None
    assert cvi.pl.latent(mdata, color="empty", show=False)[0].get_legend() is None


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"color": "nope"}, KeyError, "mdata.obs\\['nope'\\]"),
        ({"modalities": ["nope"]}, KeyError, "one of \\['rna', 'ephys'\\]"),
        ({"key": "other"}, KeyError, "Run `cvi.tl.umap"),
    ],
)
def test_bad_input(placed, arguments, error, message):
    with pytest.raises(error, match=message):
        cvi.pl.latent(placed, **arguments)


def test_another_number_of_axes_is_refused(placed):
    with pytest.raises(ValueError, match="3 axes in `ax`"):
        cvi.pl.latent(placed, ax=plt.subplots()[1])
