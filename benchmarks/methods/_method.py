from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import numpy as np

from benchmarks.tasks.coupled import Task


@dataclass(frozen=True)
class Result:
    """Latents of both modalities by part, and predictions for the test cells by (source, target)."""

    latents: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    imputed: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)


class Method(ABC):
    """A way to solve a task."""

    def fits(self, task: Task) -> bool:
        """Whether the method is made for these modalities and this share of known pairs."""
        return True

    @abstractmethod
    def run(self, task: Task, seed: int) -> Result:
        """Learn from the training cells, of which only the known pairs are pairs; predict the test cells."""
