"""What the functions share that fit a model in one call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

import torch


def versions() -> dict[str, str]:
    """Versions of the packages that a result depends on most."""
    return {package: version(package) for package in ("couplevi", "scvi-tools", "torch")}


@contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Seed torch inside the block and restore its state after; do nothing without a seed.

    The state belongs to the process: what another thread draws meanwhile is drawn from it, too.
    """
    if seed is None:
        yield
        return
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):  # all of them; without this, torch warns
        torch.manual_seed(seed)
        yield
