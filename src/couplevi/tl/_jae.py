from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from couplevi._constants import Key
from couplevi._docs import fill_docs
from couplevi._validate import check_slot, expected
from couplevi.model.jae import JAE
from couplevi.tl._fit import seeded, versions

if TYPE_CHECKING:
    from mudata import MuData

    from couplevi._protocols import Embeds
    from couplevi.model.jae import JAESettings


@fill_docs
def jae(
    mdata: MuData,
    *,
    modalities: Sequence[str],
    layers: Mapping[str, str | None] | None = None,
    use_rep: Mapping[str, str] | None = None,
    labels_key: str | None = None,
    batch_key: str | None = None,
    cell_cycle_keys: Sequence[str] | None = None,
    categorical_covariate_keys: Sequence[str] | None = None,
    continuous_covariate_keys: Sequence[str] | None = None,
    preset: Literal["default", "paper"] | JAESettings = "default",
    key_added: str = "jae",
    seed: int | None = None,
    train_kwargs: Mapping[str, Any] | None = None,
    **model_kwargs: Any,
) -> JAE:
    """Set up, train and apply :class:`~couplevi.model.JAE` in one call: an embedding that uses labels where there are some.

    Parameters
    ----------
    mdata
        MuData whose rows of the same name are the same cell; cells may lack modalities.
    %(labelled_values)s
    %(jae_preset)s
    key_added
        Name of all slots that are written.
    %(seed)s
    train_kwargs
        Arguments of :meth:`~couplevi.model.JAE.train` by name, such as ``{"max_epochs": 50}``.
    **model_kwargs
        Fields of :class:`~couplevi.model.JAESettings` that replace those of the preset, such as `n_free` (20).

    Returns
    -------
    The fitted model. Also writes, NaN or missing for cells with none of the modalities,

    - ``mdata.obsm["X_jae"]``: where each cell is, for neighbours and clusters, shape ``(n_obs, n_dimensions)``, float32:
      a dimension for each label, for each score of the cell cycle, and `n_free` further ones;
    - ``mdata[m].obsm["X_jae"]``: the same of each profile, by its modality alone;
    - ``mdata.obs["jae_label"]`` and ``mdata.obs["jae_label_confidence"]``: predicted label, and its probability;
      ``mdata.obs["jae_label_typicality"]``: near 0 for cells of a type that is none of the labels, see
      :meth:`~couplevi.model.JAE.get_typicality`; ``mdata.obsm["jae_label"]``: probability of each label, columns in
      ``mdata.uns["jae"]["labels"]``. Not without labels;
    - ``mdata.uns["jae"]``: settings, versions, losses, names of modalities and labels.

    Raises
    ------
    TypeError, KeyError, ValueError
        As :meth:`~couplevi.model.JAE.setup_mudata` and :class:`~couplevi.model.JAE`, or if `labels_key` is a column that
        would be written over; nothing is written then.

    References
    ----------
    Lance et al., Multimodal single cell data integration challenge: results and lessons learned, PMLR 2022.

    Examples
    --------
    >>> import couplevi as cvi
    >>> mdata = cvi.data.count_clusters(n_obs=200)
    >>> mdata.obs["known"] = mdata.obs["cell_type"].astype(str).where(mdata.obs_names.isin(mdata.obs_names[:100]))
    >>> quick = {"max_epochs": 5, "enable_progress_bar": False}
    >>> model = cvi.tl.jae(mdata, modalities=("rna", "atac"), labels_key="known", seed=0, train_kwargs=quick)
    >>> mdata.obsm["X_jae"].shape, mdata.obs["jae_label"].shape
    ((200, 25), (200,))
    """
    check_slot(key_added, "key_added")
    if labels_key in _columns(key_added):
        remedy = "Choose another `key_added`, or rename the column."
        raise ValueError(expected("known labels in a column that is not written to", f"`{labels_key=}`", remedy))
    with seeded(seed):
        JAE.setup_mudata(
            mdata,
            modalities=modalities,
            layers=layers,
            use_rep=use_rep,
            labels_key=labels_key,
            batch_key=batch_key,
            cell_cycle_keys=cell_cycle_keys,
            categorical_covariate_keys=categorical_covariate_keys,
            continuous_covariate_keys=continuous_covariate_keys,
        )
        model = JAE(mdata, preset, **model_kwargs)
        model.train(**(train_kwargs or {}))
    write_jae(mdata, model, key_added, preset)
    return model


def _columns(key: str) -> list[str]:
    """Columns of ``mdata.obs`` that are written: label, its probability, and how typical the cell is."""
    return [of(key) for of in (Key.obs.jae_label, Key.obs.jae_label_confidence, Key.obs.jae_label_typicality)]


def write_jae(mdata: MuData, model: JAE, key: str, preset: str | JAESettings) -> None:
    """Write where cells are and what they are taken for, and how that was found, once all of it is known."""
    here = [m for m in model.modalities_ if m in mdata.mod]
    profiles = {m: model.get_latent_representation(modality=m) for m in here}
    z = model.get_latent_representation()
    p, typicality = None, None
    if model.labels_:
        p, typicality = pd.DataFrame(model.predict_labels(soft=True)), model.get_typicality()
    for m, values in profiles.items():
        mdata[m].obsm[Key.obsm.latent(key)] = values
    mdata.obsm[Key.obsm.latent(key)] = z
    columns = _columns(key)
    if p is not None:
        told = (model.predict_labels(), p.to_numpy().max(axis=1), typicality)
        mdata.obs = mdata.obs.assign(**dict(zip(columns, told, strict=True)))
        mdata.obsm[Key.obsm.jae_label(key)] = p.to_numpy(dtype="float32")
    else:  # those of another model would not belong to these places
        mdata.obs = mdata.obs.drop(columns=columns, errors="ignore")
        mdata.obsm.pop(Key.obsm.jae_label(key), None)
    settings = {name: value for name, value in asdict(model.settings_).items() if value is not None}
    mdata.uns[key] = {
        Key.uns.MODALITIES: here,
        Key.uns.LABELS: model.labels_,
        "preset": preset if isinstance(preset, str) else "custom",
        "settings": {n: list(v) if isinstance(v, tuple) else v for n, v in settings.items()},
        "losses": {name: frame.iloc[:, 0].to_numpy() for name, frame in model.history.items()},
        "versions": versions(),
    }


if TYPE_CHECKING:

    def _is_all_that_tools_need(model: JAE) -> Embeds:
        return model
