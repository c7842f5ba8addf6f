import matplotlib.pyplot as plt
import mudata as md
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

import couplevi as cvi


def bars(figure):
    """Colour bars, each inside the axes that it explains."""
    return [bar for ax in figure.axes for bar in ax.child_axes]


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
    [bar] = bars(figure)
    assert bar.get_ylabel() == "pseudotime"
    figure.draw_without_rendering()
    gap = bar.get_window_extent().x0 - figure.axes[1].get_window_extent().x1
    assert 0 < gap < 0.2 * figure.dpi  # in inches
    assert cvi.pl.latent(placed, show=False)[0].get_legend() is None


def test_missing_labels_are_grey(placed):
    mdata = placed.copy()
    mdata.obs["label"] = mdata.obs["cell_type"].astype(object).where(mdata.obs["cell_type"] != "A")
    ax = cvi.pl.latent(mdata, color="label", show=False)[0]
    grey = ax.collections[0]
    n_missing = int(mdata.obs["label"].reindex(mdata["rna"].obs_names).isna().sum())
    assert len(grey.get_offsets()) == n_missing > 0


def test_each_further_colour_adds_a_row_of_modalities_alone(placed):
    axes = cvi.pl.latent(placed, color=["cell_type", "pseudotime"], show=False)
    titles = ["rna, cell_type", "ephys, cell_type", "both", "rna, pseudotime", "ephys, pseudotime"]
    assert [ax.get_title() for ax in axes] == titles
    places = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    assert [(ax.get_subplotspec().rowspan[0], ax.get_subplotspec().colspan[0]) for ax in axes] == places
    for ax, m in zip((axes[0], axes[1], axes[3], axes[4]), ("rna", "ephys") * 2, strict=True):
        assert len(offsets(ax)) == placed[m].n_obs
    assert len(offsets(axes[2])) == placed["rna"].n_obs + placed["ephys"].n_obs
    assert len({ax.get_xlim() for ax in axes}) == len({ax.get_ylim() for ax in axes}) == 1
    assert len(axes[1].get_legend().get_texts()) == 3
    assert axes[4].get_legend() is None
    assert [bar.get_ylabel() for bar in bars(axes[0].figure)] == ["pseudotime"]
    assert [ax for ax in axes[0].figure.axes if ax.axison] == axes  # the panel of all modalities is not there again
    alone = cvi.pl.latent(placed, color=["cell_type"], show=False)
    assert [ax.get_title() for ax in alone] == ["rna", "ephys", "both"]


def test_several_colours_on_given_axes(placed):
    given = list(plt.subplots(1, 5)[1])
    axes = cvi.pl.latent(placed, color=["cell_type", "pseudotime"], ax=given, show=False)
    assert axes == given
    assert [ax.get_title() for ax in axes][2:4] == ["both", "rna, pseudotime"]
    with pytest.raises(ValueError, match="5 axes in `ax`, found 6"):
        cvi.pl.latent(placed, color=["cell_type", "pseudotime"], ax=plt.subplots(2, 3)[1])


def test_categories_have_their_order_and_the_colours_of_scanpy(placed):
    mdata = placed.copy()
    mdata.obs["cell_type"] = mdata.obs["cell_type"].cat.set_categories(["C", "absent", "A", "B"])
    mdata.uns["cell_type_colors"] = ["#000000", "#0000ff", "#ff0000", "#00ff00"]
    ax = cvi.pl.latent(mdata, color="cell_type", show=False)[1]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["C", "A", "B"]
    points = next(c for c in ax.collections if len(c.get_offsets()) == mdata["ephys"].n_obs)
    drawn = {
        label: to_hex(c)
        for label, c in zip(
            mdata.obs["cell_type"].reindex(mdata["ephys"].obs_names), points.get_facecolor(), strict=True
        )
    }
    assert drawn == {"C": "#000000", "A": "#ff0000", "B": "#00ff00"}


