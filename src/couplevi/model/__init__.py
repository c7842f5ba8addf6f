"""Models in the style of scvi-tools: set up, train, and get arrays; they never write into the data."""

from couplevi.model.celltext import CellText, CellTextSettings
from couplevi.model.cplmixvae import CplMixVAE, MixtureSettings
from couplevi.model.jae import JAE, JAESettings
from couplevi.model.jamie import JAMIE, PRESETS, Settings
from couplevi.model.otgm import OTGM, OTGMSettings

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
