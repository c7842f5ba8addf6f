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


def test_missing_columns_are_named():
    with pytest.raises(KeyError, match="columns \\['method', 'foscttm', 'lta'"):
        cvi.pl.accuracy(pd.DataFrame({"method": ["a"]}))
