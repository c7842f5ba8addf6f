"""The mathematics of each model, one file each."""

from couplevi.module.jamie import TERMS, JAMIEModule

__all__ = ["TERMS", "JAMIEModule"]
