"""Command line: what :mod:`couplevi.tl` does in a notebook, for pipelines."""

from couplevi.cli._main import main

__all__ = ["main"]
