import numpy as np
import pytest

import couplevi as cvi

ROUTE = {"source": "rna", "target": "ephys"}
LATENT = {"source": "rna", "target": "latent"}


@pytest.fixture(scope="module")
def explained(fitted):
    model, mdata = fitted
    mdata = mdata.copy()
    cvi.tl.predict_labels(mdata, model, labels="cell_type")
    cells = mdata["rna"].obs_names[:5]
    cvi.tl.explain(mdata, model, **ROUTE, targets=["ephys1", "ephys2", "ephys5"], cells=cells, progress_bar=False)
    for target in ("latent", "cell_type"):
        cvi.tl.explain(mdata, model, source="rna", target=target, cells=cells, progress_bar=False)
    return mdata


def labels(ticks):
    return [tick.get_text() for tick in ticks]


def test_the_first_features_of_each_target_are_shown(explained):
    ax = cvi.pl.explain(explained, **ROUTE, n_features=2, show=False)
    table = explained["ephys"].varm["jamie_shap_from_rna"]
    rows, columns = labels(ax.get_yticklabels()), labels(ax.get_xticklabels())
    assert sorted(rows) == ["ephys1", "ephys2", "ephys5"]
    first = {row: set(np.argsort(-table[int(row[5:])])[:2]) for row in rows}
    assert {int(c[3:]) for c in columns} == set.union(*first.values())
    [dots] = ax.collections
    at = [(rows[int(y)], int(columns[int(x)][3:])) for x, y in dots.get_offsets()]
    share = [table[int(row[5:]), j] / table[int(row[5:])].max() for row, j in at]
    np.testing.assert_allclose(dots.get_sizes() / dots.get_sizes().max(), share, rtol=1e-5)
    edged = {cell for cell, color in zip(at, dots.get_edgecolors(), strict=True) if max(color[:3]) == 0}
    assert edged == {(row, feature) for row, features in first.items() for feature in features}


def test_a_dot_says_whether_a_high_value_raises_or_lowers_the_prediction(explained):
    mdata = explained.copy()
    direction = mdata["ephys"].varm["jamie_shap_direction_from_rna"]
    direction[:], direction[1, :], direction[2, :] = np.nan, 1, -1  # 5 is not known
    ax = cvi.pl.explain(mdata, **ROUTE, n_features=2, show=False)
    rows = labels(ax.get_yticklabels())
    [dots] = ax.collections
    dots.update_scalarmappable()
    for (_, y), (red, green, blue, _) in zip(dots.get_offsets(), dots.get_facecolors(), strict=True):
        if rows[int(y)] == "ephys5":
            assert red == green == blue
        else:
            assert (red > 2 * blue) == (rows[int(y)] == "ephys1")
            assert (blue > 2 * red) == (rows[int(y)] == "ephys2")
    [bar] = ax.child_axes
    assert [text.get_text() for text in bar.get_yticklabels()] == ["lower", "unclear", "higher"]
    low, high = bar.get_ylim()
    assert (low, high) == (-1, 1)


def test_latents_and_labels_are_shown(explained):
    rows = labels(cvi.pl.explain(explained, **LATENT, targets=["3"], show=False).get_yticklabels())
    assert rows == ["3"]
    ax = cvi.pl.explain(explained, source="rna", target="cell_type", show=False)
    assert sorted(labels(ax.get_yticklabels())) == ["A", "B", "C"]


def test_a_single_target_has_room_for_its_texts(explained, overlapping):
    ax = cvi.pl.explain(explained, **ROUTE, targets="ephys1", n_features=1, show=False)
    [bar] = ax.child_axes
    beside = [bar.yaxis.label, *bar.get_yticklabels(), *ax.get_legend().get_texts()]
    assert not overlapping(ax.title, ax.yaxis.label, *ax.get_yticklabels(), *beside)
    for text in beside:
        box, whole = text.get_window_extent(), ax.figure.bbox
        assert ax.bbox.x1 < box.x0 < box.x1 <= whole.width
        assert 0 <= box.y0 < box.y1 <= whole.height


def test_what_was_explained_is_named(explained, fitted):
    mdata = explained.copy()
    options = {"source": "rna", "cells": mdata["rna"].obs_names[:3], "progress_bar": False, "key_added": "k"}
    cvi.tl.explain(mdata, fitted[0], target="latent", targets=["7", "2"], **options)
    assert mdata["rna"].varm["k_shap_to_latent"].shape == (30, 32)
    ax = cvi.pl.explain(mdata, **LATENT, key="k", show=False)  # of a key that no model was fitted under
    assert sorted(labels(ax.get_yticklabels())) == ["2", "7"]
    cvi.tl.explain(mdata, fitted[0], target="cell_type", targets=["B"], **(options | {"key_added": "jamie"}))
    assert labels(cvi.pl.explain(mdata, source="rna", target="cell_type", show=False).get_yticklabels()) == ["B"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"source": "ephys", "target": "rna"}, KeyError, r"varm\['jamie_shap_from_ephys'\]`.*Run `cvi.tl.explain"),
        ({"source": "no", "target": "rna"}, KeyError, "`source` to be one of"),
        ({**ROUTE, "targets": ["ephys0"]}, KeyError, "explained targets in 'ephys'"),
        ({**ROUTE, "n_features": 0}, ValueError, "`n_features`"),
    ],
)
def test_bad_input(explained, arguments, error, message):
    with pytest.raises(error, match=message):
        cvi.pl.explain(explained, **arguments)


def test_values_without_a_direction_are_explained_again(explained):
    mdata = explained.copy()
    del mdata["ephys"].varm["jamie_shap_direction_from_rna"]
    with pytest.raises(KeyError, match=r"varm\['jamie_shap_direction_from_rna'\]`.*Run `cvi.tl.explain"):
        cvi.pl.explain(mdata, **ROUTE)
