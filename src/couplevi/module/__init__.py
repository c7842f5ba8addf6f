"""The mathematics of each model, one file each."""

from couplevi.module.cplmixvae import COUNTS_PER_CELL, COUPLINGS, CplMixVAEModule, Modality
from couplevi.module.jamie import TERMS, JAMIEModule

__all__ = ["COUNTS_PER_CELL", "COUPLINGS", "TERMS", "CplMixVAEModule", "JAMIEModule", "Modality"]
