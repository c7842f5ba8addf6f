from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from couplevi._arrays import dense
from couplevi._constants import Key
from couplevi._validate import check_different, expected, find_names

if TYPE_CHECKING:
    from mudata import MuData

    from couplevi._types import FloatArray, IntArray
    from couplevi.model import JAMIE
    from couplevi.preparation import Preparation

LATENT = "latent"


@dataclass(frozen=True, eq=False)
class Route:
    """Way from the features of a modality to what is predicted from them, differentiable in between.

    Outputs are ``network(prepared) @ mix + offset``.

    Attributes
    ----------
    preparation
        Linear map from features to what the network reads.
    network
        From prepared features, shape ``(n, n_prepared)``, to shape ``(n, n_inner)``.
    mix, offset
        Shapes ``(n_inner, n_outputs)`` and ``(n_outputs,)``. A mix of None leaves what the network gives.
    names
        Names of the outputs.
    columns, n_possible
        Their places among all that could be asked for, and the number of these.
    """

    preparation: Preparation
    network: nn.Module
    mix: FloatArray | None
    offset: FloatArray
    names: list[str]
    columns: IntArray
    n_possible: int

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    def outputs(self, inner: FloatArray) -> FloatArray:
        """What the network gives, or attributions of it along the last axis, in the units of the outputs."""
        return inner if self.mix is None else inner @ self.mix

    @torch.inference_mode()
    def predict(self, prepared: FloatArray, columns: IntArray | slice = slice(None)) -> FloatArray:
        """Outputs, or some of them, of prepared features, shape ``(n, n_outputs)``."""
        inner = self.network(torch.from_numpy(prepared).to(self.device)).cpu().numpy()
        chosen = inner[:, columns] if self.mix is None else inner @ self.mix[:, columns]
        return chosen + self.offset[columns]

    def from_features(self) -> nn.Sequential:
        """The whole route as one network, from features in their own units to outputs in theirs."""
        loadings = dense(self.preparation.loadings)
        enter = _linear(loadings, -self.preparation.mean.astype(np.float64) @ loadings)
        mix = np.eye(len(self.names)) if self.mix is None else self.mix
        return nn.Sequential(enter, self.network, _linear(mix, self.offset)).to(self.device)


def find_route(mdata: MuData, model: JAMIE, source: str, target: str, targets: Sequence[str] | None, key: str) -> Route:
    """Route from a modality to `targets`: features of a modality, dimensions of the latent, or labels.

    Raises
    ------
    KeyError
        If the target is none of these, or it lacks some of `targets`.
    ValueError
        If the source is the target or no modality of the model, a name is repeated, or labels were learned from the
        latents of another model.
    """
    model.reader(source, "source")
    check_different(source, target)
    classifiers = mdata.uns.get(key, {}).get(Key.uns.CLASSIFIERS, {})
    chosen = targets if targets is None or isinstance(targets, str) else [str(t) for t in targets]
    module = model.module
    preparation = module.preparation(source).record()
    encoder = _Mean(_frozen(module.encoders[module.index[source]]))
    if target in model.modalities_:
        names = list(model.var_names_[target])
        columns = _columns(names, chosen, target)
        readout, mix, offset = _decoder(model, target, columns)
    elif target == LATENT:
        names = [str(k) for k in range(model.settings_.n_latent)]
        columns = _columns(names, chosen, target)
        readout, mix, offset = _linear(np.eye(len(names))[:, columns]), None, np.zeros(len(columns))
    elif target in classifiers:
        if classifiers[target]["model"] != fingerprint(model):
            remedy = f"Run `cvi.tl.predict_labels(mdata, model, labels={target!r})` with this one."
            raise ValueError(expected(f"{target!r} to be learned from this model's latents", "another model's", remedy))
        names = [str(label) for label in classifiers[target]["classes"]]
        columns = _columns(names, chosen, target)
        probabilities = nn.Sequential(_classifier(classifiers[target]), _linear(np.eye(len(names))[:, columns]))
        readout, mix, offset = probabilities, None, np.zeros(len(columns))
    else:
        remedy = f"For labels, run `cvi.tl.predict_labels(mdata, model, labels=..., key_added={key!r})` first."
        options = [m for m in model.modalities_ if m != source] + [LATENT, *classifiers]
        raise KeyError(expected(f"`target` to be one of {options}", repr(target), remedy))
    network = nn.Sequential(encoder, readout).to(model.device).eval()
    return Route(preparation, network, mix, offset, [names[c] for c in columns], columns, len(names))


def fingerprint(model: JAMIE) -> str:
    """What tells the encoders of a model from those of another one, or of the same trained further."""
    digest = hashlib.sha256()
    for weights in model.module.encoders.state_dict().values():
        digest.update(weights.cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


class _Mean(nn.Module):
    """Mean of the distribution that a module gives."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.module(x).mean


def _frozen(module: nn.Module) -> nn.Module:
    """A copy whose parameters take no gradients, and to which others may attach hooks."""
    copy = deepcopy(module).requires_grad_(False)
    for part in copy.modules():
        if isinstance(part, nn.BatchNorm1d):
            part.__class__ = nn.BatchNorm1d  # shap knows layers by the name of their class
    return copy


def _linear(weight: FloatArray, bias: FloatArray | None = None) -> nn.Linear:
    """Layer ``x @ weight + bias``."""
    n_in, n_out = weight.shape
    layer = nn.Linear(n_in, n_out, bias=bias is not None).requires_grad_(False)
    layer.weight.copy_(torch.as_tensor(weight.T))
    if bias is not None:
        layer.bias.copy_(torch.as_tensor(bias))
    return layer


def _decoder(model: JAMIE, target: str, columns: np.ndarray) -> tuple[nn.Module, FloatArray | None, FloatArray]:
    """Decoder to features in their own units: its last, linear, step is left to the mix where that is cheaper."""
    record = model.module.preparation(target).record()
    decoder = _Mean(_frozen(model.module.decoders[model.module.index[target]]))
    gain = record.scale[columns] * np.float32(record.rms)
    offset = record.mean[columns].astype(np.float64)
    if record.components is None:
        chosen = np.zeros((record.n_prepared, len(columns)), dtype=np.float32)
        chosen[columns, np.arange(len(columns))] = gain
        return nn.Sequential(decoder, _linear(chosen)), None, offset
    mix = record.components[:, columns] * gain
    if len(columns) <= len(mix):
        return nn.Sequential(decoder, _linear(mix)), None, offset
    return decoder, mix, offset


def _classifier(fitted: Mapping[str, Any]) -> nn.Module:
    """Probabilities of each label given the latent."""
    weight, intercept = np.asarray(fitted["coefficients"]), np.asarray(fitted["intercept"])
    return nn.Sequential(_linear(weight, intercept), nn.Softmax(dim=1))


def _columns(names: Sequence[str], chosen: Sequence[str] | None, what: str) -> np.ndarray:
    return np.arange(len(names)) if chosen is None else find_names(names, chosen, f"the outputs of {what!r}")
