from __future__ import annotations

import pandas as pd

from couplevi._validate import expected
from couplevi.metrics import METRICS
from couplevi.tl._evaluate import COLUMNS, HELD_OUT, IN_SAMPLE

PLACE = ["better", "scored", "split", "n"]
SIGNS = {"foscttm": "-", "lta": "<-"}
"""Which way a score goes between source and target, where it is not from one to the other."""


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Scores in a table that fits a screen: a row per metric and direction, a column per method.

    What was scored on held-out pairs hides what the same metric has on those trained on (``"in_sample"``).

    Parameters
    ----------
    frame
        As returned by :func:`couplevi.tl.evaluate`, or several of them joined by :func:`pandas.concat`: runs of a
        method are averaged, so give models of one class names of their own in column ``"method"``.

    Returns
    -------
    Indexed by metric, with columns ``better``: ``"smaller"``, ``"larger"`` or ``"close to"`` a value; ``scored``: what
    is predicted from what, as ``"rna->ephys"``, or ``"rna<-ephys"`` for labels of rna that come from ephys; ``split``;
    ``n``, cells; and a column per method, rounded to three decimals. Medians, counts and comparisons with baselines
    stay in the frame.

    Raises
    ------
    KeyError
        If a column is missing.

    Examples
    --------
    >>> import couplevi as cvi
    >>> mdata = cvi.data.branching_manifold(n_obs=100)
    >>> quick = {"max_epochs": 2, "enable_progress_bar": False, "train_size": 0.8}
    >>> model = cvi.tl.jamie(mdata, modalities=("rna", "ephys"), train_kwargs=quick)
    >>> frame = cvi.tl.evaluate(mdata, model, baselines="knn")
    >>> table = cvi.tl.summary(frame)
    >>> list(table)
    ['better', 'scored', 'split', 'n', 'JAMIE', 'knn']
    >>> table.loc["pearson", ["better", "scored", "split", "n"]].values.tolist()
    [['larger', 'rna->ephys', 'held_out', 20], ['larger', 'ephys->rna', 'held_out', 20]]
    """
    if not set(COLUMNS) <= set(frame):
        raise KeyError(expected(f"columns {list(COLUMNS)}", list(frame), "Pass what `cvi.tl.evaluate` returned."))
    better = {name: record.better for name, record in METRICS.items() if record.better}
    rows = frame[frame["metric"].isin(better)]
    score = pd.MultiIndex.from_frame(rows[["metric", "source", "target"]])
    rows = rows[~(score.isin(score[rows["split"] == HELD_OUT]) & (rows["split"] == IN_SAMPLE))]
    place = rows["metric"].map({name: place for place, name in enumerate(better)})
    rows = rows.iloc[place.argsort(kind="stable")]
    sign = rows["metric"].map(lambda name: SIGNS.get(name, "->"))
    rows = rows.assign(better=rows["metric"].map(better), scored=rows["source"] + sign + rows["target"])
    values = rows.groupby(["metric", *PLACE, "method"])["value"].mean()
    order = pd.MultiIndex.from_frame(rows[["metric", *PLACE]].drop_duplicates())
    table = values.unstack("method").reindex(order)[rows["method"].unique()]
    return table.round(3).reset_index(PLACE).rename_axis(columns=None)
