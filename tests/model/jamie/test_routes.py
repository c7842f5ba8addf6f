import numpy as np
import pytest
import torch
from torch import nn

import couplevi as cvi
from couplevi._arrays import dense
from couplevi.model.jamie.module import TERMS, JAMIEModule
from couplevi.model.jamie.routes import make_route
from couplevi.nn import chain
from couplevi.preparation import fit_preparation


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


@pytest.mark.parametrize("batch_key", [None, "batch"])
@pytest.mark.parametrize("n_features", [None, 2])
def test_a_route_holds_the_linear_path(mdata, quick, batch_key, n_features):
    mdata.obs["batch"] = np.where(np.arange(mdata.n_obs) % 2, "b", "a")
    model = cvi.tl.jamie(mdata, modalities=("rna", "ephys"), batch_key=batch_key, train_kwargs=quick)
    decoded = model.impute(source="rna", target="ephys").X[:, :n_features]
    path, generator = model.module.linear_path("rna", "ephys"), torch.Generator().manual_seed(0)
    for values in path.buffers():
        values.copy_(torch.randn(values.shape, generator=generator))
    path.share.fill_(0.3)
    imputed = model.impute(source="rna", target="ephys").X[:, :n_features]
    assert np.abs(imputed - decoded).max() > 0.1
    reader = model.reader("rna")
    route = model.route("rna", "ephys", features=list(mdata["ephys"].var_names[:n_features]))
    h = route.preparation.transform(dense(reader.read(mdata)))
    given = np.concatenate([h, reader.covariates(mdata)], axis=1)
    np.testing.assert_allclose(route.predict(given), imputed, rtol=1e-3, atol=1e-3)


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


@pytest.fixture(scope="module")
def reduced():
    """A module that reads 4 components of 9 features and 3 of 8, and their names."""
    rng = np.random.default_rng(0)
    sizes = {"a": (9, 4), "b": (8, 3)}
    module = JAMIEModule(
        sizes,
        5,
        widths=dict.fromkeys(sizes, (6,)),
        weights=dict.fromkeys(TERMS, 1.0),
        input_dropout_rate=0.3,
        hidden={"normalization": "layer", "activation": "gelu", "dropout_rate": 0.3},
        unknown_negative_weight=1.0,
        normalize_block=False,
        match_weight=0.0,
    )
    x = {m: (rng.normal(3, 2, (40, n)) @ rng.normal(size=(n, n))).astype(np.float32) for m, (n, _) in sizes.items()}
    for m, (_, n_components) in sizes.items():
        module.observation(m).preparation.fill(fit_preparation(x[m], n_components))
    return module.train(), {m: [f"{m}{j}" for j in range(n)] for m, (n, _) in sizes.items()}, x


@pytest.mark.parametrize("features", [None, ["b7", "b0"], ["b2", "b5", "b1"], ["b1", "b2", "b3", "b4"]])
def test_a_route_through_components_predicts_what_the_module_decodes(reduced, features):
    """Fewer features than components are decoded one by one, as many or more through a mix of the components."""
    module, names, x = reduced
    route = make_route(module, names, "a", "b", features)
    h = route.preparation.transform(x["a"])
    module.eval()
    with torch.inference_mode():
        expected = module.features(
            "b", module.encode("a", torch.from_numpy(h), torch.zeros(len(h), 0)).loc, torch.zeros(len(h), 0), ()
        )
    columns = [names["b"].index(f) for f in features or names["b"]]
    assert (route.mix is None) == (len(columns) < 3)
    np.testing.assert_allclose(route.predict(h), expected[:, columns], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(
        route.from_features()(torch.from_numpy(x["a"])).detach(), expected[:, columns], rtol=1e-3, atol=1e-3
    )
    assert (route.names, route.n_possible) == ([names["b"][c] for c in columns], 8)


def test_a_route_is_without_randomness_though_its_module_is_in_training(reduced):
    module, names, x = reduced
    module.train()
    route = make_route(module, names, "b", None, None)
    h = route.preparation.transform(x["b"])
    np.testing.assert_array_equal(route.predict(h), route.predict(h))
    assert module.training


def by_gradients(network, h):
    return torch.stack([torch.autograd.functional.jacobian(lambda row: network(row[None])[0], row) for row in h])


@pytest.mark.parametrize("batch_key", [None, "batch"])
@pytest.mark.parametrize("target", ["ephys", None])
def test_derivatives_of_a_route_are_those_that_gradients_give(mdata, quick, batch_key, target):
    """Through private latents that are left out, a mean over batches, the linear path and the readout."""
    mdata.obs["batch"] = np.where(np.arange(mdata.n_obs) % 2, "b", "a")
    model = cvi.tl.jamie(mdata, modalities=("rna", "ephys"), batch_key=batch_key, train_kwargs=quick)
    path, generator = model.module.linear_path("rna", "ephys"), torch.Generator().manual_seed(0)
    for values in path.buffers():
        values.copy_(torch.randn(values.shape, generator=generator))
    path.share.fill_(0.3)
    reader = model.reader("rna")
    route = model.route("rna", target)
    h = torch.from_numpy(route.preparation.transform(dense(reader.read(mdata)))[:5])
    network = route.given(reader.covariates(mdata)[0]).network
    y, slopes = chain(network, 32)(h)
    torch.testing.assert_close(y, network(h), rtol=1e-4, atol=1e-5)
    expected = by_gradients(network, h)
    assert expected.abs().max() > 0.01
    torch.testing.assert_close(slopes.expand_as(expected), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"likelihoods": {"ephys": "nb"}},  # exponentials follow the decoder
        {"likelihoods": {"ephys": "nb"}, "n_pcs": {"ephys": 3}},
        {"normalization": "batch"},
        {"encoder_widths": (8, 8)},
    ],
)
def test_other_routes_are_left_to_gradients(mdata, quick, kwargs):
    if "likelihoods" in kwargs:
        mdata["ephys"].X = np.round(10 * np.abs(mdata["ephys"].X))
    model = cvi.tl.jamie(mdata, modalities=("rna", "ephys"), train_kwargs=quick, **kwargs)
    assert chain(model.route("rna", "ephys").network, 100) is None
    latents_alone = model.route("rna").network
    assert (chain(latents_alone, 100) is None) == ("likelihoods" not in kwargs)
