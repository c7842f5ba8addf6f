from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from couplevi._docs import fill_docs
from couplevi._validate import check_slot, listing, warn
from couplevi.model.jae import JAE
from couplevi.model.jamie import JAMIE
from couplevi.tl._fit import seeded
from couplevi.tl._jae import write_jae
from couplevi.tl._write_jamie import write_jamie

if TYPE_CHECKING:
    from mudata import MuData


@fill_docs
def map_query(
    mdata: MuData,
    reference_model: JAMIE | JAE | str | os.PathLike[str],
    *,
    key_added: str | None = None,
    seed: int | None = None,
    train_kwargs: Mapping[str, Any] | None = None,
) -> JAMIE | JAE:
    """Place the cells of other data, such as those of a new donor, in the space of a trained model.

    Batches that the model does not know are added to a copy of it, and what belongs to them is fitted: the reference's
    own cells stay where they are. JAE predicts the labels that it learned; with JAMIE
    :func:`couplevi.tl.predict_labels` carries them over, given the `reference`, and :func:`couplevi.tl.impute` predicts
    what was not measured.

    Parameters
    ----------
    mdata
        MuData with one or more of the modalities of the reference, and its batch and other covariates. Up to a fifth of
        the features of a modality may be missing; they have their mean in the reference, and are named in a warning.
    reference_model
        Trained JAMIE or JAE, which is not changed, or the folder that one was saved in.
    key_added
        Name of all slots that are written; None is ``"jamie"`` or ``"jae"``.
    %(seed)s
    train_kwargs
        Arguments of the model's `train` by name, such as ``{"max_epochs": 50}``: of the training that fits what belongs to
        batches that the reference does not know.

    Returns
    -------
    The model for these cells and those of the reference. Also writes what :func:`couplevi.tl.jamie`, links that are
    inferred apart, or :func:`couplevi.tl.jae` does.

    Raises
    ------
    TypeError, RuntimeError, KeyError, ValueError, FileNotFoundError
        As :meth:`~couplevi.model.JAMIE.load_query_data`; nothing is written then.

    Examples
    --------
    >>> import couplevi as cvi
    >>> mdata = cvi.data.branching_manifold(n_obs=200)
    >>> mdata.obs["donor"] = ["a"] * 150 + ["b"] * 50
    >>> reference, query = mdata[:150].copy(), mdata[150:].copy()
    >>> quick = {"max_epochs": 2, "enable_progress_bar": False}
    >>> model = cvi.tl.jamie(reference, modalities=("rna", "ephys"), batch_key="donor", train_kwargs=quick)
    >>> mapped = cvi.tl.map_query(query, model, train_kwargs=quick)
    >>> query.obsm["X_jamie"].shape
    (50, 64)
    """
    if key_added is not None:
        check_slot(key_added, "key_added")
    cls = _class_of(reference_model)
    with seeded(seed):
        model = cls.load_query_data(mdata, reference_model)
        design = model.reader(model.modalities_[0]).design
        if design.added.any():
            model.train(**(train_kwargs or {}))
        else:
            known = f"of batches that the reference knows, {listing(design.batches)}" if design.batches else "all alike"
            warn(f"Nothing was fitted to these cells, as they are {known}: they are read as the reference's own.")
    if isinstance(model, JAE):
        write_jae(mdata, model, key_added or "jae", model.settings_)
    else:
        here = [m for m in model.modalities_ if m in mdata.mod]
        write_jamie(mdata, model, key_added or "jamie", here, model.settings_)
    return model


def _class_of(reference: Any) -> type[Any]:
    """Class of a reference, or of the one in a folder."""
    if isinstance(reference, str | os.PathLike):
        return JAE if JAE.load_registry(reference)["model_name"] == "JAE" else JAMIE
    return JAE if isinstance(reference, JAE) else JAMIE
