"""Models in the style of scvi-tools: set up, train, and get arrays; they never write into the data."""

from couplevi.model.cplmixvae import CplMixVAE, MixtureSettings
from couplevi.model.jamie import JAMIE, PRESETS, Settings

__all__ = ["JAMIE", "PRESETS", "CplMixVAE", "MixtureSettings", "Settings"]
