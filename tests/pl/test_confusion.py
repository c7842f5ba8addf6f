import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from mudata import MuData

import couplevi as cvi


def adata_of(labels, predicted):
    obs = pd.DataFrame({"type": labels, "guess": predicted}, index=[f"c{i}" for i in range(len(labels))])
    return AnnData(np.zeros((len(obs), 1)), obs=obs)


def draw(data, **options):
    return cvi.pl.confusion(data, labels="type", predicted="guess", show=False, **options)


def ticks(axis):
    return [tick.get_text() for tick in axis.get_ticklabels()]


def shown(ax):
    """The matrix that is drawn, by the names of its rows and columns."""
    return pd.DataFrame(np.asarray(ax.images[0].get_array()), ticks(ax.yaxis), ticks(ax.xaxis))


def numbers(ax):
    """Numbers written into cells, by row and column."""
    return {text.get_position()[::-1]: text for text in ax.texts if not hasattr(text, "xyann")}


def beside(ax):
    return [text for text in ax.texts if hasattr(text, "xyann") and text.get_visible()]


def many(n_types, n_obs=3_000, seed=0):
    rng = np.random.default_rng(seed)
    truth = np.concatenate([np.arange(n_types), rng.integers(0, n_types, n_obs - n_types)])
    guess = np.where(rng.random(n_obs) < 0.7, truth, rng.integers(0, n_types, n_obs))
    names = np.array([f"a cell type {i:02d}" for i in range(n_types)])
    return adata_of(names[truth], names[guess])


SMALL = adata_of(list("AAAABBC"), list("AABBBBB"))


def test_shares_of_each_row_and_the_number_of_its_cells():
    ax = draw(SMALL)
    want = pd.DataFrame([[50.0, 50, 0], [0, 100, 0], [0, 100, 0]], list("ABC"), list("ABC"), dtype=float)
    pd.testing.assert_frame_equal(shown(ax), want)
    assert {place: text.get_text() for place, text in numbers(ax).items()} == {
        (0, 0): "50",
        (0, 1): "50",
        (1, 1): "100",
        (2, 1): "100",
    }
    assert [text.get_text() for text in beside(ax)] == ["n = 4", "2", "1"]
    assert [text.xy[1] for text in beside(ax)] == [0, 1, 2]
    assert ax.get_title() == "accuracy 0.57, 7 cells"
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("known: type", "predicted: guess")
    assert ax.images[0].get_clim() == (0, 100)
    assert ax.child_axes[0].get_ylabel() == "cells of the row (%)"


def test_numbers_of_cells():
    ax = draw(SMALL, normalize=False)
    np.testing.assert_array_equal(shown(ax), [[2, 2, 0], [0, 2, 0], [0, 1, 0]])
    assert numbers(ax)[2, 1].get_text() == "1"
    assert ax.images[0].get_clim() == (0, 2)
    assert ax.child_axes[0].get_ylabel() == "cells"


def test_a_share_that_rounds_to_nothing_is_not_written():
    ax = draw(adata_of(["A"] * 1000 + ["B"], ["A"] * 996 + ["B"] * 5))
    assert set(numbers(ax)) == {(0, 0), (1, 1)}
    assert shown(ax).loc["A", "B"] == pytest.approx(0.4)


def test_rows_have_the_order_of_categories_or_of_sizes():
    labels = pd.Categorical(list("AAABBC"), categories=["C", "B", "never", "A"])
    adata = adata_of(labels, list("AAABBC"))
    ax = draw(adata)
    assert ticks(ax.yaxis) == ticks(ax.xaxis) == ["C", "B", "A"]
    ax = draw(adata, order="size")
    assert ticks(ax.yaxis) == ticks(ax.xaxis) == ["A", "B", "C"]
    assert ticks(draw(adata_of([10, 9, 10], [10, 9, 9])).yaxis) == ["9", "10"]


def test_classes_that_are_no_label_follow_and_unknown_is_last():
    ax = draw(adata_of(list("AABBCC"), ["A", "Unknown", "Z", "B", "Y", "unknown"]))
    assert ticks(ax.yaxis) == ["A", "B", "C"]
    assert ticks(ax.xaxis) == ["A", "B", "C", "Z", "Y", "unknown"]  # C is never predicted; Z is mostly of B, Y of C
    assert shown(ax).loc["A", "unknown"] == shown(ax).loc["C", "unknown"] == 50
    assert ax.get_title() == "accuracy 0.33, 6 cells"


def test_clusters_are_near_the_row_that_most_of_their_cells_are_of():
    labels = ["A"] * 4 + ["B"] * 4 + ["C"] * 4
    ax = draw(adata_of(labels, [2, 2, 2, 0, 3, 3, 3, 3, 0, 0, 1, "unknown"]))
    assert ticks(ax.xaxis) == ["2", "3", "0", "1", "unknown"]
    assert ax.get_title() == "12 cells"  # without an accuracy: names are not the same
    same = draw(adata_of(labels, ["A"] * 4 + ["C"] * 8))
    assert same.get_title() == "accuracy 0.67, 12 cells"


def test_names_are_the_same_even_if_chosen_cells_have_one_label():
    adata = adata_of(list("AAABC"), list("ABCBC"))
    ax = draw(adata, cells=["c0", "c1", "c2"])
    assert ax.get_title() == "accuracy 0.33, 3 cells"
    assert ticks(ax.xaxis) == ["A", "B", "C"]
    assert draw(adata_of(["A", "B"], ["unknown"] * 2)).get_title() == "accuracy 0.00, 2 cells"


