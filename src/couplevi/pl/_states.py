from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import Ellipse
from scipy import stats

from couplevi._constants import Key
from couplevi._docs import fill_docs
from couplevi._labels import label_texts
from couplevi._validate import check_fraction, expected, find_names
from couplevi.pl._colors import category_colors
from couplevi.pl._figure import finish, legend_beside, make_axes
from couplevi.pl._names import name_points

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from couplevi._protocols import DescribesStates
    from couplevi._types import FloatArray

MOST_STATES = 6
"""States that are shown unless they are named."""
FEWEST_CELLS = 2
MOST_NAMES = 11
"""The control and states up to which names are beside the means; of more, in a legend."""
CONTROL_COLOR = "0.45"
DARKER = 0.75
"""Brightness of a name beside that of its ellipse."""


@fill_docs
def states(
    adata: AnnData,
    model: DescribesStates,
    *,
    states: Sequence[str] | str | None = None,
    group: str | None = None,
    components: tuple[int, int] = (0, 1),
    level: float = 0.5,
    key: str = "otgm",
    size: float | None = None,
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | os.PathLike[str] | bool | None = None,
    return_fig: bool = False,
) -> Figure | Axes | list[Axes] | None:
    """Cells and Gaussians of states in two principal components, with the transport from the control to each.

    The control is grey, and states have the colours of ``uns["{state_key}_colors"]`` if scanpy put them. An ellipse holds the given share of a state's Gaussian in these two components; arrows go from
    the mean of the control to those of the states. More than 10 states are named in a legend.

    Parameters
    ----------
    adata
        Cells with their scores, as written by :func:`couplevi.tl.otgm`; some are of the control.
    model
        The model that it returned.
    states
        States to show; None takes those with cells here, or the 6 that are furthest from the control in these
        components if there are more.
    group
        Type of the cells; needed with `group_key`.
    components
        Principal components of the axes, counted from 0.
    level
        Share of a Gaussian within its ellipse, in [0, 1).
    key
        The `key_added` of the model.
    %(size)s
    %(ax)s
    %(show)s

    Returns
    -------
    %(drawn)s

    Raises
    ------
    RuntimeError
        If the model is not trained.
    KeyError
        If the scores, the column of states or groups, or a state is missing.
    ValueError
        If scores are not those of the model, no cells are of the control or of another state, a state has no cells in
        the group, a group is not named, or `components` or `level` are out of range.

    Examples
    --------
    >>> import couplevi as cvi
    >>> adata = cvi.data.perturbation_screen(n_obs=200)
    >>> model = cvi.tl.otgm(adata, state_key="perturbation", control="control", layer="log1p", n_pcs=10)
    >>> ax = cvi.pl.states(adata, model, states=["gene0", "gene1"], show=False)
    >>> ax.get_xlabel()
    'principal component 1'
    """
    check_fraction(level, "level")
    control = model.gaussian(model.control_, group=group)
    scores = _scores(adata, key, control.basis.shape[1], components)
    labels = _labels(adata, model, group)
    is_control = labels == model.control_
    if not is_control.any():
        raise ValueError(expected(f"cells of the control {model.control_!r}", "none"))
    chosen = _chosen(model, labels, states)
    gaussians = {state: model.gaussian(state, group=group) for state in chosen}
    origin = scores[is_control].mean(axis=0)
    axis, plane = control.basis[:, list(components)], np.ix_(components, components)
    means = {state: origin + (gaussian.mean - control.mean) @ axis for state, gaussian in gaussians.items()}
    if states is None:
        chosen = sorted(chosen, key=lambda state: -float(np.linalg.norm(means[state] - origin)))[:MOST_STATES]
        chosen = [state for state in model.states_ if state in chosen]
    beside = 0.0 if len(chosen) < MOST_NAMES else (0.6 + 0.07 * max(map(len, chosen))) * _n_columns(len(chosen) + 1)
    [axes] = make_axes(1, ax, width=5.2 + beside, height=4.6)
    area = size or 15_000 / max(500, int(np.isin(labels, [model.control_, *chosen]).sum()))
    points = partial(axes.scatter, linewidths=0, rasterized=True)
    points(scores[is_control, 0], scores[is_control, 1], s=area / 2, color="0.75")
    colors = category_colors(adata, str(model.get_setup_arg("state_key")), chosen)
    order = np.random.default_rng(0).permutation(np.flatnonzero(np.isin(labels, chosen)))  # no state lies on top
    points(scores[order, 0], scores[order, 1], s=area, c=[colors[s] for s in labels[order]], alpha=0.5)
    axes.add_patch(_ellipse(origin, control.covariance[plane], level, CONTROL_COLOR))
    for state in chosen:
        axes.add_patch(_ellipse(means[state], gaussians[state].covariance[plane], level, colors[state]))
        arrow = {"arrowstyle": "-|>", "mutation_scale": 9, "color": colors[state], "linewidth": 1.6}
        axes.annotate("", means[state], origin, arrowprops={**arrow, "shrinkA": 0, "shrinkB": 0}, zorder=3)
    axes.set(xlabel=f"principal component {components[0] + 1}", ylabel=f"principal component {components[1] + 1}")
    axes.set_title("" if group is None else group)
    _name(axes, {model.control_: origin, **{s: means[s] for s in chosen}}, {model.control_: CONTROL_COLOR, **colors})
    return finish([axes], show, save, return_fig, "states")