def test_a_feature_colours_the_cells_in_which_it_was_measured(placed):
    axes = cvi.pl.latent(placed, color="rna3", layers={"rna": "log1p"}, show=False)
    value = pd.Series(placed["rna"][:, "rna3"].layers["log1p"].ravel(), placed["rna"].obs_names)
    for ax, m in zip(axes, ("rna", "ephys"), strict=False):
        grey, points = ax.collections[:2]
        here = value.reindex(placed[m].obs_names)
        missing = placed[m].obsm["X_jamie_umap"][here.isna()]
        np.testing.assert_allclose(grey.get_offsets(), missing.reshape(-1, 2), rtol=1e-6)
        np.testing.assert_allclose(points.get_array(), np.sort(here.dropna()))  # the largest on top
        place = placed[m].obsm["X_jamie_umap"][here.argmax()]
        np.testing.assert_allclose(points.get_offsets()[-1], place, rtol=1e-6)
        assert np.allclose(points.get_clim(), (value.min(), value.max()))


def test_disjoint_cells_are_coloured_by_the_columns_of_their_modalities():
    mdata = cvi.data.branching_manifold(n_obs=40, n_features={"rna": 30, "ephys": 8}, paired=0, seed=1)
    types = mdata.obs.pop("cell_type")
    for i, m in enumerate(mdata.mod):
        mdata[m].obsm["X_jamie_umap"] = np.random.default_rng(i).normal(size=(mdata[m].n_obs, 2))
        mdata[m].obs["cell_type"] = types.reindex(mdata[m].obs_names)
    mdata.uns["jamie"] = {"modalities": list(mdata.mod)}
    axes = cvi.pl.latent(mdata, color="cell_type", show=False)
    for ax, m in zip(axes, mdata.mod, strict=False):
        assert len(ax.collections[1].get_offsets()) == mdata[m].n_obs
    only = cvi.pl.latent(mdata, color="rna:cell_type", show=False)
    assert len(only[0].collections[1].get_offsets()) == mdata["rna"].n_obs
    assert len(only[1].collections[0].get_offsets()) == mdata["ephys"].n_obs  # grey


def test_values_that_are_not_finite_are_grey(placed):
    mdata = placed.copy()
    mdata.obs["score"] = pd.Series(range(60), mdata.obs_names, dtype="Int64")
    mdata.obs.loc[mdata["rna"].obs_names[0], "score"] = pd.NA
    mdata.obs["ratio"] = np.where(np.arange(60) == mdata.obs_names.get_loc(mdata["rna"].obs_names[1]), np.inf, 1.0)
    for color, cell in (("score", 0), ("ratio", 1)):
        ax = cvi.pl.latent(mdata, color=color, show=False)[0]
        place = mdata["rna"].obsm["X_jamie_umap"][[cell]]
        np.testing.assert_allclose(ax.collections[0].get_offsets(), place, rtol=1e-6)
    mdata.obs["score"] = np.nan
    figure = cvi.pl.latent(mdata, color="score", return_fig=True)
    assert not bars(figure)  # nothing that one could explain


@pytest.mark.filterwarnings("ignore:var_names are not unique")
def test_a_row_has_at_most_four_panels_unless_it_is_one_of_several(placed):
    mdata = md.MuData({f"m{i}": placed["rna"].copy() for i in range(5)})
    mdata.obs["cell_type"] = placed.obs["cell_type"].reindex(mdata.obs_names)
    shown = {"modalities": list(mdata.mod), "show": False}
    assert cvi.pl.latent(mdata, **shown)[0].get_gridspec().get_geometry() == (2, 4)
    axes = cvi.pl.latent(mdata, color=["cell_type", "cell_type"], **shown)
    assert axes[0].get_gridspec().get_geometry() == (2, 6)


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
        ({"color": []}, ValueError, "something to show"),
        (
            {"color": ["cell_type", "nope"]},
            KeyError,
            "mdata.obs\\['nope'\\]`, or 'nope' among the columns and the features",
        ),
        ({"color": "rna3", "layers": {"rna": "no"}}, KeyError, "mdata\\['rna'\\].layers\\['no'\\]"),
    ],
)
def test_bad_input(placed, arguments, error, message):
    with pytest.raises(error, match=message):
        cvi.pl.latent(placed, **arguments)


def test_another_number_of_axes_is_refused(placed):
    with pytest.raises(ValueError, match="3 axes in `ax`"):
        cvi.pl.latent(placed, ax=plt.subplots()[1])
