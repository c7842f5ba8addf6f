"""Models in the style of scvi-tools: set up, train, and get arrays; they never write into the data."""

from collections.abc import Mapping

from couplevi.model.celltext import CellText, CellTextSettings
from couplevi.model.cplmixvae import CplMixVAE, MixtureSettings
from couplevi.model.jae import JAE, JAESettings
from couplevi.model.jamie import JAMIE, Settings
from couplevi.model.jamie import PRESETS as _PRESETS
from couplevi.model.otgm import OTGM, OTGMSettings

PRESETS: Mapping[str, Settings] = _PRESETS
"""Settings of :class:`JAMIE` by the name of the preset. ``PRESETS["paper"]`` shows them."""

__all__ = [
    "JAE",
    "JAMIE",
    "OTGM",
    "PRESETS",
    "CellText",
    "CellTextSettings",
    "CplMixVAE",
    "JAESettings",
    "MixtureSettings",
    "OTGMSettings",
    "Settings",
]
