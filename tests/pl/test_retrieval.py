import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import couplevi as cvi


def draw(adata, model, **options):
    return cvi.pl.retrieval(adata, model, **{"groupby": "type", "k": 10, "show": False, **options})


def bars(ax):
    """Length of each bar, by the name of its row."""
    return dict(zip([t.get_text() for t in ax.get_yticklabels()], [p.get_width() for p in ax.patches], strict=True))


def strokes(ax):
    """Where the stroke of each row is."""
    return [line.get_xdata()[0] for line in ax.lines if line.get_linestyle() == "-"]


def cosines(adata, text):
    unit = adata.obsm["place"] / np.linalg.norm(adata.obsm["place"], axis=1, keepdims=True)
    return unit @ text


@pytest.fixture
def mixed(finding):
    """A text between types 0 and 1, nearer to the first."""
    adata, model = finding(3, noise=0.4)
    model.texts["between"] = np.array([0.8, 0.6, 0, 0])
    return adata, model


def test_bars_are_numbers_of_the_nearest_cells(mixed):
    adata, model = mixed
    left, right = draw(adata, model, texts="between", k=25)
    score = cosines(adata, model.texts["between"])
    nearest = adata.obs["type"].iloc[np.argsort(-score)[:25]].value_counts()
    assert len(nearest) > 1
    assert {name: n for name, n in bars(left).items() if n} == nearest.to_dict()
    assert list(bars(left).values()) == sorted(bars(left).values(), reverse=True)
    assert [t.get_text() for t in left.texts] == [str(n) for n in bars(left).values() if n]
    np.testing.assert_allclose(strokes(left), 25 / 3)  # a third of the cells are of each type
    assert left.get_title() == "between"
    assert right.get_title() == "60 cells"


def test_scores_of_all_cells_and_their_limit(mixed):
    adata, model = mixed
    left, right = draw(adata, model, texts="between", k=25)
    score = cosines(adata, model.texts["between"])
    limit = np.sort(score)[-25]
    [dashed] = [line for line in right.lines if line.get_linestyle() == "--"]
    np.testing.assert_allclose(dashed.get_xdata(), limit, atol=1e-6)
    assert right.get_xlabel() == f"score of the text (limit: {limit:.2f})"
    assert len(right.collections) == 6
    for y, group in enumerate(bars(left)):
        own = score[(adata.obs["type"] == group).to_numpy()]
        others, found = (np.asarray(c.get_offsets()) for c in right.collections[2 * y : 2 * y + 2])
        np.testing.assert_allclose(np.sort(np.r_[others[:, 0], found[:, 0]]), np.sort(own), atol=1e-6)
        assert len(found) == bars(left)[group]
        assert (found[:, 0] >= limit - 1e-6).all()
        assert (np.abs(np.r_[others[:, 1], found[:, 1]] - y) < 0.4).all()
        assert strokes(right)[y] == pytest.approx(np.median(own), abs=1e-6)
    assert left.get_ylim() == right.get_ylim()


def test_cells_found_are_those_of_the_model(named_by_text):
    model, adata = named_by_text
    left, right = cvi.pl.retrieval(adata, model, texts="type1", groupby="type", k=30, show=False)
    nearest = model.retrieve_cells("type1", 30, adata=adata)
    want = adata.obs["type"].loc[nearest.index].value_counts()
    assert {name: n for name, n in bars(left).items() if n} == want.to_dict()
    found = np.concatenate([np.asarray(c.get_offsets())[:, 0] for c in right.collections[1::2]])
    np.testing.assert_allclose(np.sort(found), np.sort(nearest["score"]), atol=1e-5)


def test_precision_of_a_text_that_is_a_type(finding):
    adata, model = finding(3)
    axes = draw(adata, model, texts=["type 01", "type 02"], k=30)
    assert len(axes) == 4
    assert axes[2].get_title() == "type 02\n20 of 30 are of this type, which has 20 cells"
    assert bars(axes[0])["type 01"] == bars(axes[2])["type 02"] == 20


def test_cells_without_a_label_have_a_row_of_their_own(finding):
    adata, model = finding(2)
    adata.obs.loc[[f"cell{i}" for i in range(15)], "type"] = "unknown"
    left, right = draw(adata, model, texts="type 00", k=20)
    assert bars(left) == {"without a label": 15, "type 00": 5, "type 01": 0}
    assert right.get_title() == "40 cells, 15 without a label"
    assert left.get_title() == "type 00\n5 of 20 are of this type, which has 5 cells"


def test_more_cells_than_there_are(finding):
    adata, model = finding(2)
    left, _ = draw(adata, model, texts="type 00", k=1000)
    assert bars(left) == {"type 00": 20, "type 01": 20}
    assert left.get_xlabel() == "cells of the 40 found (stroke: chance)"


def test_types_with_cells_or_near_ones_are_shown(finding):
    adata, model = finding(12)
    left, right = draw(adata, model, texts="type 07", n_groups=4)
    medians = pd.Series(cosines(adata, model.texts["type 07"])).groupby(adata.obs["type"].to_numpy()).median()
    assert list(bars(left)) == list(medians.sort_values(ascending=False).index[:4])
    assert right.get_title() == "240 cells, 4 of 12 groups shown"


@pytest.mark.parametrize(("n_types", "n_texts"), [(2, 1), (5, 3), (30, 2)])
def test_two_to_thirty_types_are_read(finding, n_types, n_texts, overlapping):
    adata, model = finding(n_types, 6)
    texts = {
        f"text {i} of a cell that does many things {'and more ' * 20}": model.texts[model.labels_[i]]
        for i in range(n_texts)
    }
    model.texts |= texts
    axes = draw(adata, model, texts=list(texts), n_groups=n_types)
    assert len(axes) == 2 * n_texts
    titles = [ax.title for ax in axes]
    assert not overlapping(*titles)
    assert not overlapping(*[ax.xaxis.label for ax in axes])
    for left in axes[::2]:
        assert not overlapping(*left.get_yticklabels())
        assert len(left.get_title()) < 100
        assert all(t.get_window_extent().x1 < left.get_window_extent().x1 for t in left.texts)


def test_given_axes(finding):
    adata, model = finding(2)
    _, given = plt.subplots(1, 2)
    assert list(draw(adata, model, texts="type 00", ax=given)) == list(given)
    with pytest.raises(ValueError, match="4 axes in `ax`, found 2"):
        draw(adata, model, texts=["type 00", "type 01"], ax=given)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"k": 0}, ValueError, "`k` to be a whole number of at least 1"),
        ({"n_groups": 1.5}, ValueError, "`n_groups` to be a whole number"),
        ({"groupby": "no"}, KeyError, "column 'no'"),
        ({"texts": []}, ValueError, "at least one of texts"),
    ],
)
def test_bad_input(finding, options, error, message):
    adata, model = finding(2)
    with pytest.raises(error, match=message):
        draw(adata, model, **{"texts": "type 00", **options})
