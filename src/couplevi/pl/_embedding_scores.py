from __future__ import annotations

import os
import textwrap
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.patches import Rectangle
from matplotlib.transforms import ScaledTranslation

from couplevi._docs import fill_docs
from couplevi._validate import expected, find_names, listing
from couplevi.metrics import METRICS
from couplevi.pl._figure import finish, make_axes
from couplevi.pl._values import check_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from couplevi._types import FloatArray

OTHERS = "others"
GROUPS: dict[str, dict[str, str]] = {
    "biology": {
        "nmi": "NMI",
        "label_asw": "label\nsilhouette",
        "graph_connectivity": "graph\nconnectivity",
        "cell_cycle": "cell\ncycle",
        "trajectory": "trajectory",
    },
    "batches": {
        "batch_asw": "batch\nsilhouette",
        "ilisi": "iLISI",
        "kbet": "kBET",
    },
    OTHERS: {},
    "mean": {"mean4": "of four", "mean": "of all"},
}
"""Scores by what they tell, and what is written above them. scIB counts connectivity among batches; it needs none."""
TITLES = {name: title for group in GROUPS.values() for name, title in group.items()}
SINGLE = {name for name in TITLES if name not in GROUPS["mean"]}
"""Scores that the mean is of."""
OF_FOUR = {"nmi", "label_asw", "batch_asw", "graph_connectivity"}
LEAST_SPAN = 0.1
"""Difference of scores that all shades stand for, at least, so that small ones look small."""
SHADES = (0.02, 0.6)
"""Part of the colour map, from the worst to the best; black is read on all of it."""
WIDTH, HEIGHT, GAP = 0.8, 0.3, 0.2
"""Of a cell in inches, and the gap between groups in cells."""
HEAD = 32.0
"""Height of the names of groups above the cells, in points."""
DASH, QUIET = "–", "0.35"
REMEDY = "Pass what `cvi.metrics.joint_embedding` returned, by the name of the method."


