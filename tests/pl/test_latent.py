from itertools import combinations

import anndata as ad
import matplotlib.pyplot as plt
import mudata as md
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

import couplevi as cvi

pytestmark = pytest.mark.filterwarnings("ignore:var_names are not unique")


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


def crowded(n, length=60):
    """Three modalities of cells of `n` types with long names, around middles of their own."""
    rng = np.random.default_rng(0)
    codes = np.tile(np.arange(n), 4)
    obs = pd.DataFrame(index=[f"c{i}" for i in range(len(codes))])
    names = [f"{'intratelencephalic neuron of layer ' * 3}"[: length - 3] + f"{i:03d}" for i in range(n)]
    mdata = md.MuData({m: ad.AnnData(np.zeros((len(codes), 1)), obs=obs.copy()) for m in ("rna", "atac", "protein")})
    for m in mdata.mod:
        mdata[m].obsm["X_jamie_umap"] = rng.normal(size=(n, 2))[codes] + 0.02 * rng.normal(size=(len(codes), 2))
    mdata.obs["type"] = pd.Categorical.from_codes(codes, names)
    mdata.obs["score"] = rng.normal(size=len(codes))
    return mdata


def beside(ax):
    """Boxes of what explains the colours of a panel."""
    legend = ax.get_legend()
    return [*([legend.get_window_extent()] if legend else []), *(bar.get_tightbbox() for bar in ax.child_axes)]


def nothing_collides(axes):
    figure = axes[0].figure
    figure.draw_without_rendering()
    for ax in axes:
        for box in beside(ax):
            assert not any(box.overlaps(other.get_tightbbox(for_layout_only=True)) for other in axes if other is not ax)
            assert not box.overlaps(ax.get_window_extent())
            assert 0 <= box.x0 < box.x1 <= figure.bbox.width
            assert 0 <= box.y0 < box.y1 <= figure.bbox.height
    legends = [ax.get_legend() for ax in axes if ax.get_legend()]
    texts = [t.get_window_extent() for legend in legends for t in legend.get_texts()]
    assert not any(a.overlaps(b) for a, b in combinations(texts, 2))


@pytest.mark.parametrize("modalities", [["rna"], ["rna", "atac"], ["rna", "atac", "protein"]])
@pytest.mark.parametrize("n", [3, 20, 45])
def test_legends_have_room_of_their_own(n, modalities):
    mdata = crowded(n)
    for color in ("type", "score", ["type", "score"]):
        axes = cvi.pl.latent(mdata, color=color, modalities=modalities, show=False)
        nothing_collides(axes)
        if color != "score":
            entries = [text.get_text() for text in axes[len(modalities) - 1].get_legend().get_texts()]
            assert len(set(entries)) == n  # names that differ at their ends
            assert max(map(len, entries)) <= 44
            assert all(entry.endswith(f"{i:03d}") for i, entry in enumerate(entries))
        assert min(ax.get_window_extent().width for ax in axes) > 2.5 * axes[0].figure.dpi  # panels do not pay for it
        plt.close("all")


@pytest.mark.parametrize("n", [3, 20, 45])
@pytest.mark.parametrize("layout", [None, "constrained"])
def test_legends_have_room_beside_axes_that_were_given(n, layout):
    mdata = crowded(n)
    for color in ("type", "score"):
        given = plt.subplots(1, 3, figsize=(12, 3.6), layout=layout)[1]
        axes = cvi.pl.latent(mdata, color=color, modalities=["rna", "atac"], ax=given, show=False)
        nothing_collides(axes)
        if color == "type" and axes[1].get_legend() is None:  # no room: names are in the panels
            assert n > 3
            assert len(axes[0].texts) > 5
        elif color == "type":
            entries = [text.get_text() for text in axes[1].get_legend().get_texts()]
            assert all(entry.endswith(f"{i:03d}") for i, entry in enumerate(entries))
        plt.close("all")


def test_more_than_twenty_categories_are_numbered_in_each_panel_and_in_the_legend():
    few = cvi.pl.latent(crowded(20), color="type", modalities=["rna", "atac"], show=False)
    assert not any(ax.texts for ax in few)
    assert few[1].get_legend().get_texts()[3].get_text().startswith("intra")
    mdata = crowded(22)
    types = mdata.obs["type"].cat.categories
    absent = (mdata.obs["type"] == types[4]).to_numpy()
    mdata.mod["atac"] = mdata["atac"][~absent].copy()
    mdata.update()
    rna, atac, both = cvi.pl.latent(mdata, color="type", modalities=["rna", "atac"], show=False)
    legend = [text.get_text() for text in atac.get_legend().get_texts()]
    assert [entry.split("  ")[0] for entry in legend] == [str(i) for i in range(1, 23)]
    assert [text.get_text() for text in rna.texts] == [str(i) for i in range(1, 23)]
    assert [text.get_text() for text in atac.texts] == [str(i) for i in range(1, 23) if i != 5]
    assert not both.texts
    boxes = [text.get_window_extent() for text in rna.texts]
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    place = np.median(mdata["rna"].obsm["X_jamie_umap"][(mdata.obs["type"] == types[9]).to_numpy()], axis=0)
    off = rna.transData.transform(rna.texts[9].get_position()) - rna.transData.transform(place)
    assert np.linalg.norm(off) < 0.5 * rna.figure.dpi  # near the middle of its cells
    colors = dict(zip(legend, (line.get_color() for line in atac.get_legend().get_lines()), strict=True))
    assert [to_hex(text.get_bbox_patch().get_edgecolor()) for text in rna.texts] == list(colors.values())
