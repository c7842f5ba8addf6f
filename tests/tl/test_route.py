import copy

import numpy as np
import pytest
import torch

import couplevi as cvi
from couplevi.tl._route import LATENT, find_route, fingerprint


@pytest.fixture
def data(fitted):
    model, mdata = fitted
    return model, mdata.copy()


def test_targets_are_features_dimensions_of_the_latent_or_labels(data):
    model, mdata = data
    cvi.tl.predict_labels(mdata, model, labels="cell_type")
    x = mdata["rna"].layers["log1p"]
    route = find_route(mdata, model, "rna", "ephys", ["ephys5", "ephys2"], "jamie")
    imputed = model.impute(source="rna", target="ephys").X
    np.testing.assert_allclose(route.predict(route.preparation.transform(x)), imputed[:, [5, 2]], atol=1e-3)
    for targets in ([3, 0], ["3", "0"]):
        route = find_route(mdata, model, "rna", LATENT, targets, "jamie")
        z = model.get_latent_representation(modality="rna")
        np.testing.assert_allclose(route.predict(route.preparation.transform(x)), z[:, [3, 0]], atol=1e-5)

    fitted = mdata.uns["jamie"]["classifiers"]["cell_type"]
    logits = z @ fitted["coefficients"] + fitted["intercept"]
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    route = find_route(mdata, model, "rna", "cell_type", ["C", "A"], "jamie")
    np.testing.assert_allclose(route.predict(route.preparation.transform(x)), expected[:, [2, 0]], atol=1e-5)
    assert (route.names, route.n_possible) == (["C", "A"], 3)


@pytest.mark.parametrize(
    ("source", "target", "targets", "error", "message"),
    [
        ("rna", "rna", None, ValueError, "`target` to differ from `source`"),
        ("atac", "rna", None, ValueError, "`source` to be one of"),
        (
            "rna",
            "age",
            None,
            KeyError,
            r"`target` to be one of \['ephys', 'latent', 'cell_type'\], found 'age'.*labels",
        ),
        ("rna", "cell_type", ["D"], KeyError, r"the outputs of 'cell_type', such as .* unknown ones: \['D'\]"),
        ("rna", "ephys", ["rna1"], KeyError, r"outputs of 'ephys', .* unknown ones: \['rna1'\]"),
    ],
)
def test_targets_that_do_not_exist_are_listed(data, source, target, targets, error, message):
    model, mdata = data
    cvi.tl.predict_labels(mdata, model, labels="cell_type")
    with pytest.raises(error, match=message):
        find_route(mdata, model, source, target, targets, "jamie")


def test_a_fingerprint_is_that_of_the_encoders_alone(data):
    model, _ = data
    other = copy.deepcopy(model)
    assert fingerprint(other) == fingerprint(model)
    with torch.no_grad():
        other.module.decoder("rna").output.bias.add_(1)
        assert fingerprint(other) == fingerprint(model)
        other.module.encoder("rna").mean.bias.add_(1e-3)
    assert fingerprint(other) != fingerprint(model)


def test_labels_of_another_model_are_refused(data, quick):
    model, mdata = data
    cvi.tl.predict_labels(mdata, model, labels="cell_type")
    other = cvi.tl.jamie(mdata.copy(), modalities=("rna", "ephys"), seed=1, train_kwargs=quick)
    with pytest.raises(ValueError, match="'cell_type' to be learned from this model's latents, found another model's"):
        cvi.tl.explain(mdata, other, source="rna", target="cell_type")
