from __future__ import annotations

import os
import textwrap
from typing import TYPE_CHECKING, Literal

import numpy as np
from matplotlib.patches import Patch

from couplevi._docs import fill_docs
from couplevi._validate import check_count, expected
from couplevi.pl._figure import BLUE, ORANGE, finish, legend_beside, make_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from couplevi._protocols import DescribesStates

COLORS = {"down": BLUE, "up": ORANGE}
SIGNIFICANT = 0.05
PALE = 0.35
"""Opacity of what is not significant."""
TITLE_WIDTH = 44
"""Characters in a line of the title."""


@fill_docs
def ranked_genes(
    model: DescribesStates,
    state: str,
    *,
    source: str | None = None,
    direction: Literal["both", "down", "up"] = "both",
    n_genes: int = 20,
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | os.PathLike[str] | bool | None = None,
    return_fig: bool = False,
) -> Figure | Axes | list[Axes] | None:
    """Which features shift most clearly in a state, best first, and which way.

    Bars are pale where the shift is not significant (q of at least 0.05). The feature that was perturbed is written in
    bold, if the state is called like it; of ``"A+B"`` both are.

    Parameters
    ----------
    model
        A trained model, such as :func:`couplevi.tl.otgm` returns.
    state
        State that is looked at.
    source
        State it is compared with; None is the control.
    direction
        ``"down"``: features that are lower in the state, as the target of a knock-down; ``"up"``: higher ones; or
        ``"both"``.
    n_genes
        Features shown.
    %(ax)s
    %(show)s

    Returns
    -------
    %(drawn)s

    Raises
    ------
    RuntimeError
        If the model is not trained.
    ValueError
        If a state or the direction is unknown, both states are the same or have no group in common, or nothing shifts
        in this direction.

    Examples
    --------
    >>> import couplevi as cvi
    >>> adata = cvi.data.perturbation_screen(n_obs=200)
    >>> model = cvi.tl.otgm(adata, state_key="perturbation", control="control", layer="log1p", n_pcs=10)
    >>> ax = cvi.pl.ranked_genes(model, "gene1", show=False)
    >>> ax.get_yticklabels()[0].get_text()
    'gene1'
    """
    check_count(n_genes, "n_genes")
    frame = model.rank_genes(state, source=source, direction=direction).head(n_genes)
    if frame.empty:
        raise ValueError(expected(f"features that shift {direction}", "none"))
    significant = frame["q_value"] < SIGNIFICANT
    [axes] = make_axes(1, ax, width=5.0, height=1.1 + 0.2 * max(len(frame), 6))
    bars = axes.barh(np.arange(len(frame)), frame["z"], color=[COLORS[d] for d in frame["direction"]])
    for bar, is_clear in zip(bars, significant, strict=True):
        bar.set_alpha(None if is_clear else PALE)
    axes.set_yticks(range(len(frame)), frame["gene"], fontsize="small")
    axes.set_ylim(len(frame) - 0.4, -0.6)  # the best on top
    for label in axes.get_yticklabels():
        if label.get_text() in {state, *state.split("+")}:
            label.set_fontweight("bold")
    axes.axvline(0, color="0.3", linewidth=0.8)
    against = model.control_ if source is None else source
    axes.set_title(textwrap.fill(f"{state} against {against}", TITLE_WIDTH), fontsize="medium")
    axes.set_xlabel("z: shift / (its standard error + the median one)")
    told = {"down": "lower", "up": "higher"}
    handles = [Patch(color=COLORS[d], label=text) for d, text in told.items() if d in set(frame["direction"])]
    if not significant.all():
        handles.append(Patch(facecolor="0.3", edgecolor="none", alpha=PALE, label=f"pale: q ≥ {SIGNIFICANT}"))
    legend_beside(axes, handles=handles)
    return finish([axes], show, save, return_fig, "ranked_genes")
