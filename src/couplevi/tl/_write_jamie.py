from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

from couplevi._constants import Key
from couplevi.tl._fit import versions

if TYPE_CHECKING:
    from mudata import MuData

    from couplevi.model.jamie import JAMIE, Settings


def write_jamie(mdata: MuData, model: JAMIE, key: str, modalities: list[str], preset: str | Settings) -> None:
    """Write where profiles and cells are, and how that was found, once all of it is known."""
    profiles = {m: model.get_latent_representation(modality=m) for m in model.modalities_ if m in mdata.mod}
    parts: dict[str, Literal["joint", "shared"]] = {Key.obsm.latent(key): "shared"}
    if model.settings_.n_private:
        parts = {Key.obsm.latent(key): "joint", Key.obsm.shared(key): "shared"}
    cells = {slot: model.get_latent_representation(part=part) for slot, part in parts.items()}
    for m, z in profiles.items():
        mdata[m].obsm[Key.obsm.latent(key)] = z
    mdata.obsm.update(cells)
    mdata.uns[key] = _summary(model, modalities, preset)


def _summary(model: JAMIE, modalities: list[str], preset: str | Settings) -> dict[str, Any]:
    """What was done, in types that h5mu can hold."""
    settings = {name: value for name, value in asdict(model.settings_).items() if value is not None}
    return {
        Key.uns.MODALITIES: modalities,
        Key.uns.VAR_NAMES: {m: list(model.var_names_[m]) for m in modalities},
        "preset": preset if isinstance(preset, str) else "custom",
        "settings": {n: list(v) if isinstance(v, tuple) else v for n, v in settings.items()},
        "losses": {name: frame.iloc[:, 0].to_numpy() for name, frame in model.history.items()},
        "versions": versions(),
    }
