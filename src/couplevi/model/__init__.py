"""Models in the style of scvi-tools: set up, train, and get arrays; they never write into the data."""

from couplevi.model._mixture_settings import MixtureSettings
from couplevi.model._settings import PRESETS, Settings
from couplevi.model.cplmixvae import CplMixVAE
from couplevi.model.jamie import JAMIE

__all__ = ["JAMIE", "PRESETS", "CplMixVAE", "MixtureSettings", "Settings"]
