"""Network blocks: encoders, decoders, heads, how a modality is observed, and routes through a model."""

from couplevi.nn._blocks import LOG_VARIANCE_RANGE, Decoder, Encoder, ResidualLayers, hidden_layers
from couplevi.nn._derivative import Derivable, Derivative, chain, one_layer
from couplevi.nn._heads import HEADS, CountHead, Head, NegativeBinomialHead, UnitGaussianHead
from couplevi.nn._linear_path import LinearPath
from couplevi.nn._observation import Observation
from couplevi.nn._preparation import PreparationBuffers
from couplevi.nn._route import Mean, Route, frozen_copy, linear

__all__ = [
    "HEADS",
    "LOG_VARIANCE_RANGE",
    "CountHead",
    "Decoder",
    "Derivable",
    "Derivative",
    "Encoder",
    "Head",
    "LinearPath",
    "Mean",
    "NegativeBinomialHead",
    "Observation",
    "PreparationBuffers",
    "ResidualLayers",
    "Route",
    "UnitGaussianHead",
    "chain",
    "frozen_copy",
    "hidden_layers",
    "linear",
    "one_layer",
]
