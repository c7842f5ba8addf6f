"""OTGM: perturbations as optimal transport between Gaussians."""

from couplevi.model.otgm.model import OTGM
from couplevi.model.otgm.settings import OTGM_PRESETS, OTGMSettings

__all__ = ["OTGM", "OTGM_PRESETS", "OTGMSettings"]