@fill_docs
def embedding_scores(
    scores: Mapping[str, pd.DataFrame] | pd.DataFrame,
    *,
    columns: Sequence[str] | str | None = None,
    sort_by: str | None = None,
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | os.PathLike[str] | bool | None = None,
    return_fig: bool = False,
) -> Figure | Axes | list[Axes] | None:
    """Scores of embeddings in a table: a row for each method, a column for each score.

    The darker a cell, the better, from the best of its column down; all shades stand for a difference of 0.1 or more. The
    best are bold, those included that look the same with two decimals. Of one method alone, the darkest is the value of
    a perfect embedding, and none is bold. A score that could not be computed is a dash.

    Parameters
    ----------
    scores
        What :func:`couplevi.metrics.joint_embedding` returned, by the name of the method; or one such frame, for one
        method or, with a column ``"method"``, several. Larger is better unless ``cvi.metrics.METRICS`` has a record of
        the score that says otherwise.
    columns
        Scores to show, in groups. None takes those that a method has, and of the means, which come last, those that can
        be compared: ``"mean"`` only if all methods have the same scores, and more than the four of ``"mean4"``.
    sort_by
        Score to sort methods by, best first; None keeps their order.
    %(ax)s
    %(show)s

    Returns
    -------
    %(drawn)s

    Raises
    ------
    TypeError
        If `scores`, or one of them, is not a frame.
    KeyError
        If a frame lacks the columns ``"score"`` and ``"value"``, or a score to show or sort by is not there.
    ValueError
        If a frame has a score twice or an infinite value, or there is no score at all.

    References
    ----------
    Luecken et al., Benchmarking atlas-level data integration in single-cell genomics, Nature Methods 2022, figure 3.

    Examples
    --------
    >>> import numpy as np
    >>> import couplevi as cvi
    >>> rng = np.random.default_rng(0)
    >>> labels, batch = np.repeat(["B", "T"], 60), np.tile(["one", "two"], 60)
    >>> noise = rng.normal(size=(120, 2))
    >>> apart = noise + 20 * (labels == "T")[:, None]
    >>> scores = {name: cvi.metrics.joint_embedding(z, labels, batch) for name, z in (("a", apart), ("b", noise))}
    >>> ax = cvi.pl.embedding_scores(scores, show=False)
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['a', 'b']
    """
    frames = _frames(scores)
    table = _table(frames)
    if sort_by is not None:
        [by] = find_names(table.columns, sort_by, "scores to sort by")
        table = table.iloc[np.argsort(-_goodness(sort_by, table.iloc[:, by].to_numpy()), kind="stable")]
    chosen = (
        _comparable(table) if columns is None else list(table.columns[find_names(table.columns, columns, "scores")])
    )
    groups = {group: [score for score in chosen if _group(score) == group] for group in GROUPS}
    left: dict[str, float] = {}
    end = -GAP
    for members in groups.values():
        left |= {score: end + GAP + j for j, score in enumerate(members)}
        end += (GAP + len(members)) * bool(members)
    names = [str(method) for method in table.index]
    margin = 0.3 + 0.085 * max(map(len, names))
    [axes] = make_axes(1, ax, width=WIDTH * end + margin, height=HEIGHT * len(names) + 1.25)
    for score, x in left.items():
        is_ranked = score != "mean" or _same_scores(table)
        _column(axes, x, table[score].to_numpy(), _goodness(score, table[score].to_numpy()) if is_ranked else None)
    axes.set(xlim=(0, end), ylim=(len(names), 0))
    axes.set_yticks(np.arange(len(names)) + 0.5, names)
    n_single = int(table[[score for score in table if score in SINGLE]].notna().any().sum())
    titles = [f"of all {n_single}" if score == "mean" else _title(score) for score in left]
    axes.set_xticks(np.array(list(left.values())) + 0.5, titles, fontsize="small")
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for group, members in groups.items():
        if members and members != chosen:  # one group alone needs no name
            _head(axes, group, left[members[0]], left[members[-1]] + 1)
    notes = [" ".join([*_n_cells(frames), _direction(left)]), *_notes(table, left)]
    axes.set_xlabel("\n".join(notes), fontsize="small", color=QUIET, loc="left")
    return finish([axes], show, save, return_fig, "embedding_scores")


