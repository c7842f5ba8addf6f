import numpy as np
import pytest
import torch
from torch import nn

import couplevi as cvi
from couplevi._arrays import dense


@pytest.fixture(scope="module")
def route_of(fitted):
    model, mdata = fitted
    x = dense(model.reader("rna").read(mdata))
    return model, mdata, x


def test_a_route_predicts_what_the_model_imputes(route_of):
    model, mdata, x = route_of
    route = model.route("rna", "ephys")
    imputed = model.impute(source="rna", target="ephys").X
    np.testing.assert_allclose(route.predict(route.preparation.transform(x)), imputed, atol=1e-4)
    np.testing.assert_allclose(route.from_features()(torch.from_numpy(x)).detach(), imputed, rtol=1e-3, atol=1e-3)
    assert route.names == list(mdata["ephys"].var_names)


def test_a_route_without_a_target_ends_at_the_latent(route_of):
    model, mdata, x = route_of
    route = model.route("rna")
    z = model.get_latent_representation(modality="rna")
    np.testing.assert_allclose(route.predict(route.preparation.transform(x)), z, atol=1e-5)
    two = model.route("rna", features=["3", "0"])
    np.testing.assert_allclose(two.predict(two.preparation.transform(x)), z[:, [3, 0]], atol=1e-5)
    assert (two.names, two.n_possible) == (["3", "0"], model.settings_.n_latent)


def test_a_route_to_some_features_is_a_part_of_that_to_all(route_of):
    model, mdata, x = route_of
    h = model.route("ephys", "rna").preparation.transform(dense(model.reader("ephys").read(mdata)))
    names = list(mdata["rna"].var_names[[5, 2]])
    some = model.route("ephys", "rna", features=names)
    np.testing.assert_allclose(some.predict(h), model.route("ephys", "rna").predict(h)[:, [5, 2]], rtol=1e-4, atol=1e-4)
    assert some.columns.tolist() == [5, 2]


def test_a_readout_follows_a_route(route_of):
    model, _, x = route_of
    route = model.route("rna")
    h = route.preparation.transform(x)
    readout = nn.Linear(model.settings_.n_latent, 3)
    further = route.then(readout, ["a", "b", "c"], np.array([2, 0]))
    with torch.no_grad():
        expected = readout(torch.from_numpy(route.predict(h).astype(np.float32)))[:, [2, 0]]
    np.testing.assert_allclose(further.predict(h), expected, atol=1e-5)
    assert further.names == ["c", "a"]


def test_a_route_is_a_copy_that_takes_no_gradients(route_of):
    model, _, x = route_of
    route = model.route("rna", "ephys")
    assert not any(p.requires_grad for p in route.network.parameters())
    before = model.impute(source="rna", target="ephys").X
    with torch.no_grad():
        for p in route.network.parameters():
            p.zero_()
    np.testing.assert_array_equal(model.impute(source="rna", target="ephys").X, before)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"source": "atac"}, ValueError, "`source` to be one of"),
        ({"source": "rna", "target": "atac"}, ValueError, "`target` to be one of"),
        ({"source": "rna", "target": "rna"}, ValueError, "`target` to differ from `source`"),
        ({"source": "rna", "target": "ephys", "features": ["gene"]}, KeyError, "unknown ones"),
        ({"source": "rna", "features": ["0", "0"]}, ValueError, "more than once"),
    ],
)
def test_routes_that_do_not_exist(route_of, arguments, error, message):
    with pytest.raises(error, match=message):
        route_of[0].route(**arguments)


def test_an_untrained_model_has_no_route(mdata):
    cvi.model.JAMIE.setup_mudata(mdata, modalities=("rna", "ephys"))
    with pytest.raises(RuntimeError, match="untrained"):
        cvi.model.JAMIE(mdata).route("rna")
