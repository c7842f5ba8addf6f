import numpy as np
import pandas as pd
import pytest

import couplevi as cvi


def test_runs_and_their_mean_are_shown():
    frame = pd.DataFrame({"method": ["a", "a", "b"], "foscttm": [0.1, 0.2, 0.4], "lta": [0.9, 0.8, 0.3]})
    ax = cvi.pl.accuracy(frame, show=False)
    points = [np.asarray(c.get_offsets()).tolist() for c in ax.collections]
    assert points[0] == [[0.1, 0.9], [0.2, 0.8]]
    np.testing.assert_allclose(points[1], [[0.15, 0.85]])
    assert points[2] == [[0.4, 0.3]]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["a", "b"]


def test_a_method_has_one_colour():
    frame = pd.DataFrame({"method": ["a", "a", "b"], "foscttm": [0.1, 0.2, 0.4], "lta": [0.9, 0.8, 0.3]})
    runs, mean, other = (c.get_facecolor()[0, :3] for c in cvi.pl.accuracy(frame, show=False).collections)
    np.testing.assert_array_equal(runs, mean)
    assert not np.array_equal(mean, other)


def scores(method, values, split="held_out", n=20):
    """What `cvi.tl.evaluate` returns of alignment: FOSCTTM, and label transfer both ways."""
    metrics, ways = ("foscttm", "lta", "lta"), (("rna", "ephys"), ("rna", "ephys"), ("ephys", "rna"))
    rows = [(m, *way, method, split, n, v) for m, way, v in zip(metrics, ways, values, strict=True)]
    return pd.DataFrame(rows, columns=["metric", "source", "target", "method", "split", "n", "value"])


def points_of(ax):
    return [np.asarray(c.get_offsets()).round(6).tolist() for c in ax.collections]


def test_frames_of_evaluate_are_taken_as_they_are(fitted):
    model, mdata = fitted
    frame = cvi.tl.evaluate(mdata, model, labels="cell_type")
    value = frame[frame["split"] == "in_sample"].groupby("metric")["value"].mean()
    ax = cvi.pl.accuracy(frame, show=False)
    np.testing.assert_allclose(points_of(ax), [[[value["foscttm"], value["lta"]]]], atol=1e-6)
    assert ax.get_title() == "30 cells, trained on"


def test_runs_of_evaluate_are_joined():
    runs = [
        scores("z", (0.1, 0.9, 0.7)),
        scores("z", (0.2, 0.8, 0.6)),
        scores("a", (0.4, 0.3, 0.1), n=30),
        scores("z", (0.0, 1.0, 1.0), split="in_sample"),
        scores("knn", (np.nan, 0.9, 0.9)),
    ]
    ax = cvi.pl.accuracy(pd.concat(runs), show=False)
    assert points_of(ax) == [[[0.1, 0.8], [0.2, 0.7]], [[0.15, 0.75]], [[0.4, 0.2]]]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["z", "a"]
    assert ax.get_title() == "20 to 30 cells, held out"


def test_frames_of_evaluate_without_labels_are_refused(fitted):
    model, mdata = fitted
    frame = cvi.tl.evaluate(mdata, model)
    with pytest.raises(ValueError, match="'foscttm' and 'lta'.*found \\['foscttm'\\].*with `labels`"):
        cvi.pl.accuracy(frame)


def test_missing_columns_are_named():
    with pytest.raises(KeyError, match="columns \\['method', 'foscttm', 'lta'"):
        cvi.pl.accuracy(pd.DataFrame({"method": ["a"]}))
