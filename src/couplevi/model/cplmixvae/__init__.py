"""CplMixVAE: coupled mixture variational autoencoders."""

from couplevi.model.cplmixvae.model import CplMixVAE
from couplevi.model.cplmixvae.settings import MixtureSettings

__all__ = ["CplMixVAE", "MixtureSettings"]
