"""Every public metric has a record, and what the record says holds."""

import inspect
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from couplevi import metrics
from couplevi.metrics import METRICS

OTHERS = {"joint_embedding", "knn_imputation", "ridge_imputation", "scored_cells_per_feature"}
N, WIDTH = 60, 4
every = pytest.mark.parametrize("record", METRICS.values(), ids=list(METRICS))


def arguments(function, truth, result, sd, labels):
    """What a metric takes, by the names of its parameters."""
    given = {
        "a": truth, "reference": truth, "measured": truth, "score": truth[0],
        "b": result, "query": result, "imputed": result, "other": result[0],
        "reference_labels": labels, "query_labels": labels, "groups": labels, "sd": sd,
    }  # fmt: skip
    return {name: given[name] for name in inspect.signature(function).parameters if name in given}


def values(record, *args):
    """Values of a metric as an array, those of a comparison being its p-values."""
    found = record.function(**arguments(record.function, *args))
    return np.atleast_1d(getattr(found, "p_value", found))


def test_every_public_metric_has_a_record():
    public = {name for name in metrics.__all__ if inspect.isfunction(getattr(metrics, name))} - OTHERS
    assert {record.function.__name__ for record in METRICS.values()} == public
    assert list(METRICS) == [record.name for record in METRICS.values()]


@every
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(5, 30), f=st.integers(1, 4), scale=st.sampled_from([1e-3, 1, 1e3]))
def test_values_stay_in_the_range(record, seed, n, f, scale):
    """Of noise, of few whole numbers and of constants."""
    rng = np.random.default_rng(seed)
    for truth, result in (rng.normal(size=(2, n, f)), rng.integers(0, 3, (2, n, f)), np.ones((2, n, f))):
        sd, labels = scale * rng.random((n, f)), rng.integers(0, 2, n)
        found = values(record, scale * truth, scale * result, sd, labels)
        found = found[~np.isnan(found)]
        assert ((found >= record.low) & (found <= record.high)).all()


@every
def test_a_perfect_result_is_best_and_noise_is_worse(record):
    """The truth itself, with no spread, or for coverage with the true spread."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], N // 3)
    truth = rng.normal(size=(N, WIDTH)) + 20 * labels[:, None]
    if record.best is None:
        assert record.better == ""
        return
    if record.better.startswith("close to"):
        error = norm.ppf((np.arange(N) + 0.5) / N)[:, None] * np.ones(WIDTH)
        perfect, noise = (np.mean(values(record, truth, truth + error, sd, labels)) for sd in (1.0, 0.2))
        assert perfect == pytest.approx(record.best, abs=1 / N)
    else:
        perfect = np.mean(values(record, truth, truth, 1e-9, labels))
        noise = np.mean(values(record, truth, rng.permutation(truth), 1e-9, labels))
        assert perfect == pytest.approx(record.best, abs=1e-6)
        assert record.better == ("smaller" if noise > perfect else "larger")
    assert abs(noise - record.best) > 0.1


@every
def test_a_result_that_knows_nothing_has_the_value_it_should(record):
    truth = np.random.default_rng(0).normal(size=(N, WIDTH))
    found = values(record, truth, np.broadcast_to(truth.mean(axis=0), truth.shape), 1.0, np.zeros(N))
    if record.uninformed is not None and record.best is not None:
        np.testing.assert_allclose(found, record.uninformed, atol=1 / N)
    if record.best is None:
        np.testing.assert_array_equal(values(record, truth, truth, 1.0, np.zeros(N)), record.uninformed)


def test_records_make_a_table():
    table = pd.DataFrame([record.row() for record in METRICS.values()]).set_index("metric")
    assert table.index.is_unique
    assert table.loc["FOSCTTM", ["range", "better"]].tolist() == ["[0, 1]", "smaller"]
    assert table.loc["coverage", "better"] == "close to 0.9"
    assert table.loc["relative RMSE", ["range", "better", "knowing nothing"]].tolist() == ["at least 0", "smaller", "1"]
    assert table.loc["binomial", "better"] == ""
    assert table.loc["Pearson", ["range", "better", "knowing nothing"]].tolist() == ["[-1, 1]", "larger", "0"]
    texts = table.drop(columns=["better", "knowing nothing"])
    assert (texts.map(len) > 0).all(axis=None)
    assert not texts.map(lambda text: "|" in text or "\n" in text).any(axis=None)


@every
def test_a_record_cannot_be_changed_and_its_best_value_is_in_its_range(record):
    with pytest.raises(AttributeError):
        record.low = -math.inf
    with pytest.raises(TypeError):
        METRICS[record.name] = record
    assert record.best is None or record.low <= record.best <= record.high
