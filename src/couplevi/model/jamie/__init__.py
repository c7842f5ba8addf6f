"""JAMIE: joint variational autoencoders for multimodal imputation and embedding."""

from couplevi.model.jamie.model import JAMIE
from couplevi.model.jamie.settings import PRESETS, Settings

__all__ = ["JAMIE", "PRESETS", "Settings"]
