import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import Rectangle

import couplevi as cvi


def shown(ax):
    """The matrix that is drawn, by the names of its rows and columns."""
    rows, columns = ([t.get_text() for t in axis.get_ticklabels()] for axis in (ax.yaxis, ax.xaxis))
    return pd.DataFrame(np.asarray(ax.images[0].get_array()), rows, columns)


def framed(ax):
    """Row and column of each frame."""
    boxes = [p for p in ax.patches if isinstance(p, Rectangle)]
    return {(round(b.get_y() + 0.5), round(b.get_x() + 0.5)) for b in boxes}


def means(adata):
    unit = adata.obsm["place"] / np.linalg.norm(adata.obsm["place"], axis=1, keepdims=True)
    mean = pd.DataFrame(unit, adata.obs_names).groupby(adata.obs["type"].to_numpy()).mean()
    return mean / np.linalg.norm(mean, axis=1)[:, None]


def test_values_are_cosines_of_means_and_texts(finding):
    adata, model = finding(3)
    ax = cvi.pl.text_similarity(adata, model, groupby="type", show=False)
    want = means(adata).iloc[:, :3]  # texts are the axes
    table = shown(ax)
    assert list(table.index) == list(table.columns) == model.labels_
    np.testing.assert_allclose(table, want, atol=1e-6)
    written = {t.get_position()[::-1]: t.get_text() for t in ax.texts}
    assert written[0, 0] == f"{want.iloc[0, 0]:.2f}"
    assert len(written) == 9
    assert framed(ax) == {(0, 0), (1, 1), (2, 2)}
    assert ax.get_title() == "nearest to their own text: 3 of 3 types\n60 cells"
    assert ax.child_axes[0].get_ylabel() == "cosine"
    limit = float(np.abs(want).to_numpy().max())
    np.testing.assert_allclose(ax.images[0].get_clim(), (-limit, limit), rtol=1e-6)


def test_texts_that_are_types_are_on_the_diagonal_and_others_follow(finding):
    adata, model = finding(3)
    model.texts["an other text"] = np.array([0, 0.6, 0, 0.8])
    ax = cvi.pl.text_similarity(adata, model, groupby="type", texts=["an other text", "type 02", "type 00"], show=False)
    assert list(shown(ax).columns) == ["type 00", "type 02", "an other text"]
    assert ax.get_title().startswith("nearest to their own text: 2 of 2 types")
    assert framed(ax) == {(0, 0), (1, 2), (2, 1)}
    np.testing.assert_allclose(shown(ax)["an other text"], means(adata)[1] * 0.6 + means(adata)[3] * 0.8, atol=1e-6)


def test_a_type_that_is_nearest_to_another_text_is_counted(finding):
    adata, model = finding(3)
    model.texts["type 00"], model.texts["type 01"] = model.texts["type 01"], model.texts["type 00"]
    ax = cvi.pl.text_similarity(adata, model, groupby="type", show=False)
    assert ax.get_title().startswith("nearest to their own text: 1 of 3")
    assert framed(ax) == {(0, 1), (1, 0), (2, 2)}


def test_types_with_the_same_text_are_both_right(finding):
    adata, model = finding(3)
    model.texts["type 00"] = model.texts["type 01"]
    ax = cvi.pl.text_similarity(adata, model, groupby="type", texts=["type 00", "type 01"], show=False)
    assert {(1, 0), (1, 1)} <= framed(ax)
    assert ax.get_title().startswith("nearest to their own text: 2 of 2")


def test_similar_types_are_side_by_side_if_clustered(finding):
    adata, model = finding(4)
    adata.obsm["place"][:20, 3] += 1  # type 00 resembles type 03
    adata.obsm["place"][60:, 0] += 1
    rows = list(shown(cvi.pl.text_similarity(adata, model, groupby="type", order="clustered", show=False)).index)
    assert abs(rows.index("type 00") - rows.index("type 03")) == 1
    model.texts |= {"a": model.texts["type 02"], "b": model.texts["type 01"]}
    table = shown(cvi.pl.text_similarity(adata, model, groupby="type", texts=["a", "b"], order="clustered", show=False))
    at = [list(table.index).index(row) for row in table.idxmax()]
    assert at == sorted(at)  # texts follow the types that they are nearest to
    two = adata[adata.obs["type"].isin(["type 01", "type 02"])]
    ax = cvi.pl.text_similarity(two, model, groupby="type", texts=["a", "b"], order="clustered", show=False)
    assert list(shown(ax).columns) == ["b", "a"]
    assert ax.get_title() == "40 cells"


@pytest.mark.parametrize("n_types", [2, 5, 30])
def test_two_to_thirty_types_and_long_texts_are_read(finding, n_types, overlapping):
    adata, model = finding(n_types, 5)
    texts = {
        f"a cell of the kind number {i}. And much more, {'word ' * 40}": model.texts[t]
        for i, t in enumerate(model.labels_)
    }
    model.texts |= texts
    ax = cvi.pl.text_similarity(adata, model, groupby="type", texts=list(texts), show=False)
    assert [t.get_text() for t in ax.get_xticklabels()] == [f"a cell of the kind number {i}" for i in range(n_types)]
    assert not overlapping(*ax.get_xticklabels())
    assert not overlapping(*ax.get_yticklabels(), ax.title)
    bar = ax.child_axes[0].get_window_extent()
    assert ax.get_window_extent().x1 < bar.x0 < bar.x1 < ax.figure.bbox.x1
    assert len(ax.texts) == (n_types**2 if n_types < 10 else 0)


def test_given_axes(finding):
    adata, model = finding(2)
    _, given = plt.subplots()
    assert cvi.pl.text_similarity(adata, model, groupby="type", ax=given, show=False) is given


def test_bad_input(finding):
    adata, model = finding(2)
    with pytest.raises(ValueError, match=r"`order` to be one of \['labels', 'clustered'\], found 'size'"):
        cvi.pl.text_similarity(adata, model, groupby="type", order="size")
    with pytest.raises(KeyError, match="column 'no'"):
        cvi.pl.text_similarity(adata, model, groupby="no")