def _scores(adata: AnnData, key: str, n: int, components: tuple[int, int]) -> FloatArray:
    """Scores of the cells in two of n components, shape ``(n_obs, 2)``."""
    slot = Key.obsm.latent(key)
    if slot not in adata.obsm:
        remedy = f"Run `cvi.tl.otgm(adata, ..., key_added={key!r})` first."
        raise KeyError(expected(f"`adata.obsm[{slot!r}]`", f"keys {list(adata.obsm)}", remedy))
    scores = np.asarray(adata.obsm[slot], dtype=np.float64)
    if scores.shape[1] != n:
        raise ValueError(expected(f"scores in the {n} components of the model", f"{scores.shape[1]} columns"))
    if len(components) != 2 or len({*components} & {*range(n)}) != 2:
        raise ValueError(expected(f"`components` to be two different ones from 0 to {n - 1}", repr(components)))
    return scores[:, list(components)]


def _labels(adata: AnnData, model: DescribesStates, group: str | None) -> np.ndarray:
    """State of each cell; empty for cells without one or of another group."""
    found = []
    for role in ("state_key", "group_key"):
        column = model.get_setup_arg(role)
        if column is not None and column not in adata.obs:
            raise KeyError(expected(f"column {column!r} in `adata.obs`", f"columns {list(adata.obs)}"))
        found.append(None if column is None else label_texts(adata.obs[column]))
    state, groups = found
    assert state is not None  # there is always a column of states
    here = np.ones(adata.n_obs, dtype=bool) if groups is None else groups == group
    known = np.array([isinstance(text, str) for text in state]) & here
    return np.where(known, state, "").astype(object)


def _chosen(model: DescribesStates, labels: np.ndarray, states: Sequence[str] | str | None) -> list[str]:
    """States that may be shown: those named, or those with cells."""
    others = [state for state in model.states_ if state != model.control_]
    if states is not None:
        return [others[i] for i in find_names(others, states, "states of the model besides the control")]
    if found := [state for state in others if (labels == state).sum() >= FEWEST_CELLS]:
        return found
    raise ValueError(expected("cells of a state besides the control", "none"))


def _ellipse(mean: FloatArray, covariance: FloatArray, level: float, color: Any) -> Ellipse:
    """Outline of what holds a share of a Gaussian of two dimensions."""
    values, vectors = np.linalg.eigh(covariance)
    width, height = 2 * np.sqrt(stats.chi2.ppf(level, 2) * values.clip(min=0))
    angle = float(np.degrees(np.arctan2(vectors[1, 0], vectors[0, 0])))
    return Ellipse(tuple(mean), width, height, angle=angle, fill=False, edgecolor=color, linewidth=1.3, zorder=2.5)


def _n_columns(n: int) -> int:
    """Columns of a legend."""
    return 1 + n // 18


def _name(ax: Axes, means: Mapping[str, FloatArray], colors: Mapping[str, Any]) -> None:
    """Name states, the control first, beside their means, which arrows lead to; many of them beside the axes."""
    if len(means) > MOST_NAMES:
        handles = [Line2D([], [], color=colors[s], linewidth=2, label=s) for s in means]
        legend_beside(ax, _n_columns(len(means)), handles)
        return
    points = np.array(list(means.values()))
    arrows = points[0] + np.linspace(0, 1, 30)[:, None, None] * (points[1:] - points[0])
    dark = [tuple(DARKER * np.array(to_rgb(colors[s]))) for s in means]
    name_points(ax, points, list(means), colors=dark, avoid=arrows.reshape(-1, 2))
