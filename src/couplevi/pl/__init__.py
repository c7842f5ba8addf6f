"""Figures, in the conventions of scanpy: ``ax``, ``show``, ``save``, ``return_fig``."""

from couplevi.pl._imputation import imputation
from couplevi.pl._latent import latent
from couplevi.pl._losses import losses
from couplevi.pl._match import match

__all__ = ["imputation", "latent", "losses", "match"]
