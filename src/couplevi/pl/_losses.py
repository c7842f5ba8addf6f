from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from couplevi._docs import fill_docs
from couplevi._validate import expected
from couplevi.pl._figure import BLUE, ORANGE, finish, make_axes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TRAIN, VALIDATION = "train", "validation"
COLORS = {TRAIN: BLUE, VALIDATION: ORANGE}


class HasHistory(Protocol):
    """A trained model of scvi-tools or couplevi."""

    @property
    def history(self) -> Mapping[str, Any] | None: ...


@fill_docs
def losses(
    model: HasHistory,
    *,
    terms: Sequence[str] | str | None = None,
    ax: Sequence[Axes] | Axes | None = None,
    show: bool | None = None,
    save: str | os.PathLike[str] | bool | None = None,
    return_fig: bool = False,
) -> Figure | Axes | list[Axes] | None:
    """Terms of the objective during training, one panel each, with their validation values if there are any.

    Parameters
    ----------
    model
        Trained model.
    terms
        Names in ``model.history`` without ``_train``, such as ``"combination"``; ``"loss"`` is the total. None shows
        the total and all terms that are not zero throughout.
    %(panels)s
    %(show)s

    Returns
    -------
    %(drawn)s

    Raises
    ------
    RuntimeError
        If the model is not trained.
    KeyError
        If a term is not in the history.

    Examples
    --------
    >>> import couplevi as cvi
    >>> mdata = cvi.data.branching_manifold(n_obs=100)
    >>> quick = {"max_epochs": 2, "enable_progress_bar": False}
    >>> model = cvi.tl.jamie(mdata, modalities=("rna", "ephys"), train_kwargs=quick)
    >>> cvi.pl.losses(model, terms=["loss"], show=False).get_title()
    'loss'
    """
    history = model.history
    if not history:
        raise RuntimeError(expected("a trained model", "one without a history", "Call `model.train()` first."))
    if terms is None:
        objective = ("loss", "reconstruction", "cross_reconstruction", "combination", "contrastive", "alignment", "kl")
        terms = [t for t in objective if (curve := _curve(history, t, TRAIN)) is not None and curve.abs().max() > 0]
    terms = [terms] if isinstance(terms, str) else list(terms)
    axes = make_axes(len(terms), ax, width=3.2, height=2.6)
    for term, axes_t in zip(terms, axes, strict=True):
        curves = {mode: _curve(history, term, mode) for mode in COLORS}
        if curves[TRAIN] is None:
            raise KeyError(expected(f"a term in `model.history`, such as {sorted(history)[:5]}", repr(term)))
        for mode, curve in curves.items():
            if curve is not None:
                axes_t.plot(curve.index, curve.to_numpy(dtype=float), label=mode, color=COLORS[mode], linewidth=1)
        axes_t.set(title=term, xlabel="epoch")
        if curves[VALIDATION] is not None:
            axes_t.legend(frameon=False)
    return finish(axes, show, save, return_fig, "losses")


def _curve(history: Mapping[str, pd.DataFrame], term: str, mode: str) -> pd.Series | None:
    name = f"{mode}_loss" if term == "loss" else f"{term}_{mode}"
    return history[name].iloc[:, 0] if name in history else None
