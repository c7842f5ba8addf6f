import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb

import couplevi as cvi


def offsets(ax):
    return np.concatenate([np.asarray(c.get_offsets()) for c in ax.collections if len(c.get_offsets())])


def named(ax):
    return [text for text in ax.texts if text.get_text()]


def entries(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def median(adata, group, basis="X_umap"):
    return np.median(adata.obsm[basis][(adata.obs["type"] == group).to_numpy()], axis=0)


def cosine(adata, group, text):
    unit = adata.obsm["place"] / np.linalg.norm(adata.obsm["place"], axis=1, keepdims=True)
    mean = unit[(adata.obs["type"] == group).to_numpy()].mean(axis=0)
    return mean @ text / np.linalg.norm(mean)


def test_cells_are_where_they_are_and_texts_at_the_middle_of_their_groups(finding):
    adata, model = finding(3)
    ax = cvi.pl.nearest_texts(adata, model, groupby="type", show=False)
    np.testing.assert_allclose(np.sort(offsets(ax), axis=0), np.sort(adata.obsm["X_umap"], axis=0), rtol=1e-6)
    assert len(named(ax)) == 3
    for text, group in zip(named(ax), model.labels_, strict=True):
        np.testing.assert_allclose(text.xy, median(adata, group))
        assert text.get_text() == f"{group} ({cosine(adata, group, model.texts[group]):.2f})"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("UMAP 1", "UMAP 2")
    assert ax.get_title() == "type: 60 cells"
    assert ax.get_legend() is None


def test_texts_have_the_colour_of_their_group_darker(finding):
    adata, model = finding(2)
    adata.obs["type"] = adata.obs["type"].astype("category")
    adata.uns["type_colors"] = ["#ff0000", "#0000ff"]
    ax = cvi.pl.nearest_texts(adata, model, groupby="type", show=False)
    np.testing.assert_allclose([to_rgb(t.get_color()) for t in named(ax)], [[0.7, 0, 0], [0, 0, 0.7]])
    colors = {tuple(np.round(xy, 5)): tuple(c[:3]) for xy, c in zip(offsets(ax), _faces(ax), strict=True)}
    for group, color in (("type 00", (1, 0, 0)), ("type 01", (0, 0, 1))):
        own = adata.obsm["X_umap"][(adata.obs["type"] == group).to_numpy()]
        assert {colors[tuple(np.round(xy, 5))] for xy in own} == {color}


def _faces(ax):
    return np.concatenate([c.get_facecolor() for c in ax.collections if len(c.get_offsets())])


def test_the_nearest_texts_of_a_corpus(finding):
    adata, model = finding(3)
    model.texts |= {"near. Long.": np.array([0.8, 0.6, 0, 0]), "further": np.array([0.6, 0, 0, 0.8])}
    one = cvi.pl.nearest_texts(adata, model, groupby="type", corpus=["further", "near. Long."], show=False)
    first = cosine(adata, "type 00", model.texts["near. Long."])
    assert named(one)[0].get_text() == f"type 00:\nnear. Long. ({first:.2f})"
    two = cvi.pl.nearest_texts(adata, model, groupby="type", corpus=["further", "near. Long."], n_texts=9, show=False)
    second = cosine(adata, "type 00", model.texts["further"])
    assert named(two)[0].get_text() == f"type 00:\nnear. Long. ({first:.2f})\nfurther ({second:.2f})"


def test_labels_that_annotate_wrote_are_the_groups(named_by_text):
    model, adata = named_by_text
    adata = adata.copy()
    cvi.tl.annotate(adata, model, labels=["type0", "type1", "type2"], unknown_below=0.2)
    n = int((adata.obs["celltext_label"] == "unknown").sum())
    assert n
    ax = cvi.pl.nearest_texts(adata, model, basis="celltext", show=False)
    assert ax.get_title() == f"celltext_label: 200 cells, {n} without a label (grey)"
    assert ax.get_xlabel() == "celltext 1"
    grey = ax.collections[0]
    is_unknown = (adata.obs["celltext_label"] == "unknown").to_numpy()
    np.testing.assert_allclose(grey.get_offsets(), adata.obsm["X_celltext"][is_unknown, :2], rtol=1e-5)
    np.testing.assert_allclose(grey.get_facecolor()[0][:3], to_rgb("lightgrey"))


@pytest.mark.parametrize("n_types", [2, 5, 8])
def test_long_texts_of_few_groups_do_not_overlap(finding, n_types, overlapping):
    adata, model = finding(n_types)
    ax = cvi.pl.nearest_texts(adata, model, groupby="type", corpus=long_texts(model), show=False)
    assert len(named(ax)) == n_types
    assert not overlapping(*named(ax))
    assert inside(ax)


def inside(ax):
    frame, boxes = ax.get_window_extent(), [text.get_window_extent() for text in named(ax)]
    return all(frame.x0 <= box.x0 < box.x1 <= frame.x1 and frame.y0 <= box.y0 < box.y1 <= frame.y1 for box in boxes)


@pytest.mark.parametrize(("n_types", "at_one_place"), [(9, False), (30, False), (30, True), (60, False)])
def test_many_groups_are_numbered_and_named_in_a_legend(finding, n_types, at_one_place, overlapping):
    adata, model = finding(n_types, 5)
    if at_one_place:
        adata.obsm["X_umap"] = np.random.default_rng(0).normal(size=(adata.n_obs, 2))
    ax = cvi.pl.nearest_texts(adata, model, groupby="type", show=False)
    assert [text.get_text() for text in named(ax)] == [str(i + 1) for i in range(n_types)]
    assert not overlapping(*named(ax))
    assert inside(ax)
    want = [f"{i + 1}  {t} ({cosine(adata, t, model.texts[t]):.2f})" for i, t in enumerate(model.labels_)]
    assert entries(ax) == want
    assert not overlapping(*ax.get_legend().get_texts())
    assert ax.get_legend().get_window_extent().x1 < ax.figure.bbox.x1
    assert ax.get_window_extent().width > 3 * ax.figure.dpi
    if n_types == 9:  # far from each other: numbers are at the middle
        for text, group in zip(named(ax), model.labels_, strict=True):
            np.testing.assert_allclose(text.get_position(), median(adata, group), atol=0.05)


def long_texts(model):
    """A long text for each type."""
    corpus = {
        f"cell number {i} that does many and very different things": model.texts[t] for i, t in enumerate(model.labels_)
    }
    model.texts |= corpus
    return list(corpus)


def test_texts_without_a_free_place_are_in_a_legend(finding, overlapping):
    adata, model = finding(8)
    corpus = long_texts(model)
    ax = cvi.pl.nearest_texts(adata, model, groupby="type", corpus=corpus, n_texts=6, show=False)
    assert [text.get_text() for text in ax.texts] == [str(i + 1) for i in range(8)]
    first, *rest = entries(ax)[0].split("\n")
    assert first == "1  type 00:"
    assert rest[0] == "cell number 0 that does many and very different things (1.00)"
    assert len(rest) == 6
    assert not overlapping(*ax.get_legend().get_texts())
    assert ax.get_window_extent().width > 3 * ax.figure.dpi
    assert ax.get_legend().get_window_extent().x1 < ax.figure.bbox.x1
    assert not overlapping(*named(ax))


def test_a_legend_leaves_room_for_axes_that_were_given(finding):
    adata, model = finding(8)
    _, given = plt.subplots(figsize=(4, 2), layout="constrained")
    ax = cvi.pl.nearest_texts(adata, model, groupby="type", corpus=long_texts(model), ax=given, show=False)
    assert ax is given
    assert [text.get_text() for text in ax.texts] == [str(i + 1) for i in range(8)]
    assert entries(ax)[0] == "1  type 00: cell number 0 … (1.00)"
    assert ax.get_window_extent().width > ax.figure.dpi
    assert inside(ax)


def test_cells_without_a_position_do_not_move_texts(finding):
    adata, model = finding(2)
    adata.obsm["X_umap"][:5] = np.nan
    ax = cvi.pl.nearest_texts(adata, model, groupby="type", show=False)
    np.testing.assert_allclose(named(ax)[0].xy, np.median(adata.obsm["X_umap"][5:20], axis=0))
    adata.obsm["X_umap"][:20] = np.nan
    with pytest.raises(ValueError, match=r"a position of a cell of each group, found none of \['type 00'\]"):
        cvi.pl.nearest_texts(adata, model, groupby="type")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"basis": "no"},
            KeyError,
            r"positions in `adata.obsm\['X_no'\]`, found keys .*neighbors\(adata, use_rep='X_celltext'\); sc.tl.umap",
        ),
        ({"basis": "line"}, ValueError, r"two columns in `adata.obsm\['line'\]`, found shape \(40, 1\)"),
        ({"groupby": None}, KeyError, "column 'celltext_label'.*Run `cvi.tl.annotate"),
        ({"groupby": "no"}, KeyError, "column 'no'"),
        ({"n_texts": 0}, ValueError, "`n_texts`"),
        ({"corpus": []}, ValueError, "at least one of texts"),
    ],
)
def test_bad_input(finding, options, error, message):
    adata, model = finding(2)
    adata.obsm["line"] = np.zeros((40, 1))
    with pytest.raises(error, match=message):
        cvi.pl.nearest_texts(adata, model, **{"groupby": "type", **options})
