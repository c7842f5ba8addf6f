from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from couplevi._constants import Key
from couplevi._validate import check_slot
from couplevi.model.jamie import JAMIE
from couplevi.tl._fit import seeded, versions

if TYPE_CHECKING:
    from mudata import MuData

    from couplevi._protocols import EmbedsRoutes, Scored
    from couplevi._types import PresetName
    from couplevi.model.jamie import Settings


def jamie(
    mdata: MuData,
    *,
    modalities: Sequence[str],
    layers: Mapping[str, str | None] | None = None,
    use_rep: Mapping[str, str] | None = None,
    correspondence_key: str | Mapping[tuple[str, str], str] | None = None,
    match_key: str | Mapping[tuple[str, str], str] | None = None,
    preset: PresetName | Settings = "default",
    n_latent: int = 32,
    key_added: str = "jamie",
    seed: int | None = None,
    train_kwargs: Mapping[str, Any] | None = None,
    **model_kwargs: Any,
) -> JAMIE:
    """Set up, train and apply :class:`~couplevi.model.JAMIE` in one call.

    Parameters
    ----------
    mdata
        MuData whose rows of the same name are the same cell; cells may lack modalities.
    modalities, layers, use_rep, correspondence_key, match_key
        What is modelled and how it is linked, see :meth:`~couplevi.model.JAMIE.setup_mudata`.
    preset, n_latent
        Settings and number of latent dimensions, see :class:`~couplevi.model.JAMIE`.
    key_added
        Name of all slots that are written.
    seed
        Reproduces the result on the same machine with the same number of threads, and leaves torch's random state as
        it was. None uses that state, which ``scvi.settings.seed`` sets. A process has one such state: of trainings in
        several threads at once none is reproduced, so give each a process of its own.
    train_kwargs
        Arguments of :meth:`~couplevi.model.JAMIE.train`.
    **model_kwargs
        Further settings, see :class:`~couplevi.model.Settings`.

    Returns
    -------
    The fitted model. Also writes, all float32,

    - ``mdata[m].obsm["X_jamie"]``: mean latent of each profile, shape ``(n_m, n_latent)``;
    - ``mdata.obsm["X_jamie"]``: latent of each cell, shape ``(n_obs, n_latent)``; NaN for cells with none of the
      modalities;
    - ``mdata.uns["jamie"]``: settings, versions, losses and feature names.

    Raises
    ------
    TypeError, KeyError, ValueError, NotImplementedError
        As :meth:`~couplevi.model.JAMIE.setup_mudata` and :class:`~couplevi.model.JAMIE`; nothing is written then.

    References
    ----------
    Cohen Kalafut, Huang and Wang, Joint variational autoencoders for multimodal imputation and embedding,
    Nature Machine Intelligence 2023.

    Examples
    --------
    >>> import couplevi as cvi
    >>> mdata = cvi.data.branching_manifold(n_obs=100)
    >>> quick = {"max_epochs": 2, "enable_progress_bar": False}
    >>> model = cvi.tl.jamie(mdata, modalities=("rna", "ephys"), layers={"rna": "log1p"}, seed=0, train_kwargs=quick)
    >>> mdata.obsm["X_jamie"].shape, mdata["rna"].obsm["X_jamie"].shape
    ((100, 32), (100, 32))
    """
    check_slot(key_added, "key_added")
    with seeded(seed):
        JAMIE.setup_mudata(
            mdata,
            modalities=modalities,
            layers=layers,
            use_rep=use_rep,
            correspondence_key=correspondence_key,
            match_key=match_key,
        )
        model = JAMIE(mdata, preset, n_latent=n_latent, **model_kwargs)
        model.train(**(train_kwargs or {}))
    profiles = {m: model.get_latent_representation(modality=m) for m in model.modalities_}
    cells = model.get_latent_representation()
    for m, z in profiles.items():
        mdata[m].obsm[Key.obsm.latent(key_added)] = z
    mdata.obsm[Key.obsm.latent(key_added)] = cells
    mdata.uns[key_added] = _summary(model, [str(m) for m in modalities], preset)
    return model


def _summary(model: JAMIE, modalities: list[str], preset: str | Settings) -> dict[str, Any]:
    """What was done, in types that h5mu can hold."""
    settings = {name: value for name, value in asdict(model.settings_).items() if value is not None}
    return {
        Key.uns.MODALITIES: modalities,
        Key.uns.VAR_NAMES: {m: list(names) for m, names in model.var_names_.items()},
        "preset": preset if isinstance(preset, str) else "custom",
        "settings": {n: list(v) if isinstance(v, tuple) else v for n, v in settings.items()},
        "losses": {name: frame.iloc[:, 0].to_numpy() for name, frame in model.history.items()},
        "versions": versions(),
    }


if TYPE_CHECKING:

    def _is_all_that_tools_need(model: JAMIE) -> tuple[Scored, EmbedsRoutes]:
        return model, model
