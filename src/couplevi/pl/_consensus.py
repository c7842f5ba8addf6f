from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

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
def consensus(
    data: AnnData | MuData,
    *,
    key: str = "cplmixvae",
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | os.PathLike[str] | bool | None = None,
    return_fig: bool = False,
) -> Figure | Axes | list[Axes] | None:
    """How far the arms of a mixture agree on which cells are of which category.

    All cells of the model count, those trained on included; :func:`couplevi.pl.pruning` has the consensus on held-out
    cells.

    Parameters
    ----------
    %(mixture)s
    %(ax)s
    %(show)s

    Returns
    -------
    %(drawn)s

    Raises
    ------
    KeyError
        If there is no consensus matrix: not written, or of a single arm.

    Examples
    --------
    >>> import couplevi as cvi
    >>> adata = cvi.data.count_clusters(n_obs=200)["rna"]
    >>> quick = {"max_epochs": 20, "prune": False, "enable_progress_bar": False}
    >>> model = cvi.tl.cplmixvae(adata, n_categories=6, layers="log1p", seed=0, train_kwargs=quick)
    >>> ax = cvi.pl.consensus(adata, show=False)
    """
    shares = np.asarray(written(data, key, Key.uns.CONSENSUS))
    [axes] = make_axes(1, ax, width=4.8, height=4.2)
    image = axes.imshow(shares, vmin=0, vmax=1, cmap="viridis")
    axes.figure.colorbar(image, ax=axes, label="share of the larger category")
    step = -(-len(shares) // 20)  # at most 20 labels
    names = list(data.uns[key].get(Key.uns.CATEGORIES, map(str, range(len(shares)))))[::step]
    upright = len(names) > 10 or max(map(len, names)) > 2
    axes.set_xticks(range(0, len(shares), step), names, rotation=90 if upright else 0)
    axes.set_yticks(range(0, len(shares), step), names)
    axes.set(xlabel="category by one arm", ylabel="category by another arm")
    axes.set_title(f"mean consensus {np.nanmean(shares.diagonal()):.3f}, all cells")
    return finish([axes], show, save, return_fig, "consensus")
