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
    image = np.asarray(ax.images[0].get_array())
    for i, row in enumerate(rows):
        values = table[int(row[5:])]
        np.testing.assert_allclose(image[i], [values[int(c[3:])] / values.max() for c in columns], rtol=1e-5)
    dots = {(rows[int(y)], int(columns[int(x)][3:])) for x, y in ax.collections[0].get_offsets()}
    assert dots == {(row, feature) for row, features in first.items() for feature in features}


def test_latents_and_labels_are_shown(explained):
    rows = labels(cvi.pl.explain(explained, **LATENT, targets=["3"], show=False).get_yticklabels())
    assert rows == ["3"]
    ax = cvi.pl.explain(explained, source="rna", target="cell_type", show=False)
    assert sorted(labels(ax.get_yticklabels())) == ["A", "B", "C"]


def test_a_single_target_has_room_for_its_texts(explained, overlapping):
    ax = cvi.pl.explain(explained, **ROUTE, targets="ephys1", n_features=1, show=False)
    label = ax.figure.axes[1].yaxis.label
    assert not overlapping(ax.title, label, ax.yaxis.label, *ax.get_yticklabels())
    assert 0 <= label.get_window_extent().y0 < label.get_window_extent().y1 <= ax.figure.bbox.height


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
        ({"source": "ephys", "target": "rna"}, KeyError, "Run `cvi.tl.explain"),
        ({"source": "no", "target": "rna"}, KeyError, "`source` to be one of"),
        ({**ROUTE, "targets": ["ephys0"]}, KeyError, "explained targets in 'ephys'"),
        ({**ROUTE, "n_features": 0}, ValueError, "`n_features`"),
    ],
)
def test_bad_input(explained, arguments, error, message):
    with pytest.raises(error, match=message):
        cvi.pl.explain(explained, **arguments)