def _frames(scores: Mapping[str, pd.DataFrame] | pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Frame of each method, checked."""
    if isinstance(scores, pd.DataFrame):
        by_method = scores.groupby("method", sort=False) if "method" in scores else [("embedding", scores)]
        frames: dict[str, Any] = {str(method): frame for method, frame in by_method}
    elif isinstance(scores, Mapping):
        frames = dict(scores)
    else:
        raise TypeError(expected("frames by the name of their method", type(scores).__name__, REMEDY))
    for method, frame in frames.items():
        if not isinstance(frame, pd.DataFrame):
            raise TypeError(expected(f"a frame of scores of {method!r}", type(frame).__name__, REMEDY))
        check_columns(frame, ("score", "value"), REMEDY)
        if frame["score"].duplicated().any():
            double = listing(frame.loc[frame["score"].duplicated(), "score"].unique(), 3)
            remedy = "Name methods in a column `method`, and take the mean of several runs of one first."
            raise ValueError(expected(f"each score of {method!r} once", f"{double} more than once", remedy))
    return frames


def _table(frames: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Methods by scores, in the order in which they come; NaN where a method lacks one."""
    names = dict.fromkeys(score for frame in frames.values() for score in frame["score"])
    rows = [frame.set_index("score")["value"].astype(float).reindex(list(names)) for frame in frames.values()]
    table = pd.DataFrame(np.array(rows).reshape(len(rows), len(names)), list(frames), list(names))
    if np.isinf(table.to_numpy()).any():
        raise ValueError(expected("scores that are finite or NaN", "infinite ones"))
    if not table.notna().to_numpy().any():
        raise ValueError(expected("a score", "none", REMEDY))
    return table


def _same_scores(table: pd.DataFrame) -> bool:
    """Whether the mean of all scores is over the same ones for each method."""
    known = table[[score for score in table if score in SINGLE]].notna().to_numpy()
    return bool((known == known[0]).all())


def _comparable(table: pd.DataFrame) -> list[str]:
    """Scores that some method has, known ones in the order of `TITLES`, without a mean that says nothing of its own."""
    known = [str(score) for score in table if table[score].notna().any()]
    is_mean4 = "mean4" in known and OF_FOUR == {score for score in known if score in SINGLE}
    if is_mean4 or not _same_scores(table):
        known = [score for score in known if score != "mean"]
    return [*(score for score in TITLES if score in known), *(score for score in known if score not in TITLES)]


def _group(score: str) -> str:
    return next((group for group, members in GROUPS.items() if score in members), OTHERS)


def _title(score: str) -> str:
    """What is written above a column, on several lines if it is long."""
    if score in TITLES:
        return TITLES[score]
    return textwrap.fill(METRICS[score].title if score in METRICS else score.replace("_", " "), 12)


def _goodness(score: str, values: FloatArray) -> FloatArray:
    """How far values are below a perfect one, at most 0; NaN of a score without a direction."""
    if score not in METRICS:
        return values - 1
    best = METRICS[score].best
    return np.full(len(values), np.nan) if best is None else -np.abs(values - best)


def _column(ax: Axes, x: float, values: FloatArray, goodness: FloatArray | None) -> None:
    """Cells of a score with its values, the better the darker; without a shade where there is no better."""
    shade = np.full(len(values), np.nan)
    texts = [DASH if np.isnan(value) else f"{value:.2f}" for value in values]
    best: set[str] = set()
    if goodness is not None and not np.isnan(goodness).all():
        top, several = np.nanmax(goodness), len(values) > 1
        span = max(LEAST_SPAN, float(top - np.nanmin(goodness)))
        shade = 1 - (top - goodness) / span if several else np.clip(1 + goodness, 0, 1)
        best = {texts[i] for i in np.flatnonzero(goodness == top)} if several else set()
    colors = mpl.colormaps["Blues"].with_extremes(bad="white")(SHADES[0] + (SHADES[1] - SHADES[0]) * shade)
    for i, (text, color) in enumerate(zip(texts, colors, strict=True)):
        ax.add_patch(Rectangle((x, i), 1, 1, facecolor=color, edgecolor="white", linewidth=1.5))
        style: dict[str, Any] = {"ha": "center", "va": "center_baseline", "color": QUIET if text == DASH else "black"}
        ax.text(x + 0.5, i + 0.5, text, weight="bold" if text in best else "normal", **style)


def _head(ax: Axes, name: str, left: float, right: float) -> None:
    """The name of a group above the titles of its scores, with a line below."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    above = ax.transData + ScaledTranslation(0, HEAD / 72, figure.dpi_scale_trans)
    ax.plot([left + 0.06, right - 0.06], [0, 0], color=QUIET, linewidth=0.8, transform=above, clip_on=False)
    ax.text((left + right) / 2, 0, name, ha="center", va="bottom", transform=above)


def _n_cells(frames: Mapping[str, pd.DataFrame]) -> list[str]:
    """Cells that the scores are over, from the fewest to the most of a method; nothing if that is not known."""
    n = sorted({int(frame["n"].max()) for frame in frames.values() if "n" in frame and frame["n"].notna().any()})
    return [f"{' to '.join(f'{k:,}' for k in dict.fromkeys((n[0], n[-1])))} cells."] if n else []


def _direction(shown: Iterable[str]) -> str:
    better = {score: METRICS[score].better for score in shown if score in METRICS}
    others = [f"{METRICS[score].title}: {way or 'no direction'}" for score, way in better.items() if way != "larger"]
    return "; ".join(["Larger is better", *others]) + "."


def _notes(table: pd.DataFrame, shown: Container[str]) -> list[str]:
    """What a reader must know of the means."""
    notes = ["Of four: NMI, both silhouettes, graph connectivity."] if "mean4" in shown else []
    if "mean" in table and not _same_scores(table):
        fate = "cannot be compared" if "mean" in shown else "is left out"
        notes.append(f"Methods have different scores, so that the mean of all {fate}.")
    return notes
