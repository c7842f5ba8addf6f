from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from couplevi._constants import Key
from couplevi._docs import fill_docs
from couplevi.pl._figure import BLUE, ORANGE, RED, finish, legend_beside, make_axes
from couplevi.pl._values import written

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from mudata import MuData

MOST_TICKS = 12
LIMIT: dict[str, Any] = {"color": RED, "linestyle": "--", "linewidth": 1}


@fill_docs
def pruning(
    data: AnnData | MuData,
    *,
    key: str = "cplmixvae",
    ax: Sequence[Axes] | Axes | None = None,
    show: bool | None = None,
    save: str | os.PathLike[str] | bool | None = None,
    return_fig: bool = False,
) -> Figure | Axes | list[Axes] | None:
    """Consensus and likelihood against the number of categories, the limits that decided, and which number was kept.

    The first panel has the consensus of the arms on held-out cells, in [0, 1], with the one that is asked for, the
    second the held-out evidence lower bound in nats per cell, minus that of the best round that reaches the consensus,
    with the standard error of this difference. Kept is the round with the fewest categories whose consensus reaches its
    limit and whose error bar reaches the best bound; if none has the consensus, the one that has most of it.

    Parameters
    ----------
    %(mixture)s
    %(panels)s
    %(show)s

    Returns
    -------
    %(drawn)s

    Raises
    ------
    KeyError
        If there is no history of pruning.
    ValueError
        If `ax` has another number of axes.

    Examples
    --------
    >>> import couplevi as cvi
    >>> adata = cvi.data.count_clusters(n_obs=200)["rna"]
    >>> quick = {"max_epochs": 20, "prune": False, "enable_progress_bar": False}  # leave `prune` out
    >>> model = cvi.tl.cplmixvae(adata, n_categories=6, layers="log1p", seed=0, train_kwargs=quick)
    >>> axes = cvi.pl.pruning(adata, show=False)
    """
    rounds = pd.DataFrame({name: np.asarray(x) for name, x in written(data, key, Key.uns.PRUNING).items()})
    least = float(rounds["min_consensus"].iloc[0])
    rounds["bound"] = -rounds["elbo_shortfall"]
    fails = rounds["consensus"] < least  # with a single arm there is nothing to compare
    kept = rounds[rounds["selected"].astype(bool)]
    n = rounds["n_categories"]
    axes = make_axes(2, ax, width=4.2)
    axes[0].plot(n, rounds["consensus"], color=BLUE, linewidth=1)
    axes[0].axhline(least, **LIMIT)
    axes[0].set(ylabel="consensus on held-out cells", ylim=(np.nanmin([0.5, *rounds["consensus"]]) - 0.02, 1.02))
    if rounds["consensus"].isna().all():
        axes[0].text(0.5, 0.25, "a single arm: no consensus", ha="center", transform=axes[0].transAxes)
    axes[1].errorbar(n, rounds["bound"], rounds["elbo_shortfall_se"], color=BLUE, linewidth=1, capsize=3)
    axes[1].axhline(0, **LIMIT)
    axes[1].set(ylabel="held-out ELBO minus the best, nats")
    for panel, score in zip(axes, ("consensus", "bound"), strict=True):
        for some, face, told in ((~fails, BLUE, "reaches the consensus"), (fails, "white", "does not reach it")):
            if some.any():
                panel.scatter(n[some], rounds[score][some], 30, facecolor=face, edgecolor=BLUE, label=told, zorder=3)
        panel.scatter(
            kept["n_categories"], kept[score], 130, "none", edgecolor=ORANGE, linewidth=2, label="kept", zorder=4
        )
        panel.set(xlabel="number of categories", xlim=(n.max() + 0.5, n.min() - 0.5))  # pruning goes to the right
        panel.set_xticks(n[:: -(-len(n) // MOST_TICKS)])
    axes[1].plot(
        [], [], **LIMIT, label=f"limits: consensus {least:g}; the best bound,\nwhich bars (1 s.e.) have to reach"
    )
    legend_beside(axes[1])
    axes[0].set_title(f"{kept['n_categories'].iloc[0]} categories kept")
    return finish(axes, show, save, return_fig, "pruning")
