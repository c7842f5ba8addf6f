from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from couplevi._docs import fill_docs
from couplevi._validate import check_count, find_names
from couplevi.pl._figure import finish, make_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from couplevi._protocols import Classifies


@fill_docs
def state_traversal(
    model: Classifies,
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
    save: str | os.PathLike[str] | bool | None = None,
    return_fig: bool = False,
) -> Figure | Axes | list[Axes] | None:
    """How features change along a continuous state within a category.

    Colours are the difference from the middle of the path, in the units of the registered values.

    Parameters
    ----------
    model
        Trained :class:`~couplevi.model.CplMixVAE`.
    %(state)s
    %(n_steps)s
    features
        Features to show; None shows the `n_features` that change most.
    n_features
        Number of these, at least 1.
    %(ax)s
    %(show)s

    Returns
    -------
    %(drawn)s

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
    [axes] = make_axes(1, ax, width=5.0, height=max(2.8, 1.2 + 0.2 * len(chosen)))
    step = max((path.index[1] - path.index[0]) / 2, 1e-6)  # a category of one cell has no path
    extent = (path.index[0] - step, path.index[-1] + step, len(chosen) - 0.5, -0.5)
    image = axes.imshow(change.to_numpy().T, aspect="auto", cmap="RdBu_r", vmin=-largest, vmax=largest, extent=extent)
    axes.figure.colorbar(image, ax=axes, label="change from the middle")
    axes.set_yticks(range(len(chosen)), list(change.columns))
    axes.set(xlabel=f"state {dimension}", title=f"category {category}")
    return finish([axes], show, save, return_fig, "state_traversal")
