from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from couplevi._validate import expected
from couplevi.metrics import jensen_shannon_distance
from couplevi.pl._figure import finish, make_axes, palette
from couplevi.pl._values import imputed_values, shown_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from mudata import MuData


def distribution_similarity(
    mdata: MuData,
    *,
    source: str,
    target: str,
    labels: str,
    keys: Sequence[str] | str = "jamie",
    layer: str | None = None,
    cells: Sequence[str] | None = None,
    min_cells: int = 10,
    ax: Sequence[Axes] | Axes | None = None,
    show: bool | None = None,
    save: str | os.PathLike[str] | None = None,
    return_fig: bool = False,
) -> Figure | Axes | list[Axes] | None:
    """Do imputed values of a cell type have the distribution of the measured ones? A curve per type, a panel per method.

    The similarity of a feature is one minus the Jensen-Shannon distance of the two distributions, in [0, 1], 1 for
    equal ones. A curve gives the share of features at least so similar: the further up and right, the better. The
    number beside a type is its mean.

    Parameters
    ----------
    mdata
        MuData with imputed values, as written by :func:`couplevi.tl.impute`.
    source, target
        Modality that was imputed from, and the one imputed.
    labels
        Column of ``mdata.obs`` with cell types; cells without one are left out.
    keys
        The `key_added` of the imputations to show.
    layer
        Layer of the target that was registered; None is ``X``.
    cells
        Cells to compare; None takes all that were measured and imputed.
    min_cells
        Types with fewer cells are left out: few values fill few bins.
    ax
        One axes per imputation; None makes a figure.
    show, save, return_fig
        Show the figure, write it to a path, return it; as in scanpy.

    Returns
    -------
    None if shown, the figure with `return_fig`, else the axes.

    Raises
    ------
    KeyError
        If an imputation, the layer, the column or a cell is missing.
    ValueError
        If no type has `min_cells` cells with all values.

    References
    ----------
    Cohen Kalafut, Huang and Wang, Joint variational autoencoders for multimodal imputation and embedding,
    Nature Machine Intelligence 2023, panels d of its figures.

    Examples
    --------
    >>> import couplevi as cvi
    >>> mdata = cvi.data.branching_manifold(n_obs=100)
    >>> quick = {"max_epochs": 2, "enable_progress_bar": False}
    >>> model = cvi.tl.jamie(mdata, modalities=("rna", "ephys"), train_kwargs=quick)
    >>> cvi.tl.impute(mdata, model, source="rna", target="ephys")
    >>> ax = cvi.pl.distribution_similarity(mdata, source="rna", target="ephys", labels="cell_type", show=False)
    >>> [text.get_text()[0] for text in ax.get_legend().get_texts()]
    ['A', 'B', 'C']
    """
    keys = [keys] if isinstance(keys, str) else list(keys)
    values = imputed_values(mdata, source, target, keys, layer=layer, cells=cells)
    types = shown_labels(mdata, labels, values.cells)
    shown = sorted(types.value_counts().loc[lambda n: n >= min_cells].index)
    if not shown:
        raise ValueError(expected(f"a type of at least {min_cells} cells in `mdata.obs[{labels!r}]`", "none"))
    known = types.isin(shown).to_numpy()
    y = types[known].to_numpy()
    colors = palette(sorted(types.dropna().unique()))
    axes = make_axes(len(keys), ax, width=4.6, height=3.4)
    for ax_key, key in zip(axes, keys, strict=True):
        similarity = 1 - jensen_shannon_distance(values.measured[known], values.imputed[key][known], y)
        share = 1 - np.arange(similarity.shape[1]) / similarity.shape[1]
        for label, row in zip(shown, similarity, strict=True):
            name = f"{label} ({row.mean():.2f})"
            ax_key.step(np.sort(row), share, where="pre", color=colors[label], linewidth=1.2, label=name)
        ax_key.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="1 - Jensen-Shannon distance", ylabel="share of features")
        ax_key.set_title(f"{key}, mean {similarity.mean():.2f}")
        ax_key.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize="small")
    return finish(axes, show, save, return_fig)
