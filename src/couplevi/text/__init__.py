"""Texts as vectors."""

from couplevi.text._encoders import PROBES, TextEncoder, check_same, text_encoder, unit

__all__ = ["PROBES", "TextEncoder", "check_same", "text_encoder", "unit"]
