from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from couplevi._validate import find_names
from couplevi.nn import Mean, Route, frozen_copy, linear

if TYPE_CHECKING:
    from couplevi._types import FloatArray, IntArray
    from couplevi.model.jamie.module import JAMIEModule


def make_route(
    module: JAMIEModule,
    var_names: Mapping[str, Sequence[str]],
    source: str,
    target: str | None,
    features: Sequence[str] | None,
) -> Route:
    """Route from a modality to its latent or another modality, see :meth:`~couplevi.model.JAMIE.route`."""
    names = [str(k) for k in range(module.n_latent)] if target is None else list(var_names[target])
    what = "latent" if target is None else target
    columns = np.arange(len(names)) if features is None else find_names(names, features, f"the outputs of {what!r}")
    parts: list[nn.Module] = [Mean(frozen_copy(module.encoder(source)))]
    mix: FloatArray | None = None
    offset: FloatArray = np.zeros(len(columns))
    if target is None:
        if features is not None:
            parts.append(linear(np.eye(len(names))[:, columns]))
    else:
        readout, mix, offset = _readout(module, target, columns)
        parts += readout
    network = nn.Sequential(*parts).to(module.device).eval()
    preparation = module.observation(source).preparation.record()
    return Route(preparation, network, mix, offset, [names[c] for c in columns], columns, len(names))


def _readout(
    module: JAMIEModule, target: str, columns: IntArray
) -> tuple[list[nn.Module], FloatArray | None, FloatArray]:
    """Decoder to features in their own units: its last, linear, step is left to the mix where that is cheaper."""
    record = module.observation(target).preparation.record()
    decoder = Mean(frozen_copy(module.decoder(target)))
    gain = record.scale[columns] * np.float32(record.rms)
    offset = record.mean[columns].astype(np.float64)
    if record.components is None:
        chosen = np.zeros((record.n_prepared, len(columns)), dtype=np.float32)
        chosen[columns, np.arange(len(columns))] = gain
        return [decoder, linear(chosen)], None, offset
    mix = record.components[:, columns] * gain
    if len(columns) <= len(mix):
        return [decoder, linear(mix)], None, offset
    return [decoder], mix, offset
