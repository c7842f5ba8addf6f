import numpy as np
import pandas as pd
import pytest

import couplevi as cvi

COLUMNS = ["metric", "source", "target", "method", "split", "n", "value"]


def frame_of(*rows):
    return pd.DataFrame(rows, columns=COLUMNS)


def test_scores_of_a_model_and_its_baselines(hidden):
    model, mdata, _ = hidden
    frame = cvi.tl.evaluate(mdata, model, labels="cell_type", baselines=("ridge", "knn"))
    table = cvi.tl.summary(frame)
    assert list(table) == ["better", "scored", "split", "n", "JAMIE", "ridge", "knn"]
    for metric, row in table.iterrows():
        assert row["better"] == cvi.metrics.METRICS[metric].better
        sign = "-" if metric == "foscttm" else "<-" if metric == "lta" else "->"
        source, target = row["scored"].split(sign)
        for method in ("JAMIE", "ridge", "knn"):
            chosen = frame[
                (
                    frame[["metric", "source", "target", "method", "split"]]
                    == [metric, source, target, method, row["split"]]
                ).all(axis=1)
            ]
            assert len(chosen) == np.isfinite(row[method])
            if len(chosen):
                assert row[method] == pytest.approx(chosen["value"].item(), abs=5.001e-4)  # to three decimals
                assert row["n"] == chosen["n"].item()
    assert list(dict.fromkeys(table.index)) == [m for m in cvi.metrics.METRICS if m in set(table.index)]
    assert {"foscttm", "lta", "pearson", "relative_rmse", "jensen_shannon"} <= set(table.index)


def test_it_fits_a_screen(hidden):
    model, mdata, _ = hidden
    table = cvi.tl.summary(cvi.tl.evaluate(mdata, model, labels="cell_type", baselines=("ridge", "knn")))
    lines = table.to_string().split("\n")
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80


def test_held_out_pairs_hide_those_trained_on():
    frame = frame_of(
        ("foscttm", "a", "b", "M", "in_sample", 9, 0.1),
        ("foscttm", "a", "b", "M", "held_out", 5, 0.2),
        ("lta", "a", "b", "M", "unpaired", 4, 0.6),
        ("lta", "a", "b", "M", "in_sample", 9, 0.7),
        ("foscttm", "a", "c", "M", "in_sample", 8, 0.3),
        ("cells_without_label", "a", "b", "M", "held_out", 5, 1.0),
        ("coverage_90", "b", "a", "M", "held_out", 5, 0.8),
    )
    table = cvi.tl.summary(frame)
    assert table[["scored", "split", "n", "M"]].values.tolist() == [
        ["a-b", "held_out", 5, 0.2],
        ["a-c", "in_sample", 8, 0.3],
        ["a<-b", "unpaired", 4, 0.6],
        ["a<-b", "in_sample", 9, 0.7],
        ["b->a", "held_out", 5, 0.8],
    ]
    assert table["better"].tolist() == ["smaller", "smaller", "larger", "larger", "close to 0.9"]


def test_runs_are_averaged_and_methods_keep_to_their_columns():
    rows = [("pearson", "a", "b", "one", "held_out", 5, 0.2), ("pearson", "a", "b", "one", "held_out", 5, 0.4)]
    more = [("foscttm", "a", "b", "two", "held_out", 5, 0.6), ("pearson", "a", "b", "two", "held_out", 5, 0.8)]
    table = cvi.tl.summary(pd.concat([frame_of(*more), frame_of(*rows)]))
    assert list(table)[4:] == ["two", "one"]
    assert table.loc["pearson", ["two", "one"]].tolist() == pytest.approx([0.8, 0.3])
    assert table.loc["foscttm", "two"] == 0.6
    assert np.isnan(table.loc["foscttm", "one"])


def test_nothing_gives_an_empty_table_and_other_tables_are_refused():
    assert cvi.tl.summary(frame_of()).empty
    with pytest.raises(
        KeyError, match="columns \\['metric', 'source'.*found \\['metric'\\]. Pass what `cvi.tl.evaluate`"
    ):
        cvi.tl.summary(pd.DataFrame({"metric": []}))
