import numpy as np
import pytest

from couplevi import _neighbors


@pytest.mark.parametrize("exact", [True, False])
def test_the_nearest_are_those_of_all_distances(monkeypatch, exact):
    x = np.random.default_rng(0).normal(size=(400, 4))
    queries = x[:50] + 0.01
    if not exact:
        monkeypatch.setattr(_neighbors, "EXACT_NEIGHBORS", 100)
        monkeypatch.setattr(_neighbors, "DOUBLE_PRECISION", 100)
    distance, index = _neighbors.nearest(x, queries, 5)
    d = np.linalg.norm(queries[:, None] - x[None], axis=2)
    expected = np.argsort(d, axis=1)[:, :5]
    share = np.mean([np.isin(a, b).mean() for a, b in zip(index, expected, strict=True)])
    assert share == 1 if exact else share > 0.95
    np.testing.assert_allclose(distance, np.take_along_axis(d, index, axis=1), rtol=1e-4)