def test_cells_without_a_label_or_a_prediction_are_left_out_and_counted():
    adata = adata_of(["A", "B", None, "unknown", "Mis", "A", "B"], ["A", "A", "A", "B", None, np.nan, "B"])
    ax = draw(adata)
    assert ax.get_title() == "accuracy 0.67, 3 cells\nleft out: 3 without a label, 1 without a prediction"
    assert shown(ax).loc["B"].tolist() == [50, 50]
    chosen = draw(adata, cells=["c6", "c5", "c0"])
    assert chosen.get_title() == "accuracy 1.00, 2 cells\nleft out: 1 without a prediction"


def test_columns_of_modalities_and_of_the_mudata(placed):
    mdata = placed.copy()
    mdata.obs["guess"] = mdata.obs["cell_type"].astype(str).replace({"C": "B"})
    mdata["rna"].obs["type"] = mdata.obs["cell_type"].reindex(mdata["rna"].obs_names)
    ax = draw(mdata)
    n_without = mdata.n_obs - mdata["rna"].n_obs
    right = (mdata["rna"].obs["type"] != "C").mean()
    title = f"accuracy {right:.2f}, {mdata['rna'].n_obs} cells\nleft out: {n_without} without a label"
    assert ax.get_title() == title
    assert shown(ax).loc["C"].tolist() == [0, 100, 0]
    assert isinstance(mdata, MuData)


@pytest.mark.parametrize("n_types", [2, 3, 12, 45])
def test_two_to_forty_five_types_are_read(n_types, overlapping):
    ax = draw(many(n_types))
    names = [f"a cell type {i:02d}" for i in range(n_types)]
    assert ticks(ax.yaxis) == ticks(ax.xaxis) == names
    assert not overlapping(*ax.get_yticklabels())
    assert not overlapping(*ax.get_xticklabels())
    assert not overlapping(*beside(ax), ax.child_axes[0].yaxis.label, ax.title)
    assert min(text.get_fontsize() for text in [*ax.get_xticklabels(), *beside(ax)]) >= 6
    cell = ax.get_window_extent().width / n_types
    written = numbers(ax)
    assert {(i, i) for i in range(n_types)} <= set(written)
    assert all(text.get_window_extent().width < cell for text in written.values())
    assert max(ax.figure.get_size_inches()) < 12
    box, bar = ax.get_window_extent(), ax.child_axes[0].get_window_extent()
    assert bar.y1 == pytest.approx(box.y1)
    assert max(text.get_window_extent().x1 for text in beside(ax)) < bar.x0 < bar.x1 < ax.figure.bbox.x1
    assert bar.width == pytest.approx(0.14 * ax.figure.dpi, rel=0.3)


def test_numbers_are_left_out_of_small_cells(overlapping):
    _, given = plt.subplots(figsize=(4, 4), layout="constrained")
    ax = draw(many(45), ax=given)
    assert ax is given
    assert not numbers(ax)
    assert not overlapping(*ax.get_yticklabels())
    assert not overlapping(*beside(ax))
    assert len(beside(ax)) == len(ticks(ax.yaxis)) < 45
    assert numbers(draw(many(8), ax=plt.subplots(figsize=(4, 4))[1]))


def test_numbers_are_read_on_their_cell():
    ax = draw(adata_of(["A"] * 100 + ["B"] * 100, ["A"] * 97 + ["B"] * 3 + ["A"] * 45 + ["B"] * 55))

    def luminance(color):
        rgb = np.array(mpl.colors.to_rgb(color))
        return np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92) @ [0.2126, 0.7152, 0.0722]

    image = ax.images[0]
    for (i, j), text in numbers(ax).items():
        cell, written = luminance(image.to_rgba(image.get_array()[i, j])), luminance(text.get_color())
        assert (max(cell, written) + 0.05) / (min(cell, written) + 0.05) > 4.5  # WCAG 2, level AA


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"labels": "no"}, KeyError, r"column 'no' in `adata.obs`, found columns \['type', 'guess'\]"),
        ({"predicted": "no"}, KeyError, "column 'no' in `adata.obs`"),
        ({"cells": ["c0", "nobody"]}, KeyError, "cells, such as .*nobody"),
        ({"cells": []}, ValueError, "at least one of cells"),
        ({"cells": ["c0", "c0"]}, ValueError, "each of cells once"),
        ({"order": "name"}, ValueError, r"`order` to be one of \['labels', 'size'\]"),
    ],
)
def test_bad_input(options, error, message):
    with pytest.raises(error, match=message):
        cvi.pl.confusion(SMALL, **{"labels": "type", "predicted": "guess", **options})


def test_data_without_anything_to_compare(placed):
    with pytest.raises(TypeError, match="a MuData, found"):
        draw(pd.DataFrame({"type": ["A"], "guess": ["A"]}))
    with pytest.raises(KeyError, match=r"`mdata.obs\['type'\]`"):
        draw(placed)
    with pytest.raises(
        ValueError, match="a label in 'type' and a prediction in 'guess', found 1 of 2 .* 1 with a pred"
    ):
        draw(adata_of(["A", None], [None, "A"]))
    with pytest.raises(ValueError, match="labels in column 'guess', found numbers that are not whole"):
        draw(adata_of(["A", "B"], [0.3, 0.7]))
