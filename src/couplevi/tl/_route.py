from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from couplevi._constants import Key
from couplevi._validate import check_different, expected, find_names
from couplevi.nn import linear

if TYPE_CHECKING:
    from mudata import MuData

    from couplevi._protocols import Routes
    from couplevi.nn import Route

LATENT = "latent"


def find_route(
    mdata: MuData, model: Routes, source: str, target: str, targets: Sequence[str] | None, key: str
) -> Route:
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
    if target in model.modalities_:
        return model.route(source, target, features=chosen)
    if target == LATENT:
        return model.route(source, features=chosen)
    if target not in classifiers:
        remedy = f"For labels, run `cvi.tl.predict_labels(mdata, model, labels=..., key_added={key!r})` first."
        options = [m for m in model.modalities_ if m != source] + [LATENT, *classifiers]
        raise KeyError(expected(f"`target` to be one of {options}", repr(target), remedy))
    if classifiers[target]["model"] != fingerprint(model):
        remedy = f"Run `cvi.tl.predict_labels(mdata, model, labels={target!r})` with this one."
        raise ValueError(expected(f"{target!r} to be learned from this model's latents", "another model's", remedy))
    names = [str(label) for label in classifiers[target]["classes"]]
    columns = np.arange(len(names)) if chosen is None else find_names(names, chosen, f"the outputs of {target!r}")
    return model.route(source).then(_classifier(classifiers[target]), names, columns)


def fingerprint(model: Routes) -> str:
    """What tells the encoders of a model from those of another one, or of the same trained further."""
    digest = hashlib.sha256()
    for m in model.modalities_:
        for weights in model.route(m).network.state_dict().values():
            digest.update(weights.cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def _classifier(fitted: Mapping[str, Any]) -> nn.Module:
    """Probabilities of each label given the latent."""
    weight, intercept = np.asarray(fitted["coefficients"]), np.asarray(fitted["intercept"])
    return nn.Sequential(linear(weight, intercept), nn.Softmax(dim=1))
