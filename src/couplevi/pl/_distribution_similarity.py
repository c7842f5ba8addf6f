from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from couplevi._docs import fill_docs
from couplevi._validate import expected
from couplevi.metrics import jensen_shannon_distance
from couplevi.pl._colors import category_colors
from couplevi.pl._figure import finish, legend_beside, make_axes
from couplevi.pl._values import imputed_values, shown_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from mudata import MuData


@fill_docs
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
    save: str | os.PathLike[str] | bool | None = None,
    return_fig: bool = False,
) -> Figure | Axes | list[Axes] | None:
    """Do imputed values of a cell type have the distribution of the measured ones? A curve per type, a panel per method.

    The similarity of a feature is one minus the Jensen-Shannon distance of the two distributions, in [0, 1], 1 for
    equal ones. A curve gives the share of features at least so similar: the further up and right, the better. The
    number beside a type is its mean.

    Parameters
    ----------
    %(imputed)s
    %(imputed_from_to)s
    %(cell_types)s
    keys
        The `key_added` of the imputations to show.
    %(imputed_layer)s
    %(imputed_cells)s
    min_cells
        Types with fewer cells are left out: few values fill few bins.
    %(panels)s
    %(show)s

    Returns
    -------
    %(drawn)s

    Raises
    ------
    KeyError
        If an imputation, the layer, the column or a cell is missing.
    ValueError
        If no type has `min_cells` cells with all values.

    References
    ----------
    %(jamie_paper)s, panels d of its figures.

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
    n = types.value_counts()
    shown = [label for label in types.cat.categories if n[label] >= min_cells]
    if not shown:
        remedy = "Pass more `cells`, or a lower `min_cells`."
        what = f"a type of at least {min_cells} cells in `mdata.obs[{labels!r}]`"
        raise ValueError(expected(what, f"none among {len(types)} cells", remedy))
    colors = category_colors(mdata, labels, list(types.cat.categories))
    known = types.isin(shown).to_numpy()
    values, types = values.of(known), types[known]
    axes = make_axes(len(keys), ax, width=4.6, height=3.4)
    for ax_key, key in zip(axes, keys, strict=True):
        similarity = []
        for label in shown:
            of_type = values.of((types == label).to_numpy())
            row = 1 - jensen_shannon_distance(of_type.measured, of_type.imputed[key])
            similarity.append(row)
            share = 1 - np.arange(len(row)) / len(row)
            name = f"{label} ({row.mean():.2f})"
            ax_key.step(np.sort(row), share, where="pre", color=colors[label], linewidth=1.2, label=name)
        ax_key.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="1 - Jensen-Shannon distance", ylabel="share of features")
        ax_key.set_title(f"{key}, mean {np.mean(similarity):.2f}\n{values.told}", fontsize="medium")
        legend_beside(ax_key)
    return finish(axes, show, save, return_fig, "distribution_similarity")
