from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from matplotlib.ticker import MaxNLocator

from couplevi._constants import Key
from couplevi._validate import check_count, expected, find_names
from couplevi.pl._figure import finish, make_axes

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from mudata import MuData

KEY = "cplmixvae"


class HasStates(Protocol):
    """A trained :class:`~couplevi.model.CplMixVAE`."""

    def traverse_state(
        self, category: str, *, dimension: int, n_steps: int, modality: str | None, arm: int
    ) -> pd.DataFrame: ...


def consensus(
    data: AnnData | MuData,
    *,
    key: str = KEY,
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | os.PathLike[str] | None = None,
    return_fig: bool = False,
) -> Figure | Axes | list[Axes] | None:
    """How far the arms of a mixture agree on which cells are of which category.

    Parameters
    ----------
    data
        AnnData or MuData with ``uns[key]``, written by :func:`couplevi.tl.cplmixvae`.
    key
        Its `key_added`.
    ax
        Axes to draw into; None makes a figure.
    show, save, return_fig
        As in scanpy.

    Returns
    -------
    Axes if `show` is False or `save` is given, the figure with `return_fig`, else None.

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
    shares = np.asarray(_written(data, key, Key.uns.CONSENSUS))
    [axes] = make_axes(1, ax, width=4.8, height=4.2)
    image = axes.imshow(shares, vmin=0, vmax=1, cmap="viridis")
    axes.figure.colorbar(image, ax=axes, label="share of the larger category")
    step = -(-len(shares) // 20)  # at most 20 labels
    names = [str(k) for k in range(0, len(shares), step)]
    axes.set_xticks(range(0, len(shares), step), names)
    axes.set_yticks(range(0, len(shares), step), names)
    axes.set(xlabel="category by one arm", ylabel="category by another arm")
    axes.set_title(f"mean consensus {np.nanmean(shares.diagonal()):.3f}")
    return finish([axes], show, save, return_fig)


def pruning(
    data: AnnData | MuData,
    *,
    key: str = KEY,
    ax: Sequence[Axes] | None = None,
    show: bool | None = None,
    save: str | os.PathLike[str] | None = None,
    return_fig: bool = False,
) -> Figure | Axes | list[Axes] | None:
    """Consensus and likelihood against the number of categories, and which number was kept.

    Parameters
    ----------
    data
        AnnData or MuData with ``uns[key]``, written by :func:`couplevi.tl.cplmixvae`.
    key
        Its `key_added`.
    ax
        Two axes to draw into: consensus of the arms on held-out cells, and the held-out evidence lower bound minus the
        best one in nats per cell, with its standard error. None makes a figure.
    show, save, return_fig
        As in scanpy.

    Returns
    -------
    Axes if `show` is False or `save` is given, the figure with `return_fig`, else None.

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
    history: Mapping[str, Any] = _written(data, key, Key.uns.PRUNING)
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
    return finish(axes, show, save, return_fig)


def state_traversal(
    model: HasStates,
    category: str,
    *,
    dimension: int = 0,
    modality: str | None = None,
    arm: int = 0,
    features: Sequence[str] | str | None = None,
    n_features: int = 20,
    n_steps: int = 15,
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | os.PathLike[str] | None = None,
    return_fig: bool = False,
) -> Figure | Axes | list[Axes] | None:
    """How features change along a continuous state within a category.

    Parameters
    ----------
    model
        Trained :class:`~couplevi.model.CplMixVAE`.
    category, dimension, modality, arm, n_steps
        What is traversed, see :meth:`~couplevi.model.CplMixVAE.traverse_state`.
    features
        Features to show; None shows the `n_features` that change most.
    n_features
        Number of these, at least 1.
    ax
        Axes to draw into; None makes a figure.
    show, save, return_fig
        As in scanpy.

    Returns
    -------
    Axes if `show` is False or `save` is given, the figure with `return_fig`, else None. Colours are the difference from
    the middle of the path, in the units of the registered values.

    Raises
    ------
    KeyError
        For an unknown feature.
    ValueError
        As :meth:`~couplevi.model.CplMixVAE.traverse_state`, or for no feature.

    Examples
    --------
    >>> import couplevi as cvi
    >>> adata = cvi.data.count_clusters(n_obs=200)["rna"]
    >>> quick = {"max_epochs": 20, "prune": False, "enable_progress_bar": False}
    >>> model = cvi.tl.cplmixvae(adata, n_categories=6, layers="log1p", seed=0, train_kwargs=quick)
    >>> ax = cvi.pl.state_traversal(model, "0", show=False)
    """
    check_count(n_features, "n_features")
    path = model.traverse_state(category, dimension=dimension, n_steps=n_steps, modality=modality, arm=arm)
    total = path.iloc[-1] - path.iloc[0]
    if features is None:
        chosen = total.abs().sort_values(ascending=False).index[:n_features]
    else:
        chosen = path.columns[find_names(path.columns, features, "features")]
    change = (path - path.iloc[len(path) // 2])[total[chosen].sort_values(ascending=False).index]
    largest = max(float(change.abs().to_numpy().max()), 1e-12)
    [axes] = make_axes(1, ax, width=5.0, height=1.2 + 0.2 * len(chosen))
    step = max((path.index[1] - path.index[0]) / 2, 1e-6)  # a category of one cell has no path
    extent = (path.index[0] - step, path.index[-1] + step, len(chosen) - 0.5, -0.5)
    image = axes.imshow(change.to_numpy().T, aspect="auto", cmap="RdBu_r", vmin=-largest, vmax=largest, extent=extent)
    axes.figure.colorbar(image, ax=axes, label="change from the middle")
    axes.set_yticks(range(len(chosen)), list(change.columns))
    axes.set(xlabel=f"state {dimension}", title=f"category {category}")
    return finish([axes], show, save, return_fig)


def _written(data: AnnData | MuData, key: str, slot: str) -> Any:
    """What :func:`couplevi.tl.cplmixvae` wrote to a slot of ``uns[key]``."""
    found = data.uns.get(key, {})
    if slot not in found:
        remedy = f"Run `cvi.tl.cplmixvae(data, n_categories=..., key_added={key!r})`, with two arms or more."
        raise KeyError(expected(f"`uns[{key!r}][{slot!r}]`", f"keys {list(found or data.uns)}", remedy))
    return found[slot]
