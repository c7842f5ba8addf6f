"""What a trained module makes of registered data, some cells at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from couplevi._validate import check_count
from couplevi.model._dataset import CHUNK, preparation_of
from couplevi.preparation import logarithms

if TYPE_CHECKING:
    from couplevi._types import CellBatch
    from couplevi.model.jae.module import JAEModule
    from couplevi.registry import Registered


@torch.inference_mode()
def cells(
    module: JAEModule,
    registered: Registered,
    counted: Mapping[str, bool],
    modalities: Sequence[str],
    batch_size: int | None,
    *,
    covariates: bool = False,
) -> Iterator[tuple[np.ndarray, CellBatch]]:
    """Rows of ``obs`` of cells measured in some of these modalities, and the cells, by nothing but these.

    Parameters
    ----------
    module, registered
        What reads, and what is read.
    counted
        Whether values of a modality are counts.
    modalities
        Modalities to read, which the data have.
    batch_size
        Cells at a time; None is 4,096.
    covariates
        Whether covariates are read, too.
    """
    step = CHUNK if batch_size is None else batch_size
    check_count(step, "batch_size")
    module.eval()
    place = np.full((len(registered.obs_names), len(modalities)), -1)
    matrices, told = {}, {}
    for i, m in enumerate(modalities):
        matrix = registered.values(m)
        matrices[m] = logarithms(matrix, registered.readers[m].where) if counted[m] else matrix
        place[registered.rows(m), i] = np.arange(matrix.shape[0])
        told[m] = registered.covariates(m) if covariates else np.empty((matrix.shape[0], 0), dtype=np.float32)
    preparations = {
        m: preparation_of(module.observation(m).preparation.record(), registered, m, counted[m]) for m in modalities
    }
    there = np.flatnonzero((place >= 0).any(axis=1))
    for start in range(0, len(there), step):
        rows = there[start : start + step]
        h, measured = {}, {}
        known = np.zeros((len(rows), told[modalities[0]].shape[1]), dtype=np.float32)
        for m, observation in zip(module.index, module.sizes, strict=True):
            h[m] = torch.zeros(len(rows), observation, device=module.device)
            measured[m] = torch.zeros(len(rows), dtype=torch.bool, device=module.device)
            if m not in matrices:
                continue
            own = place[rows, modalities.index(m)]
            has = own >= 0
            where = torch.from_numpy(np.flatnonzero(has)).to(module.device)
            h[m][where] = torch.from_numpy(preparations[m].transform(matrices[m][own[has]])).to(module.device)
            measured[m][where] = True
            known[has] = told[m][own[has]]
        nothing = torch.empty(len(rows), 0, device=module.device)
        label = torch.full((len(rows),), -1, device=module.device)
        covariates_of = torch.from_numpy(known).to(module.device)
        yield rows, {"h": h, "measured": measured, "covariates": covariates_of, "label": label, "scores": nothing}
