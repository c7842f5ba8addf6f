"""Network blocks: encoders, decoders, heads, and the preparation as buffers."""

from couplevi.nn._blocks import Decoder, Encoder
from couplevi.nn._heads import GaussianHead
from couplevi.nn._mixture import EXCLUDED, AffineByCategory, CategoryEncoder, StateEncoder, likelihood_head
from couplevi.nn._preparation import PreparationBuffers

__all__ = [
    "EXCLUDED",
    "AffineByCategory",
    "CategoryEncoder",
    "Decoder",
    "Encoder",
    "GaussianHead",
    "PreparationBuffers",
    "StateEncoder",
    "likelihood_head",
]
