"""JAE: one embedding that uses labels where there are some."""

from couplevi.model.jae.model import JAE
from couplevi.model.jae.settings import JAE_PRESETS, JAESettings

__all__ = ["JAE", "JAE_PRESETS", "JAESettings"]
