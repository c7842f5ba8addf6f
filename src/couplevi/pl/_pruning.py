from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from couplevi._constants import Key
from couplevi._docs import fill_docs
from couplevi.pl._figure import finish, make_axes
from couplevi.pl._values import written

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from mudata import MuData


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
    """Consensus and likelihood against the number of categories, and which number was kept.

    The first panel has the consensus of the arms on held-out cells, in [0, 1], the second the held-out evidence lower
    bound in nats per cell, minus that of the best number that reached the consensus, with its standard error.

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
    history: Mapping[str, Any] = written(data, key, Key.uns.PRUNING)
    n, selected = (np.asarray(history[name]) for name in ("n_categories", "selected"))
    kept = int(n[selected.astype(bool)][0])
    axes = make_axes(2, ax, width=4.2)
    axes[0].plot(n, history["consensus"], marker="o", markersize=3)
    axes[0].set(ylabel="consensus on held-out cells", ylim=(np.nanmin([0.5, *history["consensus"]]), 1.02))
    axes[1].errorbar(n, -np.asarray(history["elbo_shortfall"]), history["elbo_shortfall_se"], marker="o", markersize=3)
    axes[1].set(ylabel="held-out ELBO minus the best, nats")
    for panel in axes:
        panel.axvline(kept, color="0.4", linestyle="--", linewidth=1)
        panel.set(xlabel="number of categories")
        panel.invert_xaxis()
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0].set_title(f"{kept} categories kept")
    return finish(axes, show, save, return_fig, "pruning")
