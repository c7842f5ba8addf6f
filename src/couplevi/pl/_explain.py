from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage

from couplevi._constants import Key
from couplevi._docs import fill_docs
from couplevi._validate import check_count, check_modality, check_mudata, expected, find_names
from couplevi.pl._figure import finish, make_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from mudata import MuData

    from couplevi._types import FloatArray, IntArray


@fill_docs
def explain(
    mdata: MuData,
    *,
    source: str,
    target: str,
    targets: Sequence[str] | str | None = None,
    n_features: int = 3,
    key: str = "jamie",
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | os.PathLike[str] | bool | None = None,
    return_fig: bool = False,
) -> Figure | Axes | list[Axes] | None:
    """Which source features drive which targets: mean absolute Shapley values, targets by features.

    Shown are the features that are among the first of any target; a dot marks for which. Each row is relative to its
    largest value, since targets differ in units. Rows and columns of similar pattern are neighbours.

    Parameters
    ----------
    mdata
        MuData with mean absolute values, as written by :func:`couplevi.tl.explain`.
    source, target
        Those of :func:`couplevi.tl.explain`: a modality and a modality, ``"latent"`` or a column of labels.
    targets
        Rows to show; None takes all that were explained.
    n_features
        Features marked for each target.
    key
        The `key_added` of the explanation.
    %(ax)s
    %(show)s

    Returns
    -------
    %(drawn)s

    Raises
    ------
    KeyError
        If there are no such values, or a target was not explained.

    Examples
    --------
    >>> import couplevi as cvi
    >>> mdata = cvi.data.branching_manifold(n_obs=100)
    >>> quick = {"max_epochs": 2, "enable_progress_bar": False}
    >>> model = cvi.tl.jamie(mdata, modalities=("rna", "ephys"), train_kwargs=quick)
    >>> e = cvi.tl.explain(mdata, model, source="rna", target="ephys", cells=mdata.obs_names[:5])
    >>> ax = cvi.pl.explain(mdata, source="rna", target="ephys", targets=["ephys0", "ephys1"], show=False)
    >>> sorted(label.get_text() for label in ax.get_yticklabels())
    ['ephys0', 'ephys1']
    """
    check_mudata(mdata)
    check_count(n_features, "n_features")
    table, rows, columns = _table(mdata, source, target, key)
    if targets is not None:
        chosen = find_names(list(rows), targets, f"explained targets in {target!r}")
        table, rows = table[chosen], rows[chosen]
    top = np.argsort(-table, axis=1)[:, :n_features]
    shown = np.unique(top)
    share = table[:, shown] / np.maximum(table.max(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    is_top = np.zeros(table.shape, dtype=bool)
    np.put_along_axis(is_top, top, True, axis=1)
    order, across = _similar_first(share), _similar_first(share.T)
    share, is_top = share[np.ix_(order, across)], is_top[:, shown][np.ix_(order, across)]
    axes = make_axes(1, ax, width=max(4.5, 2.5 + 0.2 * len(shown)), height=max(3.2, 1.5 + 0.2 * len(rows)))
    image = axes[0].imshow(share, aspect="auto", cmap="Blues", vmin=0, vmax=1)
    y, x = np.nonzero(is_top)
    axes[0].scatter(x, y, s=9, color="tab:orange", linewidths=0)
    axes[0].set_yticks(range(len(rows)), rows[order], fontsize="small")
    axes[0].set_xticks(range(len(shown)), columns[shown][across], rotation=90, fontsize="small")
    axes[0].set(xlabel=f"feature of {source}", ylabel=target, title=f"What predicts {target} from {source}")
    axes[0].figure.colorbar(image, ax=axes[0], label="mean |SHAP| / row maximum", fraction=0.03)
    return finish(axes, show, save, return_fig, "explain")


def _table(mdata: MuData, source: str, target: str, key: str) -> tuple[FloatArray, np.ndarray, np.ndarray]:
    """Mean absolute values, explained targets by source features, and their names."""
    check_modality(mdata, source, "source")
    is_modality = target in mdata.mod
    place, slot = (target, Key.varm.shap_from(key, source)) if is_modality else (source, Key.varm.shap_to(key, target))
    if slot not in mdata[place].varm:
        remedy = (
            f"Run `cvi.tl.explain(mdata, model, source={source!r}, target={target!r})` first; for modalities "
            "registered by `use_rep` it writes nothing, and there is only the figure of `shap.plots`."
        )
        found = f"keys {list(mdata[place].varm)}"
        raise KeyError(expected(f"`mdata[{place!r}].varm[{slot!r}]`", found, remedy))
    values = np.asarray(mdata[place].varm[slot])
    record = mdata.uns.get(key, {})
    if is_modality:
        table, rows, columns = values, mdata[target].var_names, record[Key.uns.VAR_NAMES][source]
    else:
        table, columns = values.T, mdata[source].var_names
        classifier = record.get(Key.uns.CLASSIFIERS, {}).get(target)
        rows = [str(k) for k in range(len(table))] if classifier is None else classifier["classes"]
    explained = np.isfinite(table).any(axis=1)
    rows, columns = (np.asarray(names, dtype=object) for names in (rows, columns))
    return np.nan_to_num(table[explained]), rows[explained], columns


def _similar_first(table: FloatArray) -> IntArray:
    """Order of the rows in which similar ones are neighbours."""
    return leaves_list(linkage(table, "average", optimal_ordering=True)) if len(table) > 2 else np.arange(len(table))
